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
    """The rows of a file, or of every file that a pattern such as `fold*.json` fits, under the task's names.

    Where not `labelled`, label columns are left out. `part` (train, valid, test) chooses the split of a hub's data set
    where its address names none. Raises DataError, MissingExtra.
    """
    if files := files_of(str(path)):
        return _read_together(files, config, columns, labelled=labelled, part=part)
    table, fingerprint = read_table(path, as_raw_text(path, config, columns), part=part)
    if not table.records:
        settle(table.rejected, 0, table.source, config)
        raise no_rows(table)
    names = resolve(table, columns, config.columns, labelled=labelled)
    rows = rows_of(table, columns, names, config)
    table.rejected.sort(key=lambda rejected: rejected.number)
    settle(table.rejected, len(rows), table.source, config)
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
    """The files that a pattern fits, in order; none where it is no pattern, or the name of a file."""
    if pattern.startswith("hub:") or Path(pattern).exists() or not has_magic(pattern):
        return []
    return sorted(glob(pattern))  # noqa: PTH207  # Path.glob takes no absolute pattern


def _read_together(
    files: Sequence[str], config: DataConfig, columns: Sequence[Column], *, labelled: bool, part: str
) -> Read:
    """The rows of several files as those of one."""
    found = [read(file, config, columns, labelled=labelled, part=part) for file in files]
    return Read(
        rows=[row for one in found for row in one.rows],
        rejected=[row for one in found for row in one.rejected],
        notices=[text for one in found for text in one.notices],
        columns=found[0].columns,
        fingerprint=sha256("".join(one.fingerprint for one in found).encode()).hexdigest(),
    )


def examples_of(rows: Sequence[Row], task: Task, config: DataConfig) -> Examples:
    """Every row as the task understands it. Raises DataError for rows it refuses, unless data.on_bad_row is skip."""
    found = understood(rows, task)
    if found.rejected:
        settle(found.rejected, len(found.examples), rows[0].source, config)
    return found


def understood(rows: Sequence[Row], task: Task) -> Examples:
    """Every row as the task understands it; those it refuses are set aside."""
    found = Examples([])
    for row in rows:
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
