"""Which test rows were answered worst, with their texts, for people to look at. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptune.core.task import Task
from adaptune.core.types import Answer, Example

MOST_CHARACTERS = 2000
"""Of one text; a longer one loses its end."""


def worst(task: Task, examples: Sequence[Example], answers: Sequence[Answer], count: int) -> list[dict[str, Any]]:
    """At most so many wrongly answered rows as errors.jsonl holds them, the worst first.

    Numbers by how far they are off; else by the score of the row alone, and of equal ones the surest first.
    """
    values, expected = [one.value for one in answers], [one.expected for one in examples]
    badness, perfect = _badness(task, values, expected)
    pairs = enumerate(zip(values, expected, strict=True))
    wrong = [place for place, pair in pairs if badness[place] > perfect and not task.is_right(*pair)]
    wrong.sort(key=lambda place: (-badness[place], -(answers[place].probability or 0.0)))
    return [_record(task, examples[place], answers[place]) for place in wrong[:count]]


def _badness(task: Task, values: Sequence[Any], expected: Sequence[Any]) -> tuple[NDArray[np.float64], float]:
    """(R,), and what it is where nothing is wrong."""
    if all(isinstance(one, float) for one in expected):  # places of options are whole numbers
        return np.abs(np.array(values, dtype=np.float64) - np.array(expected, dtype=np.float64)), 0.0
    with np.errstate(all="ignore"):
        alone = task.metric_of(task.counts(values, expected).astype(np.float64))
    return -np.nan_to_num(alone.astype(np.float64)), -1.0


def _record(task: Task, example: Example, answer: Answer) -> dict[str, Any]:
    return {
        "row": example.row.number,
        "source": example.row.source,
        "given": _given(task, example),
        "expected": _cut(example.expected),
        "predicted": _cut(answer.value),
        "probability": answer.probability,
    }


def _given(task: Task, example: Example) -> Mapping[str, Any]:
    """What was read: words that have tags, what was said before a reply, else every column but that of the answer."""
    first, conversation = example.sequences[0].first, example.sequences[0].conversation
    if conversation is not None:
        return {"messages": [{"role": turn.role, "content": _cut(turn.text)} for turn in conversation.turns]}
    if isinstance(first, tuple):
        return {"words": list(first)}
    answers = {column.name for column in task.columns if column.label}
    return {name: _cut(value) for name, value in example.row.values.items() if name not in answers}


def _cut(value: Any) -> Any:
    """The value as JSON holds it, texts no longer than shown."""
    if isinstance(value, str):
        return value if len(value) <= MOST_CHARACTERS else value[:MOST_CHARACTERS] + "..."
    if isinstance(value, Mapping):
        return {str(name): _cut(of) for name, of in value.items()}
    if isinstance(value, Sequence):
        return [_cut(of) for of in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)
