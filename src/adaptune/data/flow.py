"""The rows of a file that are to be answered, a window at a time: their number takes no memory. Knows no model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from adaptune.core.errors import DataError
from adaptune.core.files import json_line, replacing
from adaptune.core.log import Progress, notice, warn
from adaptune.core.task import Task
from adaptune.core.types import Example
from adaptune.data.columns import resolve
from adaptune.data.config import DataConfig
from adaptune.data.file import open_table
from adaptune.data.formats.brat import is_brat
from adaptune.data.formats.hub import is_of_hub
from adaptune.data.formats.parallel import halves
from adaptune.data.read import as_raw_text, examples_of, files_of, no_rows, read, settle, understood
from adaptune.data.rows import rows_of
from adaptune.data.table import Opened, Record, Rejected, Table

_RAW = ("lines", "paragraphs")
"""Formats without columns, so that there is nothing to map."""
MOST_REFUSED = 1000
"""Bad rows after which a file that may have none is not read on."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How the rows of a file become examples of one task."""

    task: Task
    config: DataConfig


class Window(NamedTuple):
    """Records of a file that follow each other."""

    examples: list[tuple[Example, ...]]
    """Of every row that all readers can use, what each makes of it."""
    rejected: list[Rejected]
    """The others, each once."""
    fingerprint: str
    """SHA-256 of the file."""


@dataclass(frozen=True, slots=True)
class Flow:
    """The rows of a source, without labels, as often as they are asked for."""

    source: str
    readers: tuple[Reader, ...]
    """One a task. Which file and how it is read is the same for all but for their columns."""
    size: int
    """Records of a window."""

    def __iter__(self) -> Iterator[Window]:
        if not self._is_streamed:
            yield from self._whole()
            return
        for file in files_of(self.source) or [self.source]:
            yield from self._of_file(file)

    @property
    def of_several(self) -> bool:
        """Whether the source is more than one file, so that a row's number alone does not name it."""
        return len(files_of(self.source)) > 1

    @property
    def _is_streamed(self) -> bool:
        """Files of documents, pairs of files, hubs, and rows that are understood together are read whole."""
        config = self.readers[0].config
        if config.stream == "never" or config.format == "brat" or not all(one.task.by_row for one in self.readers):
            return False
        if is_of_hub(self.source) or halves(self.source) is not None:
            return False
        return not any(is_brat(Path(file)) for file in files_of(self.source) or [self.source])

    def _of_file(self, file: str) -> Iterator[Window]:
        opened = open_table(file, _as_lines(file, self.readers))
        names: list[dict[str, str]] = []
        while records := list(islice(opened.records, self.size)):
            names = names or [_names(opened.table, one) for one in self.readers]
            yield _window(opened, records, self.readers, names)
        if not names and not opened.table.rejected:
            raise no_rows(opened.table)
        yield Window([], _taken(opened.table), opened.fingerprint)

    def _whole(self) -> Iterator[Window]:
        config = _as_lines(self.source, self.readers)
        found = [read(self.source, _with(config, one), one.task.columns, labelled=False) for one in self.readers]
        own = [examples_of(of.rows, one.task, one.config) for of, one in zip(found, self.readers, strict=True)]
        rejected = [row for of in found for row in of.rejected] + [row for of in own for row in of.rejected]
        rows = iter(_shared([of.examples for of in own]))
        while some := list(islice(rows, self.size)):
            yield Window(some, [], found[0].fingerprint)
        yield Window([], _once(rejected), found[0].fingerprint)


@dataclass(frozen=True, slots=True)
class Examined:
    """What a first pass over a source found."""

    rows: int
    """That can be used."""
    fingerprints: tuple[str, ...]
    """SHA-256 of each of its files."""


def examine_flow(flow: Flow, rejected: Path | None) -> Examined:
    """Read all rows once: what cannot be used is refused, or listed in a file, as data.on_bad_row says.

    Raises DataError.
    """
    config = flow.readers[0].config
    rows = left_out = 0
    refused: list[Rejected] = []
    fingerprints: dict[str, None] = {}
    if _as_lines(flow.source, flow.readers) is not config:
        notice(f"{flow.source} is read as one text a line; set data.format for another format")
    with ExitStack() as stack, Progress(f"read {flow.source}", None, unit="rows") as progress:
        listed = stack.enter_context(replacing(rejected)) if rejected and config.on_bad_row == "skip" else None
        for window in flow:
            rows += len(window.examples)
            left_out += len(window.rejected)
            fingerprints[window.fingerprint] = None
            if listed is not None:
                listed.writelines(json_line(row.record()) for row in window.rejected)
            refused += window.rejected[: MOST_REFUSED - len(refused)]
            if len(refused) == MOST_REFUSED and config.on_bad_row == "fail":
                break
            progress.advance(len(window.examples) + len(window.rejected))
        settle(refused, rows, flow.source, config)
    _say_left_out(left_out, rejected)
    return Examined(rows, tuple(fingerprints))


def _say_left_out(rows: int, listed: Path | None) -> None:
    if rows:
        warn(f"{rows:,} rows cannot be used and are left out" + (f"; {listed} lists them" if listed else ""))
    elif listed is not None:
        listed.unlink(missing_ok=True)


def _as_lines(file: str, readers: Sequence[Reader]) -> DataConfig:
    """How a file is read: a .txt file has one text a line where nothing but a text is wanted."""
    given = readers[0].config
    wanted = {
        column.name: column
        for one in readers
        for column in one.task.columns
        if not column.label and (column.required or column.name in one.config.columns)
    }
    return as_raw_text(file, given, list(wanted.values()))


def _with(config: DataConfig, reader: Reader) -> DataConfig:
    return config.model_copy(update={"columns": {} if config.format in _RAW else reader.config.columns})


def _names(table: Table, reader: Reader) -> dict[str, str]:
    """The file's name of each column that a task reads."""
    mapping: Mapping[str, str] = {} if table.format in _RAW else reader.config.columns
    return resolve(table, reader.task.columns, mapping, labelled=False)


def _window(
    opened: Opened, records: list[Record], readers: Sequence[Reader], names: Sequence[Mapping[str, str]]
) -> Window:
    table, examples = opened.table, []
    rejected = _taken(table, records[-1].number)
    for reader, own in zip(readers, names, strict=True):
        some = Table(table.source, table.columns, records, tag_column=table.tag_column)
        found = understood(rows_of(some, reader.task.columns, own, reader.config), reader.task)
        rejected += some.rejected + found.rejected
        examples.append(found.examples)
    return Window(_shared(examples), _once(rejected), opened.fingerprint)


def _taken(table: Table, last: int | None = None) -> list[Rejected]:
    """What a table has set aside, up to a row: it looks ahead of the records that it has given."""
    taken = [row for row in table.rejected if last is None or row.number <= last]
    table.rejected = [row for row in table.rejected if last is not None and row.number > last]
    return taken


def _shared(examples: Sequence[Sequence[Example]]) -> list[tuple[Example, ...]]:
    """Rows of which every reader made an example, in their order."""
    if len(examples) == 1:
        return [(example,) for example in examples[0]]
    by_row = [{(one.row.source, one.row.number): one for one in of} for of in examples]
    return [tuple(of[row] for of in by_row) for row in by_row[0] if all(row in of for of in by_row)]


def _once(rejected: Sequence[Rejected]) -> list[Rejected]:
    """Each row with the first of its reasons, in the order of rows."""
    found = {(row.source, row.number): row for row in reversed(rejected)}
    return sorted(found.values(), key=lambda row: (row.source, row.number))


def refuse_together(tasks: Mapping[str, Task]) -> None:
    """Refuse several tasks at once of which one reads its rows together. Raises DataError."""
    for name, task in tasks.items():
        if len(tasks) > 1 and not task.by_row:
            raise DataError(
                f"task {name!r} reads rows together, so that they cannot be answered for all tasks at once; name one "
                "task: --task NAME"
            )
