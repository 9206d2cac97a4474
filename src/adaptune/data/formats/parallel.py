"""Parallel files: line N of one belongs to line N of the other, as translations come. Reads no files itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

from adaptune.core.errors import DataError
from adaptune.data.table import Record, Table, shown
from adaptune.data.text import lines_of

SOURCE, TARGET = "source", "target"
_PAIR = re.compile(r"([^{}]*)(?<!\$)\{([^{},]+),([^{},]+)\}([^{}]*)")


def halves(name: str) -> tuple[str, str] | None:
    """`train.{de,en}` names `train.de` and `train.en`; None for the name of one file."""
    found = _PAIR.fullmatch(name)
    if found is None:
        return None
    before, first, second, after = found.groups()
    return f"{before}{first}{after}", f"{before}{second}{after}"


def read_parallel(texts: Sequence[str], names: tuple[str, str], source: str) -> Table:
    """One record a pair of lines, its columns called source and target. Raises DataError for lines without a partner.

    Pairs of blank lines are passed over.
    """
    first, second = (lines_of(text) for text in texts)
    if len(first) != len(second):
        longer, shorter = (0, 1) if len(first) > len(second) else (1, 0)
        counts, row = (len(first), len(second)), min(len(first), len(second))
        alone = shown((first, second)[longer][row])
        raise DataError(
            f"{names[longer]}, row {row + 1}: the line {alone} has no partner; {names[shorter]} has "
            f"{counts[shorter]:,} lines, this file {counts[longer]:,}: line N of one must belong to line N of the other"
        )
    table = Table(source, (SOURCE, TARGET), [])
    for number, (one, other) in enumerate(zip(first, second, strict=True), start=1):
        if one.strip() and other.strip():
            table.records.append(Record(number, {SOURCE: one, TARGET: other}))
        elif one.strip() or other.strip():
            empty = names[0] if other.strip() else names[1]
            table.reject(number, f"{empty} has an empty line here, and its partner has not; fill it or remove both")
    return table
