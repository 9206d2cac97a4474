"""Byte strings in a temporary file, by number: what is too much for memory. Knows not what they are."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 8192
"""Byte strings that are read together where they are read in order."""


class Spool:
    """Byte strings in the order in which they were appended; they vanish with the object.

    The file lies where the system keeps temporary files (TMPDIR says where), and only its offsets in memory: 8 bytes a
    byte string.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the object lives
        self._ends = array("q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> bytes:
        start = self._ends[number]
        return self._read(start, self._ends[number + 1] - start)

    @property
    def size(self) -> int:
        """Of all byte strings together."""
        return self._ends[-1]

    def sizes(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of byte strings by number."""
        return np.diff(np.array(self._ends))[numbers]

    def extend(self, contents: Iterable[bytes]) -> None:
        """Append byte strings."""
        contents, end = list(contents), self._ends[-1]
        for content in contents:
            end += len(content)
            self._ends.append(end)
        self._file.seek(0, 2)
        self._file.write(b"".join(contents))
        self._file.flush()

    def each(self, numbers: NDArray[np.int64]) -> Iterator[bytes]:
        """Byte strings by number; quick where these rise."""
        for start in range(0, len(numbers), AT_ONCE):
            some = numbers[start : start + AT_ONCE].tolist()
            first, last = min(some), max(some)
            if last - first > 4 * AT_ONCE:
                yield from map(self.__getitem__, some)
                continue
            begin = self._ends[first]
            block = self._read(begin, self._ends[last + 1] - begin)
            yield from (block[self._ends[number] - begin : self._ends[number + 1] - begin] for number in some)

    def close(self) -> None:
        """Give the file up."""
        self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def _read(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        return self._file.read(size)
