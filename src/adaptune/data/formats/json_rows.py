"""JSON: one object a line, or one list of objects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from json import JSONDecodeError
from typing import Any

from adaptune.core.errors import DataError
from adaptune.data.formats.annotated import row_of_tool
from adaptune.data.formats.squad import is_squad, squad_rows
from adaptune.data.large_text import LargeText, numbered_lines
from adaptune.data.table import Record, Table, shown
from adaptune.data.text import lines_of

RELATION = "relation"
"""The column that the names of lists become where an object holds several."""


def read_jsonl(text: str, source: str) -> Table:
    """One JSON object a line; blank lines are passed over."""
    table = Table(source, (), [])
    lines = lines_of(text)
    unfinished = not text.endswith(("\n", "\r"))
    numbered = ((number, line, unfinished and number == len(lines)) for number, line in enumerate(lines, start=1))
    table.records.extend(_records(table, numbered))
    table.columns = _columns(table.records)
    return table


def open_jsonl(text: LargeText, source: str) -> tuple[Table, Iterator[Record]]:
    """The same as a table without its records, and these one after another. Reads the file once for its columns."""
    columns = _columns(_records(Table(source, (), []), numbered_lines(text)))
    table = Table(source, columns, [])
    return table, _records(table, numbered_lines(text))


def _records(table: Table, lines: Iterable[tuple[int, str, bool]]) -> Iterator[Record]:
    """The object of each line; `lines` are numbers, lines, and whether one has no end."""
    parse = json.JSONDecoder().decode
    for number, line, unfinished in lines:
        if not line.strip():
            continue
        try:
            value = parse(line)
        except JSONDecodeError as error:
            table.reject(number, _not_json(line, error, last=unfinished))
            continue
        except RecursionError:
            table.reject(number, f"{shown(line)} is nested too deeply; expected an object of plain values")
            continue
        if (record := _record(table, number, value)) is not None:
            yield record


def read_json(text: str, source: str) -> Table:
    """A list of objects, or {"data": [...]}; records are numbered from 1. Raises DataError."""
    try:
        value = json.loads(text)
    except JSONDecodeError as error:
        lines = lines_of(text)
        if error.msg == "Extra data" and _is_object(lines[0]):
            table = read_jsonl(text, source)
            table.notices.append(f"{source} holds one JSON object a line; it is read as jsonl")
            return table
        line = lines[error.lineno - 1] if error.lineno <= len(lines) else ""
        raise DataError(
            f"{source}, row {error.lineno}: {_not_json(line, error, last=error.lineno >= len(lines))}"
        ) from None
    except RecursionError:
        raise DataError(f"{source} is nested too deeply; expected a list of objects of plain values") from None
    table = Table(source, (), [])
    for number, row in enumerate(_rows_in(value, source), start=1):
        if (record := _record(table, number, row)) is not None:
            table.records.append(record)
    table.columns = _columns(table.records)
    return table


def _record(table: Table, number: int, value: Any) -> Record | None:
    """One row as a record; the table sets aside what is none, with what is wrong with it."""
    try:
        row = row_of_tool(value)
    except ValueError as error:
        table.reject(number, str(error))
        return None
    if isinstance(row, dict):
        return Record(number, row)
    table.reject(number, f'{shown(row)} is no row; expected an object, {{"text": ..., "label": ...}}')
    return None


def _rows_in(value: Any, source: str) -> list[Any]:
    """A list of objects; FewRel's object of lists, one for each relation, and SQuAD's articles as one list."""
    if is_squad(value):
        return squad_rows(value, source)
    if not isinstance(value, dict) or not value or not all(_of_relation(rows) for rows in value.values()):
        return _list_in(value, source)
    return [{RELATION: name, **row} for name, rows in value.items() for row in rows]


def _of_relation(rows: Any) -> bool:
    """Whether these are rows of words and two entities: other objects of lists hold splits, or columns."""
    whole = {"tokens", "h", "t"}
    return isinstance(rows, list) and bool(rows) and all(isinstance(row, dict) and row.keys() >= whole for row in rows)


def _list_in(value: Any, source: str) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        inner: list[Any] = value["data"]
        return inner
    found = f"an object with {', '.join(map(repr, list(value)[:8]))}" if isinstance(value, dict) else shown(value)
    raise DataError(
        f'{source} holds {found}; expected a list of objects, or {{"data": [...]}}; write one object a line instead'
    )


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except JSONDecodeError:
        return False


def _columns(records: Iterable[Record]) -> tuple[str, ...]:
    """Every key of any record, in the order of first appearance."""
    names: dict[str, None] = {}
    for record in records:
        if not record.values.keys() <= names.keys():
            names |= dict.fromkeys(record.values)
    return tuple(names)


def _not_json(line: str, error: JSONDecodeError, *, last: bool) -> str:
    cut = "; it is the last line and was probably cut off: complete or remove it" if last else "; correct or remove it"
    return f"not valid JSON at position {error.colno} ({error.msg}): {shown(line)}{cut}"
