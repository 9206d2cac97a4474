"""Which process is at work in a folder, by a file that it leaves there. Knows no folder's content."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

from adaptune.core.files import write_json


@dataclass(frozen=True, slots=True)
class AtWork:
    """A process; numbers of processes are given anew, so that when it began is part of its name."""

    pid: int
    host: str
    began: float
    """Seconds since 1970."""
    since: float
    """When it began to work in the folder."""

    @classmethod
    def here(cls) -> Self:
        """This process."""
        return cls(os.getpid(), platform.node(), psutil.Process().create_time(), time.time())

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """The process that `file` names, if it still runs on this machine."""
        try:
            found = cls(**json.loads(file.read_bytes()))
            return found if found.alive else None
        except (OSError, ValueError, TypeError):  # there is none, or it is not one that was written here
            return None

    @property
    def alive(self) -> bool:
        """Whether it still runs; of another machine nobody here knows, and it counts as gone."""
        if self.host != platform.node():
            return False
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.began) < 1
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except (psutil.Error, ValueError, OverflowError):
            return False

    def write(self, file: Path) -> None:
        """Leave the file."""
        write_json(file, asdict(self))
