"""What several tasks read of a row: its texts, its label, their order. Knows no scores."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from collections.abc import Sequence as Several
from typing import Any

import numpy as np

from adaptune.core.errors import DataError
from adaptune.core.types import Array, Example, Row

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def text_of(row: Row, column: str) -> str:
    """The text of a column. Raises DataError where there is none."""
    value = row.values.get(column)
    if not isinstance(value, str):
        found = "is missing" if value is None else f"is {value!r}"
        raise DataError(f"{row.where}, column {column!r}: the text {found}, expected text; correct or remove the row")
    if not value.strip():
        raise DataError(f"{row.where}, column {column!r}: the text {value!r} is empty; fill it or remove the row")
    return value


def label_of(row: Row, column: str, value: Any) -> str:
    """A label as text; numbers and truth values as JSON writes them. Raises DataError for what is no label.

    A list of one label is that label: annotation tools write it so.
    """
    if isinstance(value, (list, tuple)) and len(value) < 2:
        value = value[0] if value else None
    absent = not value.strip() if isinstance(value, str) else value is None or value != value  # NaN is not itself
    if absent:
        raise DataError(f"{row.where}, column {column!r}: the label is missing ({value!r}); give one or remove the row")
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    raise DataError(
        f"{row.where}, column {column!r}: {value!r} is no label; expected one text, number, true or false, or "
        "a list of one of these (task multilabel has several)"
    )


def number_of(row: Row, column: str) -> float:
    """The number of a column, or of its text. Raises DataError where there is no finite one."""
    value = row.values[column]
    try:
        number = float("nan") if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise DataError(f"{row.where}, column {column!r}: {value!r} is no finite number; correct or remove the row")
    return number


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Numbers by size, then everything else by its letters."""
    return tuple(sorted(labels, key=lambda label: (not _NUMBER.fullmatch(label), _size(label), label)))


def joined(examples: Several[Example]) -> list[str]:
    """All texts of a row as one."""
    return [
        "\n".join(str(part) for sequence in example.sequences for part in (sequence.first, sequence.second) if part)
        for example in examples
    ]


def all_labelled(examples: Several[Example]) -> None:
    """Raises DataError for a training row without its answer."""
    for example in examples:
        if example.expected is None:
            raise DataError(f"{example.row.where} has no label; give every training row one")


def some_to_score(expected: Several[Any]) -> None:
    """Raises DataError where there are no rows."""
    if not expected:
        raise DataError("there are no rows to score; check the file and its label column")


def ratio(part: Array, whole: Array) -> Array:
    """part / whole; 0 where there is nothing to divide, as in scikit-learn."""
    whole = np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.zeros(whole.shape), where=whole > 0)


def _size(label: str) -> float:
    return float(label) if _NUMBER.fullmatch(label) else 0.0
