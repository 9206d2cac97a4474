"""What every format gives: records under the names of their file's columns, and rows that could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from adaptune.data.config import Format


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be used."""

    source: str
    number: int
    """As in Row: the line where it starts, counted from 1."""
    reason: str
    """What is wrong, with column and value, and what to do."""

    @property
    def where(self) -> str:
        """`train.csv, row 12`"""
        return f"{self.source}, row {self.number}"

    def __str__(self) -> str:
        return f"{self.where}{', ' if self.reason.startswith('column ') else ': '}{self.reason}"

    def record(self) -> dict[str, str | int]:
        """As the run folder lists it."""
        return {"file": self.source, "row": self.number, "reason": self.reason}


class Record(NamedTuple):
    """One row as its file has it."""

    number: int
    """The line where it starts, counted from 1; the record's number in formats without lines."""
    values: Mapping[str, Any]


@dataclass(slots=True)
class Table:
    """The readable records of one file."""

    source: str
    columns: tuple[str, ...]
    records: list[Record]
    rejected: list[Rejected] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    """What was found out about the file and the user should know."""
    format: Format | None = None
    """None where it came from a hub."""
    hint: str = ""
    """What else to try where its columns are not those of the task."""
    tag_column: int | None = None
    """Where every word has a line of its own: which column of the line holds its tag, counted from 1."""

    def reject(self, number: int, reason: str) -> None:
        """Leave a row out, with a reason."""
        self.rejected.append(Rejected(self.source, number, reason))


class Opened(NamedTuple):
    """A table without its records, and these one after another; the table sets aside what is none."""

    table: Table
    records: Iterator[Record]
    fingerprint: str
    """SHA-256 of the file; empty where it is that of the rows."""


def shown(value: object, width: int = 60) -> str:
    """A value for a message, in quotes where it is text, cut where it is long."""
    text = repr(value)
    return text if len(text) <= width else f"{text[: width - 4]} ..."
