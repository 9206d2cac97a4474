"""CoNLL files: a word a line with its columns, a blank line between sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from adaptune.core.bio import looks_like_tag
from adaptune.core.errors import DataError
from adaptune.data.config import DataConfig
from adaptune.data.table import Record, Table, shown
from adaptune.data.text import lines_of

_BLANKS = " \t"
# Not every white space: an ideographic space may itself be a word.
_GAP = re.compile(r"[ \t]+")
_DOCUMENT = "-DOCSTART-"


def read_conll(text: str, source: str, config: DataConfig) -> Table:
    """A record a sentence: `tokens`, and `tags` where there is more than one column; `number` is its first word's line.

    Raises DataError where a column that the configuration names is not there.
    """
    lines = lines_of(text)
    tabs = any("\t" in line.strip(_BLANKS) for line in lines)
    layout = _layout(lines, tabs, source, config)
    columns = ("tokens",) if layout.tag is None else ("tokens", "tags")
    table = Table(source, columns, [], tag_column=None if layout.tag is None else layout.tag + 1)
    sentence = _Sentence()
    for number, line in enumerate([*lines, ""], start=1):
        fields = _fields(line, tabs)
        if not fields or fields[0] == _DOCUMENT:
            sentence.close(table)
            sentence = _Sentence()
        elif not (not sentence.started and _is_comment(line, fields, layout)):
            sentence.add(number, line, fields, layout)
    return table


@dataclass(frozen=True, slots=True)
class _Layout:
    width: int
    token: int
    tag: int | None
    """Positions of word and tag among the columns, from 0."""
    tabs: bool
    """Whether tabs stand between columns; spaces are then part of them."""


@dataclass(slots=True)
class _Sentence:
    start: int = 0
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    fault: tuple[int, str] | None = None

    @property
    def started(self) -> bool:
        return self.start > 0

    def add(self, number: int, line: str, fields: list[str], layout: _Layout) -> None:
        self.start = self.start or number
        if len(fields) != layout.width:
            expected = f"expected {layout.width}, as in the file's first line"
            self.fault = self.fault or (
                number,
                f"{len(fields)} column{'s' * (len(fields) != 1)} in {shown(line)}; {expected}",
            )
            return
        if not fields[layout.token].strip(_BLANKS):
            self.fault = self.fault or (
                number,
                f"column {layout.token + 1}: the word is empty in {shown(line)}; fill it or remove the line",
            )
        self.tokens.append(fields[layout.token])
        if layout.tag is not None:
            self.tags.append(fields[layout.tag])

    def close(self, table: Table) -> None:
        """Hand the sentence to the table."""
        if self.fault is not None:
            table.reject(*self.fault)
        elif self.started:
            tags = {"tags": self.tags} if "tags" in table.columns else {}
            table.records.append(Record(self.start, {"tokens": self.tokens, **tags}))


def _fields(line: str, tabs: bool) -> list[str]:
    """The columns of a line; none where it is blank."""
    if not line.strip(_BLANKS):
        return []
    return line.split("\t") if tabs else _GAP.split(line.strip(_BLANKS))


def _layout(lines: list[str], tabs: bool, source: str, config: DataConfig) -> _Layout:
    width = next((len(fields) for line in lines if (fields := _fields(line, tabs)) and _counts(line, fields)), 0)
    for key, column in (("token_column", config.token_column), ("tag_column", config.tag_column)):
        if column is not None and width and column > width:
            raise DataError(
                f"data.{key} is {column}, but {source} has {width} column{'s' * (width != 1)}; count from 1"
            )
    token = config.token_column - 1
    tag = width - 1 if config.tag_column is None else config.tag_column - 1
    if config.tag_column is not None and tag == token:
        raise DataError(
            f"data.token_column and data.tag_column are both {config.tag_column}; name two different columns"
        )
    return _Layout(width, token, None if tag == token or not width else tag, tabs)


def _counts(line: str, fields: list[str]) -> bool:
    """Whether a line can tell how many columns the file has."""
    return fields[0] != _DOCUMENT and (not line.startswith("#") or looks_like_tag(fields[-1]))


def _is_comment(line: str, fields: list[str], layout: _Layout) -> bool:
    """Whether a line before a sentence is one of those that begin with #, and not the word #."""
    if not line.startswith("#"):
        return False
    return len(fields) != layout.width or (layout.width > 1 and not layout.tabs and not looks_like_tag(fields[-1]))
