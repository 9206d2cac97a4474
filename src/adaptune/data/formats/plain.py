"""Raw text without any columns: one text a line, or one a paragraph. Reads no files itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from adaptune.data.large_text import LargeText, numbered_lines
from adaptune.data.table import Record, Table
from adaptune.data.text import lines_of

TEXT = "text"


def read_plain(text: str, source: str, *, paragraphs: bool) -> Table:
    """One record a line that is not blank, or a paragraph between blank lines, its column called text."""
    lines = list(enumerate(lines_of(text), start=1))
    if not paragraphs:
        return Table(source, (TEXT,), [Record(number, {TEXT: line}) for number, line in lines if line.strip()])
    groups = [list(group) for full, group in groupby(lines, key=lambda line: bool(line[1].strip())) if full]
    return Table(
        source, (TEXT,), [Record(group[0][0], {TEXT: "\n".join(line for _, line in group)}) for group in groups]
    )


def open_lines(text: LargeText, source: str) -> tuple[Table, Iterator[Record]]:
    """A table of lines without its records, and these one after another."""
    return Table(source, (TEXT,), []), (
        Record(number, {TEXT: line}) for number, line, _ in numbered_lines(text) if line.strip()
    )
