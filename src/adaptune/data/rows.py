"""Records of a file as rows of a task: its names for columns, its spelling of labels, its tags in BIO."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adaptune.core.bio import MalformedTags, scheme_of, to_bio
from adaptune.core.task import Column
from adaptune.core.types import Row
from adaptune.data.columns import several
from adaptune.data.config import DataConfig
from adaptune.data.table import Rejected, Table, shown


def rows_of(table: Table, columns: Sequence[Column], names: Mapping[str, str], config: DataConfig) -> list[Row]:
    """Every usable record under the task's names; the others are set aside in the table, with reasons.

    `names` is the file's name of each of the task's columns that is to be read.
    """
    rows = _rows(table, columns, names)
    of_labels = [column.name for column in columns if column.label and column.name in names]
    if config.labels and of_labels:
        rows = _with_label_names(rows, table, of_labels, config.labels)
    if "tags" in names:
        rows = _with_bio(rows, table, config)
    return rows


def _rows(table: Table, columns: Sequence[Column], names: Mapping[str, str]) -> list[Row]:
    """Records under the task's names; a record that lacks a column it must have is set aside."""
    optional = {column.name for column in columns if not column.required}
    together = {column.name for column in columns if column.several and names.get(column.name) not in table.columns}
    rows = []
    for number, values in table.records:
        try:
            own = {
                name: _together(values, there) if name in together else values[there]
                for name, there in names.items()
                if name not in optional or name in together or values.get(there) is not None
            }
        except KeyError as error:
            has = ", ".join(map(repr, values)) or "none"
            table.reject(number, f"column {error.args[0]!r} is missing; the row has: {has}; add it or remove the row")
            continue
        rows.append(Row(table.source, number, own))
    return rows


def _together(values: Mapping[str, Any], there: str) -> dict[str, Any]:
    """What a record has in each of the columns that stand for one."""
    return {name: values[name] for name in several(there)}


def _with_label_names(rows: list[Row], table: Table, columns: Sequence[str], labels: Mapping[str, str]) -> list[Row]:
    """Labels as data.labels spells them."""
    named = []
    for row in rows:
        values = dict(row.values)
        for name in columns:
            if name not in values:
                continue
            unknown = next((value for value in _each(values[name]) if _key(value) not in labels), None)
            if unknown is not None:
                known = ", ".join(labels)
                why = f"{shown(unknown)} is not listed in data.labels ({known}); list it or correct the row"
                table.reject(row.number, f"column {name!r}: {why}")
                break
            values[name] = _renamed(values[name], labels)
        else:
            named.append(Row(row.source, row.number, values))
    return named


def _each(value: Any) -> Iterator[Any]:
    yield from value if isinstance(value, (list, tuple)) else [value]


def _renamed(value: Any, labels: Mapping[str, str]) -> Any:
    return [labels[_key(one)] for one in value] if isinstance(value, (list, tuple)) else labels[_key(value)]


def _key(value: Any) -> str:
    """A label as text; numbers and truth values as JSON writes them, whole numbers without a point."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _with_bio(rows: list[Row], table: Table, config: DataConfig) -> list[Row]:
    """Tags in BIO, by the scheme that all the tags of the file show; what is no list of tags is left to the task."""
    tagged = {index: tags for index, row in enumerate(rows) if (tags := tags_of(row.values.get("tags"))) is not None}
    scheme = scheme_of(tagged.values()) if config.scheme == "auto" else config.scheme
    kept = []
    for index, row in enumerate(rows):
        if index in tagged:
            try:
                row = Row(row.source, row.number, {**row.values, "tags": list(to_bio(tagged[index], scheme))})
            except MalformedTags as error:
                table.rejected.append(_malformed(row, error, table, scheme))
                continue
        kept.append(row)
    return kept


def tags_of(value: Any) -> list[str] | None:
    """A row's tags; None for what is no list of them."""
    if isinstance(value, str):
        return value.split()
    if isinstance(value, (list, tuple)) and all(isinstance(tag, str) for tag in value):
        return list(value)
    return None


def _malformed(row: Row, error: MalformedTags, table: Table, scheme: str) -> Rejected:
    """Named by the line of its word where every word has one, else by its place in the row."""
    hint = f" (the tags are read as {scheme}; if they are of another scheme, set data.scheme)"
    what = f"{error.tag!r}: {error.reason}{hint}"
    if table.tag_column is None:
        return Rejected(row.source, row.number, f"column 'tags', word {error.position + 1}, {what}")
    return Rejected(row.source, row.number + error.position, f"column {table.tag_column}, {what}")
