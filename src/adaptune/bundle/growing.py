"""A file of lines that grows part by part, and goes on where it was stopped. Knows not what its lines say."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from adaptune.core.errors import BundleError
from adaptune.core.files import write_json

BLOCK = 1 << 20
"""Bytes that are looked at together."""


class Growing:
    """OUT.part until it is whole, then OUT; beside it OUT.part.json says what its lines are made from.

    with Growing(out, {"input": ..., "bundle": ...}) as growing:
        growing.write(lines)
        growing.finish()
    """

    def __init__(self, path: Path, made_from: Mapping[str, str]) -> None:
        """`made_from`: digests by the names of what they are of, so that messages can name what is another."""
        self.path = path
        self.made_from = dict(made_from)
        self.part = path.with_name(f"{path.name}.part")
        self.record = path.with_name(f"{path.name}.part.json")
        self.lines = 0
        """That are written, those of an earlier process included."""
        self._size = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Growing:
        """Take up what an earlier process left. Raises BundleError where that was made from something else."""
        self.check()
        if self.part.exists():
            self.lines, self._size = whole_lines(self.part)
        else:
            write_json(self.record, self.made_from)
        self._file = self.part.open("r+b" if self.part.exists() else "w+b")
        self._file.truncate(self._size)  # a line that was cut off
        self._file.seek(self._size)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def write(self, lines: Sequence[bytes]) -> None:
        """Append whole lines; they outlive the process when this returns. Raises BundleError beside another writer."""
        file = self._open
        if file.seek(0, os.SEEK_END) != self._size:
            raise BundleError(f"{self.part} is written by another process, too; wait for that, or name another --out")
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
        self._size = file.tell()
        self.lines += len(lines)

    def finish(self) -> None:
        """The file takes its name, in the place of an earlier one."""
        self._open.close()
        self._file = None
        self.part.replace(self.path)
        self.record.unlink(missing_ok=True)

    @property
    def _open(self) -> IO[bytes]:
        assert self._file is not None, "lines are written inside the with block, before it is finished"
        return self._file

    def check(self) -> None:
        """Refuse what an earlier process left if it was made from something else. Raises BundleError."""
        if not self.part.exists():
            return
        try:
            record = json.loads(self.record.read_bytes())
        except (OSError, ValueError):
            record = None
        if not isinstance(record, dict):
            raise BundleError(
                f"{self.part} is there, and no {self.record.name} beside it says what it was made from; delete it to "
                "begin anew, or name another --out"
            )
        names = sorted(record.keys() | self.made_from)
        changed = [name for name in names if record.get(name) != self.made_from.get(name)]
        if changed:
            raise BundleError(
                f"{self.part} was begun with another {' and another '.join(changed)}, so it cannot be gone on with; "
                f"give {'that' if len(changed) == 1 else 'those'} again, delete it to begin anew, or name another --out"
            )


def whole_lines(file: Path) -> tuple[int, int]:
    """How many lines of a file have their end, and how many bytes these are."""
    lines = size = end = 0
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            lines += block.count(b"\n")
            if (last := block.rfind(b"\n")) >= 0:
                end = size + last + 1
            size += len(block)
    return lines, end
