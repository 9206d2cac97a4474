"""What tasks of several texts a row read of it: lists in their many spellings, places, grades. Knows no scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Sequence as Several
from typing import Any

import numpy as np

from adaptune.core.errors import DataError
from adaptune.core.types import Row
from adaptune.tasks._rows import text_of


def texts_of(row: Row, column: str) -> list[str]:
    """The different texts of a column: a list (in text as JSON), or what several columns hold, empty ones left out.

    Raises DataError for anything else, for an empty text and for one that stands there twice.
    """
    where = f"{row.where}, column {column!r}"
    value = row.values[column]
    if isinstance(value, Mapping):
        value = [text for text in value.values() if text is not None and (not isinstance(text, str) or text.strip())]
    value = _as_list(value)
    if not isinstance(value, list) or not value:
        raise DataError(f'{where}: {value!r} is no list of texts, ["one", "another"]; give one or remove the row')
    for text in value:
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{where}: {text!r} is no text; correct it or remove the row")
    refuse_repeated(row, column, value)
    return value


def one_or_several(row: Row, column: str) -> list[str]:
    """The same where a text that is no list stands for itself."""
    value = row.values[column]
    return [text_of(row, column)] if isinstance(_as_list(value), str) or value is None else texts_of(row, column)


def refuse_repeated(row: Row, column: str, texts: Several[str]) -> None:
    """Raises DataError where two texts are equal, white space aside."""
    seen = set()
    for text in texts:
        plain = " ".join(text.split())
        if plain in seen:
            raise DataError(f"{row.where}, column {column!r}: {text!r} stands there twice; remove one")
        seen.add(plain)


def place_of(value: Any, texts: int, first: int = 0) -> int | None:
    """The place, from 0, of the one of so many texts whose number, or its text, counts from `first`; None: of none."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value - first if first <= value < first + texts else None


def relevance_of(row: Row, texts: Several[str]) -> list[float]:
    """How right each text is: a grade each, or the texts that are right, or the place of the one. Raises DataError."""
    where, value = f"{row.where}, column 'relevance'", _as_list(row.values["relevance"])
    named = value if isinstance(value, list) else [value]
    if named and all(isinstance(one, str) and one in texts for one in named):
        return [float(text in named) for text in texts]
    if isinstance(value, list):
        if len(value) != len(texts):
            raise DataError(f"{where}: {len(value)} for {len(texts)} candidates ({value!r}); give one for each")
        return [_grade(where, one) for one in value]
    place = place_of(value, len(texts))
    if place is None:
        counted = f"its number, from 0 to {len(texts) - 1}"
        raise DataError(f"{where}: {value!r} names no candidate; expected its text, {counted}, or a grade for each")
    return [float(one == place) for one in range(len(texts))]


def _grade(where: str, value: Any) -> float:
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return float(value.strip().lower() == "true")
    try:
        grade = float("nan") if value is None else float(value)
    except (TypeError, ValueError):
        grade = float("nan")
    if not 0 <= grade < float("inf"):
        raise DataError(f"{where}: {value!r} is no relevance; expected 0, 1 or a higher grade")
    return grade


def _as_list(value: Any) -> Any:
    """A list however it is spelt; everything else as it is."""
    if isinstance(value, (tuple, np.ndarray)):
        return list(value) if isinstance(value, tuple) else value.tolist()
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            found = json.loads(value)
        except ValueError:
            return value
        return found if isinstance(found, list) else value
    return value
