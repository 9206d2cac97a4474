"""Files too large for memory, row by row into a store of examples; what cannot be used is refused as `read` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path

from adaptune.core.bio import scheme_of
from adaptune.core.errors import DataError
from adaptune.core.log import Progress
from adaptune.core.task import Task
from adaptune.core.types import Example
from adaptune.data.columns import resolve
from adaptune.data.config import DataConfig
from adaptune.data.file import open_table
from adaptune.data.formats.brat import ANNOTATIONS
from adaptune.data.formats.hub import Drawn, is_of_hub, open_hub, size_of_hub
from adaptune.data.formats.parallel import halves
from adaptune.data.read import as_raw_text, examples_of, files_of, no_rows, read, settle, understood
from adaptune.data.rows import rows_of, tags_of
from adaptune.data.stored import Rows
from adaptune.data.table import Opened, Record, Rejected, Table

LARGE = 32_000_000
"""Bytes from which on a file is too large for memory: as Python's objects its rows take some twenty times that."""
AT_ONCE = 4096
"""Rows that are understood together."""


@dataclass(frozen=True, slots=True)
class Understood:
    """The rows of a source as their task understands them."""

    examples: Sequence[Example]
    rejected: list[Rejected]
    """Rows that were left out, as `on_bad_row` says."""
    notices: list[str]
    columns: dict[str, str]
    """The task's name of each column, and the file's."""
    fingerprint: str


def load_examples(source: str, config: DataConfig, task: Task, *, part: str, drawn: Drawn | None = None) -> Understood:
    """The labelled rows of a source: in memory, or in a store where they are to be streamed.

    `drawn`: how many rows of a hub's stream are enough. Raises DataError, MissingExtra.
    """
    if config.stream == "always" and not task.by_row:
        raise DataError(
            f"data.stream is 'always', and task {task.name!r} reads rows together; leave it out, or set it to auto"
        )
    if task.by_row and is_streamed(source, config, part):
        return _stored(source, config, task, part, drawn)
    found = read(source, config, task.columns, part=part)
    own = examples_of(found.rows, task, config)
    return Understood(own.examples, [*found.rejected, *own.rejected], found.notices, found.columns, found.fingerprint)


def is_streamed(source: str, config: DataConfig, part: str = "train") -> bool:
    """Whether the rows of a source are read one after another, and never all held in memory."""
    if config.stream == "never" or halves(source) is not None:
        return False
    if is_of_hub(source):
        return config.stream == "always" or size_of_hub(source, part) > LARGE
    files = [Path(file) for file in files_of(source) or [source]]
    if files[0].suffix == ANNOTATIONS:
        return False
    return config.stream == "always" or sum(file.stat().st_size for file in files if file.is_file()) > LARGE


def _stored(source: str, config: DataConfig, task: Task, part: str, drawn: Drawn | None) -> Understood:
    """The rows of one source, or of every file that a pattern fits, in one store."""
    rows, found = Rows(task), []
    with Progress(f"read {source}", None, unit="rows") as progress:
        if is_of_hub(source):
            found.append(_read_into(rows, lambda: open_hub(source, part, drawn), config, progress))
        for file in [] if found else files_of(source) or [source]:
            of_file = as_raw_text(file, config, task.columns)
            found.append(_read_into(rows, partial(open_table, file, of_file), of_file, progress))
    whole = "".join(one.fingerprint for one in found)
    examples = rows.finish()
    if is_of_hub(source):  # a stream has no fingerprint but that of its rows
        whole += sha256(b"\n".join(examples.content())).hexdigest()
    return Understood(
        examples,
        [rejected for one in found for rejected in one.rejected],
        [text for one in found for text in one.notices],
        found[0].columns,
        whole if len(found) == 1 else sha256(whole.encode()).hexdigest(),
    )


def _read_into(rows: Rows, begin: Callable[[], Opened], config: DataConfig, progress: Progress) -> Understood:
    """Append the usable rows of one file to a store; `begin` opens it, as often as need be."""
    opened, task = begin(), rows.task
    table = opened.table
    first = list(islice(opened.records, AT_ONCE))
    if not first:
        settle(table.rejected, 0, table.source, config)
        raise no_rows(table)
    names = resolve(table, task.columns, config.columns, labelled=True)
    if "tags" in names and config.scheme == "auto":
        tags = (tags_of(record.values.get(names["tags"])) for record in begin().records)
        config = config.model_copy(update={"scheme": scheme_of(one for one in tags if one is not None)})
    before, read_rows = len(rows), 0
    refused: list[Rejected] = []
    for records in _batches(chain(first, opened.records)):
        some = Table(table.source, table.columns, records, tag_column=table.tag_column)
        usable = rows_of(some, task.columns, names, config)
        table.rejected += some.rejected
        own = understood(usable, task)
        refused += own.rejected
        rows.extend(own.examples)
        read_rows += len(usable)
        progress.advance(len(records))
    table.rejected.sort(key=lambda rejected: rejected.number)
    settle(table.rejected, read_rows, table.source, config)
    settle(refused, len(rows) - before, table.source, config)
    return Understood((), [*table.rejected, *refused], table.notices, names, opened.fingerprint)


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    while some := list(islice(records, AT_ONCE)):
        yield some
