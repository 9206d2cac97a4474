"""Comma- and tab-separated files: delimiter, header and quotes found or given, every row's fields counted."""

from __future__ import annotations

import csv
import io
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Literal

from adaptune.core.errors import DataError
from adaptune.data.config import DataConfig
from adaptune.data.large_text import LargeText
from adaptune.data.table import Record, Table, shown

# The csv module's own limit of 131,072 characters a field is less than some documents have; it can only be set for all.
csv.field_size_limit(2**31 - 1)

_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_LOOK_AT = 100
"""Rows that decide between delimiters."""


def read_delimited(text: str, source: str, config: DataConfig, usual: str) -> Table:
    """The rows of a csv (`usual` a comma) or tsv file (a tab). Raises DataError where its rows cannot be told apart."""
    table, records = open_delimited(text, source, config, usual)
    table.records.extend(records)
    return table


def open_delimited(
    text: str | LargeText, source: str, config: DataConfig, usual: str
) -> tuple[Table, Iterator[Record]]:
    """The same as a table without its records, and these one after another; rows that are none the table sets aside."""
    delimiter = config.delimiter or _delimiter_of(text, usual)
    quoted = config.quotes != "none"
    notices = []
    if config.delimiter is None and delimiter != usual:
        notices.append(
            f"{source} is read as separated by {_NAMES[delimiter]}s, as its first line is; else set data.delimiter"
        )
    if config.quotes == "auto" and (doubt := _doubt(text, delimiter)):
        if usual != "\t":
            raise DataError(f"{source}, {doubt}; double every quote inside a quoted field, or set data.quotes: none")
        quoted = False
        notices.append(f"{source}: quotes are read as text ({doubt}); data.quotes: double forbids it")
    rows = _sound(_rows(text, delimiter, quoted=quoted), source)
    first = next(rows, (1, []))
    columns = _header(first[1], source, first[0]) if config.header else _numbers(len(first[1]))
    table = Table(source, columns, [], notices=notices)
    if config.header:
        table.hint = "; if its first line is a row and no header, set data.header: false and number the columns"
    return table, _records(table, rows if config.header else chain([first], rows), delimiter, config.header)


class _Unbalanced(Exception):
    """A quoted field does not end as it should."""


def _sound(rows: Iterator[tuple[int, list[str]]], source: str) -> Iterator[tuple[int, list[str]]]:
    try:
        yield from rows
    except _Unbalanced as error:
        raise DataError(
            f"{source}, {error}; double every quote inside a quoted field, or set data.quotes: none"
        ) from None


def _doubt(text: str | LargeText, delimiter: str) -> str:
    """Why double quotes seem to be text: every line is a whole row, and quotes would join some, or do not fit."""
    if '"' not in text:
        return ""
    plain, width = array("q"), 0
    for number, fields in _rows(text, delimiter, quoted=False):
        plain.append(number)
        width = width or len(fields)
        if len(fields) != width or width == 1:
            return ""
    try:
        rows = array("q", (number for number, _ in _rows(text, delimiter, quoted=True)))
    except _Unbalanced as error:
        return str(error)
    if len(rows) == len(plain):
        return ""
    first = next((at for at, number in enumerate(plain[1:], 1) if at >= len(rows) or rows[at] != number), 0)
    return f"row {plain[first - 1]}: a quote would join it with the lines below, which are whole rows"


def _delimiter_of(text: str | LargeText, usual: str) -> str:
    """What separates the fields of the first line; of several, what gives the most rows as many fields as that."""
    header = next(_rows(text, usual, quoted=False), (1, []))[1]
    line = usual.join(header)
    found = [mark for mark in (usual, *(mark for mark in _NAMES if mark != usual)) if mark in line]
    if len(found) < 2:
        return found[0] if found else usual
    return max(found, key=lambda mark: _agreement(text, mark))


def _agreement(text: str | LargeText, delimiter: str) -> float:
    counts: Counter[int] = Counter()
    width = 0
    try:
        for position, (_, fields) in enumerate(_rows(text, delimiter, quoted=True)):
            width = width or len(fields)
            counts[len(fields)] += 1
            if position == _LOOK_AT:
                break
    except _Unbalanced:
        return 0.0
    return counts[width] / max(1, counts.total()) if width > 1 else 0.0


def _rows(text: str | LargeText, delimiter: str, *, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """Every row that is not blank, and the line where it starts."""
    lines = io.StringIO(text, newline="") if isinstance(text, str) else text.lines()
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    line = 1
    try:
        for fields in reader:
            if len(fields) > 1 or (fields and fields[0].strip()):
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        why = "never ends" if "unexpected end" in str(error) else "has text behind its closing quote"
        raise _Unbalanced(f"row {line}: a quoted field {why}") from None


def _records(table: Table, rows: Iterable[tuple[int, list[str]]], delimiter: str, header: bool) -> Iterator[Record]:
    columns = table.columns
    for number, fields in rows:
        if len(fields) == len(columns):
            yield Record(number, dict(zip(columns, fields, strict=True)))
        else:
            table.reject(number, _wrong_width(fields, columns, delimiter, header))


def _numbers(width: int) -> tuple[str, ...]:
    return tuple(str(position) for position in range(1, width + 1))


def _header(fields: list[str], source: str, number: int) -> tuple[str, ...]:
    names = tuple(field.strip() for field in fields)
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise DataError(
            f"{source}, row {number}: the header has column {twice[0]!r} twice; rename one (or set data.header: false)"
        )
    return names


def _wrong_width(fields: list[str], columns: tuple[str, ...], delimiter: str, header: bool) -> str:
    expected = (
        f"the header has {len(columns)} ({', '.join(columns)})" if header else f"the first row has {len(columns)}"
    )
    last = f", the last {shown(fields[-1])}" if fields else ""
    many = (
        "a field that holds the delimiter must be in double quotes"
        if len(fields) > len(columns)
        else "fill the missing ones"
    )
    name = _NAMES.get(delimiter, repr(delimiter))
    return f"{len(fields)} field{'s' * (len(fields) != 1)} separated by {name}{last}; {expected}; {many}"
