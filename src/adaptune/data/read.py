"""A file as the rows of a task; rows that cannot be used end the run or are set aside, as the recipe says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from hashlib import sha256
from pathlib import Path

from adaptune.core.errors import DataError
from adaptune.core.task import Column, Task
from adaptune.core.types import Example, Row
from adaptune.data.columns import resolve
from adaptune.data.config import DataConfig
from adaptune.data.file import read_table
from adaptune.data.formats.brat import ANNOTATIONS, TEXT, documents_in
from adaptune.data.formats.parallel import halves
from adaptune.data.rows import rows_of
from adaptune.data.table import Rejected, Table

SHOWN = 3
"""Bad rows that a message names."""


@dataclass(frozen=True, slots=True)
class Read:
    """The rows of one file."""

    rows: list[Row]
    rejected: list[Rejected]
    """Rows that could not be read; empty unless data.on_bad_row is skip."""
    notices: list[str]
    """What was found out about the file and the user should know: its character set, its delimiter."""
    columns: dict[str, str]
    """The task's name of each column, and the file's."""
    fingerprint: str
    """SHA-256 of the file."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows as their task understands them."""

    examples: list[Example]
    rejected: list[Rejected] = field(default_factory=list)


def read(
    path: str | Path, config: DataConfig, columns: Sequence[Column], *, labelled: bool = True, part: str = "train"
) -> Read:
    """The rows of a file, of every file that a pattern such as `fold*.json` fits, or of brat's in a folder.

    Where not `labelled`, label columns are left out. `part` (train, valid, test) chooses the split of a hub's data set
    where its address names none. Raises DataError, MissingExtra.
    """
    files = files_of(str(path))
    found = [_read_file(file, config, columns, labelled=labelled, part=part) for file in files or [str(path)]]
    rows = [row for one in found for row in one.rows]
    rejected = [row for one in found for row in one.rejected]
    settle(rejected, len(rows), str(path), config)
    if not rows:
        raise DataError(
            f"{path} has no rows; expected at least one{', a relation (R1, tab, ...) each' if files else ''}"
        )
    together = sha256("".join(one.fingerprint for one in found).encode()).hexdigest()
    return Read(
        rows=rows,
        rejected=rejected,
        notices=[text for one in found for text in one.notices],
        columns=next(one.columns for one in found if one.rows),
        fingerprint=found[0].fingerprint if len(found) == 1 else together,
    )


def _read_file(path: str | Path, config: DataConfig, columns: Sequence[Column], *, labelled: bool, part: str) -> Read:
    """The rows of one file, and those that could not be read."""
    relations = any(column.name == "relation" for column in columns)
    table, fingerprint = read_table(path, as_raw_text(path, config, columns), part=part, relations=relations)
    # Of documents, some may hold no relation.
    if not table.records and not table.rejected and not (relations and table.format == "brat"):
        raise no_rows(table)
    if not table.records:
        return Read([], table.rejected, table.notices, {}, fingerprint)
    names = resolve(table, columns, config.columns, labelled=labelled)
    rows = rows_of(table, columns, names, config)
    table.rejected.sort(key=lambda rejected: rejected.number)
    return Read(rows, table.rejected, table.notices, names, fingerprint)


def no_rows(table: Table) -> DataError:
    """What is said of an empty file."""
    return DataError(f"{table.source} has no rows; expected at least one{' below its header' if table.hint else ''}")


def as_raw_text(path: str | Path, config: DataConfig, columns: Sequence[Column]) -> DataConfig:
    """A .txt file of a task that reads nothing but a text has one a line, whatever commas stand in it."""
    if config.format != "auto" or [column.name for column in columns] != ["text"]:
        return config
    return config.model_copy(update={"format": "lines"}) if Path(path).suffix.lower() == ".txt" else config


def files_of(pattern: str) -> list[str]:
    """The files that a pattern fits, or the documents of a folder as brat keeps them, in order.

    None where it is no pattern, or the name of a file.
    """
    path = Path(pattern)
    if path.is_dir():
        return sorted(str(file) for file in path.glob(f"*{ANNOTATIONS}"))
    if pattern.startswith("hub:") or path.exists():
        return []
    if (pair := halves(pattern)) is not None and sorted(name[-4:] for name in pair) == [ANNOTATIONS, TEXT]:
        pattern = next(name for name in pair if name.endswith(ANNOTATIONS))
        return sorted(glob(pattern)) if has_magic(pattern) else [pattern]  # noqa: PTH207
    if not has_magic(pattern):
        return []
    return documents_in(sorted(glob(pattern)))  # noqa: PTH207  # Path.glob takes no absolute pattern


def examples_of(rows: Sequence[Row], task: Task, config: DataConfig) -> Examples:
    """Every row as the task understands it. Raises DataError for rows it refuses, unless data.on_bad_row is skip."""
    found = understood(rows, task)
    if found.rejected:
        settle(found.rejected, len(found.examples), rows[0].source, config)
    return found


def understood(rows: Sequence[Row], task: Task) -> Examples:
    """Every row as the task understands it; those it refuses are set aside."""
    found = Examples([])
    for row in task.gathered(rows):
        try:
            found.examples.append(task.example(row))
        except DataError as error:
            reason = str(error).removeprefix(row.where).lstrip(",: ")
            found.rejected.append(Rejected(row.source, row.number, reason))
    return found


def settle(rejected: Sequence[Rejected], usable: int, source: str, config: DataConfig) -> None:
    """Raise DataError where bad rows end the run, or are all there is."""
    if not rejected or (usable and config.on_bad_row == "skip"):
        return
    shown_rows = [str(row) for row in rejected[:SHOWN]]
    if len(rejected) == 1 and usable:
        raise DataError(f"{shown_rows[0]}; data.on_bad_row: skip would leave the row out")
    more = (
        f"\n  - and {len(rejected) - SHOWN} more, listed by: adaptune doctor {source}" if len(rejected) > SHOWN else ""
    )
    what = f"{len(rejected)} rows cannot be used" if usable else f"none of its {len(rejected)} rows can be used"
    remedy = (
        "correct them; data.on_bad_row: skip would leave them out" if usable else "correct them, or the data section"
    )
    raise DataError(f"{source}: {what}; {remedy}" + "".join(f"\n  - {row}" for row in shown_rows) + more)
