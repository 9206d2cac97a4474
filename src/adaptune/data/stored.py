"""Examples that are too many for memory: their rows lie in a spool, and each is made where it is asked for."""

from __future__ import annotations

import marshal
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

from adaptune.core.errors import DataError
from adaptune.core.task import Task
from adaptune.core.types import Example, Row
from adaptune.data.outline import Outline, Outlines, outline_of
from adaptune.data.spool import Spool
from adaptune.data.table import shown

FORMAT = 2
"""Of marshal: plain values as they are, quickly, and equal ones as equal bytes. Nothing but this process reads them."""


class Rows:
    """Rows that a task understood, in a spool, with an outline of each."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._spool = Spool()
        self._numbers: list[NDArray[np.int64]] = []
        self._sources: list[str] = []
        self._starts: list[int] = []
        self._outlines = Outlines()

    def __len__(self) -> int:
        return len(self._spool)

    def extend(self, examples: Sequence[Example]) -> None:
        """Append examples, all of one source."""
        if not examples:
            return
        if not self._sources or self._sources[-1] != examples[0].row.source:
            self._sources.append(examples[0].row.source)
            self._starts.append(len(self))
        self._numbers.append(np.array([example.row.number for example in examples], dtype=np.int64))
        self._spool.extend(_written(example.row) for example in examples)
        for example in examples:
            self._outlines.add(example)

    def finish(self) -> Stored:
        """All of them as examples; nothing can be appended any more."""
        self._numbers = [np.concatenate([np.zeros(0, dtype=np.int64), *self._numbers])]
        outline, self._outlines = self._outlines.finish(), Outlines()
        return Stored(self, np.arange(len(self)), outline)

    def content(self, rows: NDArray[np.int64]) -> Iterator[bytes]:
        """The values of rows, as they lie in the spool."""
        return self._spool.each(rows)

    def examples(self, rows: NDArray[np.int64]) -> Iterator[Example]:
        """Some rows as examples, in the order asked for; quick where that is the files'."""
        numbers = self._numbers[0][rows].tolist()
        for row, number, content in zip(rows.tolist(), numbers, self._spool.each(rows), strict=True):
            source = self._sources[bisect_right(self._starts, row) - 1]
            yield self.task.example(Row(source, number, marshal.loads(content)))


def _written(row: Row) -> bytes:
    """A row's values. Raises DataError for one that is neither text, number, truth value, list nor object."""
    try:
        return marshal.dumps(dict(row.values), FORMAT)
    except ValueError:
        raise DataError(f"{row.where}: {shown(dict(row.values))} holds a value of a kind that no task reads") from None


class Stored(Sequence[Example]):
    """Examples of which only outlines are in memory."""

    def __init__(self, rows: Rows, places: NDArray[np.int64], outline: Outline) -> None:
        """`places` are those of its examples among the rows."""
        self.rows, self.places, self.outline = rows, places, outline

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Example]:
        return self.rows.examples(self.places)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Example, ...]: ...

    def __getitem__(self, index: int | slice) -> Example | tuple[Example, ...]:
        if isinstance(index, slice):
            return tuple(self.rows.examples(self.places[index]))
        return next(self.rows.examples(self.places[[index]]))

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> Stored:
        """Some of them."""
        chosen = np.asarray(indices, dtype=np.int64)
        return Stored(self.rows, self.places[chosen], self.outline.take(chosen))

    def some(self, indices: NDArray[np.int64]) -> Iterator[Example]:
        """Some of them, one after another, in the order asked for."""
        return self.rows.examples(self.places[indices])

    def content(self) -> Iterator[bytes]:
        """What each is made of."""
        return self.rows.content(self.places)

    @cached_property
    def answered(self) -> Sequence[Example]:
        """Stand-ins with the answer alone: all that a task looks at for strata and labels, at a thousandth of the cost.

        The examples themselves where there are too many different answers.
        """
        if self.outline.values is None:
            return self
        made = {digest: Example(_NO_ROW, (), value) for digest, value in self.outline.values.items()}
        return [made[digest] for digest in self.outline.answers.tolist()]


_NO_ROW = Row("", 0, {})


def answered(examples: Sequence[Example]) -> Sequence[Example]:
    """Examples for what looks at answers alone."""
    return examples.answered if isinstance(examples, Stored) else examples


def outline(examples: Sequence[Example]) -> Outline:
    """What checks and cuts must know of examples."""
    return examples.outline if isinstance(examples, Stored) else outline_of(examples)
