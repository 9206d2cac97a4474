"""What is known of every bundle's rows and requests, in windows. Knows no HTTP, no tensors, no rules.

Rows are counted in the event loop, vectors in the thread that computes, and looked at in a third: one lock for all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adaptune.bundle.reference import Reference
from adaptune.bundle.tally import Seen, Tally
from adaptune.serve.watch.windows import Requests, Windows, requests, tallies

HOUR = 3600.0
FIRST_ROWS = 500
"""Rows that a bundle without a reference is compared with: the first ones that it answers."""

Source = Literal["validation", "first rows"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A task of one version of a bundle."""

    bundle: str
    version: str
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """What rows are compared with."""

    source: Source
    tally: Tally
    complete: bool
    """Whether it has enough rows to compare with."""


@dataclass(slots=True)
class _Task:
    """What is known of one subject."""

    windows: Windows[Tally]
    reference: Tally | None
    """From the bundle; None where it has none."""
    first: Tally = field(default_factory=Tally)
    """The first rows, where these stand in."""

    @property
    def gathers(self) -> bool:
        return self.reference is None and self.first.rows < FIRST_ROWS


class Watch:
    """All bundles of one server, or of one history."""

    def __init__(self, clock: Callable[[], float], windows: Iterable[float] = ()) -> None:
        """`clock` gives seconds since 1970. `windows`: seconds of those that are asked for beside the last hour."""
        self.clock = clock
        self.windows = tuple(sorted({HOUR, *windows}))
        self._tasks: dict[Subject, _Task] = {}
        self._requests: dict[str, Windows[Requests]] = {}
        self._lock = threading.Lock()

    def begin(self, subject: Subject, reference: Reference | None) -> None:
        """Watch a task from now on; one that is watched already goes on."""
        with self._lock:
            if subject not in self._tasks:
                tally = None if reference is None else reference.tally()
                self._tasks[subject] = _Task(tallies(self.windows), tally)
                self._requests.setdefault(subject.bundle, requests(self.windows))

    def end(self, keep: Collection[tuple[str, str]]) -> None:
        """Forget every version but these (bundle, version)."""
        with self._lock:
            self._tasks = {one: task for one, task in self._tasks.items() if (one.bundle, one.version) in keep}
            names = {bundle for bundle, _ in keep}
            self._requests = {name: windows for name, windows in self._requests.items() if name in names}

    def answered(self, subject: Subject, rows: Iterable[Seen]) -> None:
        """Count rows of a task; of one that is not watched, nothing is counted."""
        with self._lock:
            if (task := self._tasks.get(subject)) is None:
                return
            current = task.windows.current(self.clock())
            for seen in rows:
                if task.gathers:
                    task.first.add(seen)
                for tally in current:
                    tally.add(seen)

    def read(self, subject: Subject, count: int, total: NDArray[np.float64]) -> None:
        """Count sequences of a task by the sum of their vectors (D)."""
        with self._lock:
            if (task := self._tasks.get(subject)) is None:
                return
            if task.gathers:
                task.first.add_vectors(count, total)
            for tally in task.windows.current(self.clock()):
                tally.add_vectors(count, total)

    def requested(self, bundle: str, seconds: float | None, *, failed: bool) -> None:
        """Count a request for a bundle; of one that is not watched, nothing is counted."""
        with self._lock:
            if (windows := self._requests.get(bundle)) is not None:
                for one in windows.current(self.clock()):
                    one.add(seconds, failed=failed)

    def subjects(self) -> list[Subject]:
        """Everything that is watched."""
        with self._lock:
            return list(self._tasks)

    def rows(self, subject: Subject, seconds: float) -> Tally | None:
        """Of one window; None for what is not watched."""
        with self._lock:
            task = self._tasks.get(subject)
            return None if task is None else task.windows.total(seconds, self.clock())

    def requests(self, bundle: str, seconds: float) -> Requests | None:
        """Of one window; None for what is not watched."""
        with self._lock:
            windows = self._requests.get(bundle)
            return None if windows is None else windows.total(seconds, self.clock())

    def compared(self, subject: Subject) -> Compared | None:
        """What rows of a task are compared with; None for what is not watched."""
        with self._lock:
            if (task := self._tasks.get(subject)) is None:
                return None
            if task.reference is not None:
                return Compared("validation", task.reference, True)
            return Compared("first rows", task.first.plus(Tally()), not task.gathers)
