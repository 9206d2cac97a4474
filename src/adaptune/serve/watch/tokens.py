"""A condition as tokens: numbers with their units, words, quoted words, signs. Knows no grammar."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from adaptune.serve.watch.durations import UNITS

Kind = Literal["number", "duration", "word", "text", "sign", "end"]
_TOKEN = re.compile(
    r"""
    (?P<number>\d+(?:\.\d+)?(?P<unit>[A-Za-z%]*))
    | (?P<text>"[^"\n]*"|'[^'\n]*')
    | (?P<word>[^\W\d][\w-]*(?:\.[\w-]+)*)
    | (?P<sign><=|>=|==|!=|[<>(),=])
    """,
    re.VERBOSE,
)


class ConditionError(ValueError):
    """A condition that does not read; `column` counts from 1."""

    def __init__(self, message: str, column: int) -> None:
        self.column = column
        super().__init__(f"column {column}: {message}")


@dataclass(frozen=True, slots=True)
class Token:
    """One, and where it stands."""

    kind: Kind
    text: str
    column: int
    value: float = 0.0
    """Of a number; of a length of time: seconds."""

    @property
    def shown(self) -> str:
        """As a message names it."""
        return "the end" if self.kind == "end" else repr(self.text)


def tokens_of(condition: str) -> list[Token]:
    """All of them, the last an end. Raises ConditionError."""
    found: list[Token] = []
    place = 0
    while True:
        while place < len(condition) and condition[place].isspace():
            place += 1
        if place == len(condition):
            return [*found, Token("end", "", place + 1)]
        match = _TOKEN.match(condition, place)
        if match is None:
            raise ConditionError(
                f"{condition[place]!r} has no place in a condition; labels with spaces or signs stand in quotes",
                place + 1,
            )
        found.append(_token(match, place + 1))
        place = match.end()


def _token(match: re.Match[str], column: int) -> Token:
    if match["number"]:
        return _number(match, column)
    if match["text"]:
        return Token("text", match.group()[1:-1], column)
    return Token("word" if match["word"] else "sign", match.group(), column)


def _number(match: re.Match[str], column: int) -> Token:
    unit = match["unit"]
    value = float(match["number"].removesuffix(unit))
    if not unit:
        return Token("number", match.group(), column, value)
    if unit == "%":
        return Token("number", match.group(), column, value / 100)
    if unit not in UNITS:
        raise ConditionError(f"{match.group()!r} has the unit {unit!r}; expected one of %, {', '.join(UNITS)}", column)
    return Token("duration", match.group(), column, value * UNITS[unit])
