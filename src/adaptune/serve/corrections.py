"""An input with its right answer becomes a training row, as its task reads it. Knows no HTTP, no database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adaptune.bundle.inputs import Input, row_of
from adaptune.core.errors import DataError, Unsupported, nearest
from adaptune.core.task import Column, Task
from adaptune.core.types import Example, Labels, OfLabels, OfMarked, OfRow, OfSequence, OfWords, Row
from adaptune.serve.registered import ServedTask

SOURCE = "feedback"
"""What stands in the place of a file's name."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """A labelled row."""

    right: dict[str, Any]
    """What the answer says, by the task's columns."""
    training: dict[str, Any]
    """The whole row, by the columns of the bundle's training files."""


def corrected(task: ServedTask, given: Input, answer: Any, *, row: int, new_label: bool) -> Corrected:
    """The row, if its task can learn from it. Raises DataError for what does not read, and for labels that are new.

    `row`: its place in its request, for messages. `new_label`: whether labels may be new. Raises Unsupported for a
    task whose rows have no answers.
    """
    kind = task.task
    values = dict(row_of(given, row + 1, kind, task.columns).values)
    right = _right(kind, values, answer, task.columns)
    example = kind.example(Row(SOURCE, row + 1, {**values, **right}))
    if example.expected is None:
        raise DataError(f"the answer {_shown(answer)} is none that the task {kind.name!r} can learn; {kind.unlabelled}")
    if not new_label:
        _refuse_new(example, task.labels)
    whole = {**values, **right}
    return Corrected(right, {task.columns.get(name, name): value for name, value in whole.items()})


def _right(task: Task, values: Mapping[str, Any], answer: Any, columns: Mapping[str, str]) -> dict[str, Any]:
    """An answer by columns: as it was given, or as the one that holds answers."""
    names = {columns.get(column.name, column.name): column.name for column in task.columns}
    names |= {column.name: column.name for column in task.columns}
    if isinstance(answer, Mapping) and answer and set(answer) <= set(names):
        found = {names[key]: value for key, value in answer.items()}
        if overwritten := sorted(set(found) & set(values)):
            raise DataError(f"the answer holds {overwritten[0]!r}, which is part of the input; leave it out")
        return found
    whole = next((column for column in task.columns if column.whole and column.name in values), None)
    if whole is not None:
        return {whole.name: _replied(values[whole.name], answer)}
    label = _label_column(task)
    return {label.name: answer}


def _label_column(task: Task) -> Column:
    found = next((column for column in task.columns if column.label), None)
    if found is None:
        raise Unsupported(f"rows of the task {task.name!r} have no answers that could be right or wrong")
    return found


def _replied(turns: Any, answer: Any) -> list[Any]:
    """A conversation with the right reply behind it."""
    if not isinstance(answer, str) or not answer.strip():
        raise DataError(f"the answer is {_shown(answer)}, expected the text of the right reply")
    before = [{"role": "user", "content": turns}] if isinstance(turns, str) else list(turns)
    return [*before, {"role": "assistant", "content": answer}]


def _refuse_new(example: Example, known: Labels) -> None:
    for label in _labels(example):
        if label not in known:
            raise DataError(
                f"the bundle knows no label {_shown(label)}{nearest(label, known.names)} (it knows: "
                f'{", ".join(known.names[:20])}{", ..." if len(known) > 20 else ""}); send "new_label": true if it is '
                "meant to be learned"
            )


def _labels(example: Example) -> Iterator[str]:
    """Every label that the row's targets name."""
    for sequence in example.sequences:
        target = sequence.target
        if isinstance(target, OfSequence | OfMarked | OfRow):
            yield from (value for value in (target.value,) if isinstance(value, str))
        elif isinstance(target, OfLabels):
            yield from target.values
        elif isinstance(target, OfWords):
            yield from (value for value in target.values if value is not None)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
