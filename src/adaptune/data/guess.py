"""What a file of rows seems to be for: its task, its format, its columns, with reasons. Writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

from adaptune.core.bio import looks_like_tag
from adaptune.core.errors import DataError
from adaptune.core.task import Column
from adaptune.data.columns import resolve
from adaptune.data.config import DataConfig, Format
from adaptune.data.file import read_table
from adaptune.data.read import files_of
from adaptune.data.table import Table, shown
from adaptune.tasks import TASKS

LOOK_AT = 2000
"""Rows that are looked at."""
LONG = 60
"""Characters that no label and no column's name has."""
MOST_LABELS = 0.2
"""Different values of a label column, as a share of the rows, at most (in short files: 20)."""
OF_LABELS = ("label", "class", "categor", "intent", "sentiment", "emotion", "topic", "target", "标签", "类别", "情感")
"""What names of label columns hold."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A first idea of how a file is to be read."""

    task: str
    format: Literal["auto", Format]
    """auto for a data set of a hub."""
    columns: Mapping[str, str]
    """The task's name of each column, and the file's."""
    reasons: tuple[str, ...]
    """Why, a sentence each."""
    header: bool = True
    """csv, tsv: whether the first line names the columns."""


def guess(path: str | Path) -> Guess:
    """What a file seems to be for. Raises DataError where no task fits it."""
    table, header, reasons = _table(path)
    if not table.records:
        raise DataError(f"{table.source} has no rows that could be read; adaptune doctor {table.source} says why")
    table.records = table.records[:: max(1, len(table.records) // LOOK_AT)]
    if table.format == "semeval":
        related = resolve(table, TASKS.get("relate").columns, {}, labelled=True)
        return Guess("relate", table.format, related, ("it has numbered sentences and relations, as SemEval-2010 has",))
    tagging = _for_tag(table)
    columns, why = tagging or _for_classify(table)
    return Guess("tag" if tagging else "classify", table.format or "auto", columns, (*reasons, *why), header)


def _table(path: str | Path) -> tuple[Table, bool, list[str]]:
    """The file's table, of several files the first one's; whether it has a header, and why not."""
    path = next(iter(files_of(str(path))), path)
    table, _ = read_table(path, DataConfig(train=str(path), on_bad_row="skip"))
    why = _is_a_row(table) if table.hint else ""
    if not why:
        return table, True, []
    table, _ = read_table(path, DataConfig(train=str(path), on_bad_row="skip", header=False))
    return table, False, [f"the first line names no columns: {why}"]


def _is_a_row(table: Table) -> str:
    """Why the first line of a delimited file seems to be a row and no header; else an empty string."""
    if _resolved(table, TASKS.get("classify").columns) is not None:
        return ""
    for name in table.columns:
        if len(name) > LONG:
            return f"{shown(name, 40)} is too long for a name"
        if _is_number(name):
            return f"{name!r} is a number"
        if name and any(record.values[name] == name for record in table.records):
            return f"{name!r} also stands in the lines below"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _for_tag(table: Table) -> tuple[dict[str, str], list[str]] | None:
    """Columns of a tagging task, where a tag stands for every word or spans lie on a text."""
    columns = _resolved(table, TASKS.get("tag").columns)
    if columns is None:
        return None
    labels = [columns[column.name] for column in TASKS.get("tag").columns if column.label and column.name in columns]
    if not all(_holds_labels(record.values.get(name)) for record in table.records for name in labels):
        return None
    if table.format == "brat":
        return columns, ["it is a document with what is marked in it, as brat keeps them"]
    if table.format == "conll":
        return columns, ["it is a CoNLL file: a word and its tag a line"]
    return columns, [f"{name!r} holds several labels in each row" for name in labels]


def _holds_labels(value: object) -> bool:
    """Whether a value is a list of labels, or tags with spaces between them."""
    return isinstance(value, list) or (isinstance(value, str) and all(looks_like_tag(tag) for tag in value.split()))


def _for_classify(table: Table) -> tuple[dict[str, str], list[str]]:
    """Columns of a classification, by their names or by what they hold. Raises DataError."""
    columns = _resolved(table, TASKS.get("classify").columns)
    if columns is not None:
        return columns, [_named(name, there, table) for name, there in columns.items()]
    texts = {name: fmean(len(value) for value in values) for name in table.columns if (values := _texts(table, name))}
    if not texts:
        raise DataError(
            f"{table.source} has no column of text (it has: {', '.join(table.columns)}); nothing can be learned"
        )
    text = max(texts, key=lambda name: texts[name])
    labels = sorted((name for name in table.columns if name != text and _may_be_label(table, name)), key=_rank)
    if not labels:
        raise DataError(
            f"{table.source}: no column beside {text!r} looks like labels, few different short values that repeat "
            f"(it has: {', '.join(map(repr, table.columns))}); add one, or write the recipe by hand"
        )
    reasons = [
        f"{text!r} holds the longest texts, {texts[text]:.0f} characters on average",
        _named("label", labels[0], table),
    ]
    if others := labels[1:]:
        reasons.append(f"{' and '.join(map(repr, others))} could be the label as well")
    return {"text": text, "label": labels[0]}, reasons


def _resolved(table: Table, columns: Sequence[Column]) -> dict[str, str] | None:
    try:
        return resolve(table, columns, {}, labelled=True)
    except DataError:
        return None


def _values(table: Table, name: str) -> Counter[str]:
    """How often each plain value of a column stands there."""
    given = (record.values.get(name) for record in table.records)
    values = (value[0] if isinstance(value, list) and len(value) == 1 else value for value in given)
    return Counter(str(value) for value in values if isinstance(value, (str, int, float)) and str(value).strip())


def _texts(table: Table, name: str) -> list[str]:
    """A column's texts; none where they are lists or mappings that are spelt out."""
    values = [record.values.get(name) for record in table.records]
    texts = [value for value in values if isinstance(value, str)]
    return [] if sum(text.startswith(("[", "{")) for text in texts) > 0.5 * len(texts) else texts


def _may_be_label(table: Table, name: str) -> bool:
    values = _values(table, name)
    rows = values.total()
    few = 2 <= len(values) <= max(min(20, rows - 1), MOST_LABELS * rows)
    measured = len(values) > 20 and all(_is_number(value) for value in values) and any("." in value for value in values)
    return few and not measured and all(len(value) <= LONG for value in values)


def _rank(name: str) -> bool:
    """Columns that are called like labels first; otherwise the file's order."""
    return not any(part in name.casefold() for part in OF_LABELS)


def _named(name: str, there: str, table: Table) -> str:
    """What was found in a column, for a reason."""
    if name != "label":
        column = next(column for column in TASKS.get("classify").columns if column.name == name)
        return f"{there!r} is a usual name for {column.help}"
    values = _values(table, there)
    most = ", ".join(repr(value) for value, _ in values.most_common(3))
    return f"{there!r} has {len(values):,} different value{'s' * (len(values) != 1)}, such as {most}"
