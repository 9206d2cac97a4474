"""What a user hands to `predict` becomes a row of the task. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adaptune.core.errors import DataError
from adaptune.core.task import Task
from adaptune.core.types import Row

Input = str | Sequence[str] | Mapping[str, Any]
"""A text, the words of a text, or a row by column."""

TEXT, WORDS = "text", "tokens"
"""How tasks name the column of a plain text, and that of its words."""


def row_of(given: Input, number: int, task: Task, columns: Mapping[str, str]) -> Row:
    """The input as a row without labels; `columns` are the training files' names by the task's. Raises DataError."""
    if isinstance(given, Mapping):
        values = _values(given, task, columns)
    elif isinstance(given, str):
        values = {_text_column(given, number, task, columns): given}
    else:
        values = {_words_column(given, number, task): list(given)}
    return Row("input", number, values)


def text_columns(task: Task, columns: Mapping[str, str]) -> list[str]:
    """The columns that every input fills: those the task requires, and optional ones that the training rows had.

    Where a task requires none, its columns stand in for each other: one of them, the plain text first.
    """
    readable = [column for column in task.columns if not column.label]
    if any(column.required for column in readable):
        return [column.name for column in readable if column.required or column.name in columns]
    names = [column.name for column in readable]
    return [TEXT if TEXT in names else names[0]]


def _text_column(given: str, number: int, task: Task, columns: Mapping[str, str]) -> str:
    """The one column that a bare text fills. Raises DataError where rows have several."""
    wanted = text_columns(task, columns)
    if len(wanted) > 1:
        example = ", ".join(f"{name!r}: ..." for name in wanted)
        raise DataError(
            f"input {number} is the bare text {_shown(given)}, and this bundle reads rows of {{{example}}}; give "
            "those (on the command line as --file rows.jsonl)"
        )
    return wanted[0]


def _words_column(given: object, number: int, task: Task) -> str:
    words = isinstance(given, Sequence) and all(isinstance(word, str) for word in given)
    if words and any(column.name == WORDS for column in task.columns):
        return WORDS
    kinds = f"a text, a mapping by column{', or a list of words' if any(c.name == WORDS for c in task.columns) else ''}"
    raise DataError(f"input {number} is {_shown(given)}, which the task {task.name!r} cannot read; expected {kinds}")


def _values(given: Mapping[str, Any], task: Task, columns: Mapping[str, str]) -> dict[str, Any]:
    """By the task's names; labels are left out, as are columns that the task knows nothing of."""
    values = {}
    for column in task.columns:
        in_files = columns.get(column.name, column.name)
        key = in_files if in_files in given else column.name
        if key in given and not column.label:
            values[column.name] = given[key]
    return values


def _shown(value: object, longest: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"
