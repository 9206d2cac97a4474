"""Sliding windows of constant memory: sums by slices of time, of which the oldest fall out. Knows no statistics."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from adaptune.bundle.tally import Tally

SLICES = 60
"""Of a window: it covers its whole length but for at most a sixtieth of it."""
LATENCIES: NDArray[np.float64] = np.array([0.0, *np.geomspace(1e-3, 60.0, 97)])
"""Edges of the histogram of seconds; each is 12 % above the one before, the last one has no end."""


class Sums(Protocol):
    """What adds up."""

    def plus(self, other: Self) -> Self:
        """The rows of both."""


S = TypeVar("S", bound=Sums)


@dataclass(slots=True)
class Requests:
    """Sums over requests."""

    requests: int = 0
    errors: int = 0
    """Answered with a status of 500 or above."""
    seconds: float = 0.0
    latency: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(LATENCIES) - 1, np.int64))

    def add(self, seconds: float | None, *, failed: bool) -> None:
        """Count a request."""
        self.requests += 1
        self.errors += failed
        if seconds is not None:
            place = int(np.searchsorted(LATENCIES, seconds, side="right"))
            self.latency[max(0, min(place, len(LATENCIES) - 1) - 1)] += 1
            self.seconds += seconds

    def plus(self, other: Requests) -> Requests:
        """The requests of both."""
        return Requests(
            self.requests + other.requests,
            self.errors + other.errors,
            self.seconds + other.seconds,
            self.latency + other.latency,
        )

    @property
    def timed(self) -> int:
        """Requests whose time is known."""
        return int(self.latency.sum())

    def mean(self) -> float | None:
        """Seconds."""
        return self.seconds / self.timed if self.timed else None

    def quantile(self, share: float) -> float | None:
        """Seconds that so many requests stay below, within 6 %; None where there are none."""
        if not self.timed:
            return None
        sums = self.latency.cumsum()
        place = int(np.searchsorted(sums, max(share * sums[-1], 1)))
        below = int(sums[place - 1]) if place else 0
        within = (share * int(sums[-1]) - below) / int(self.latency[place])
        low, high = float(LATENCIES[place]), float(LATENCIES[place + 1])
        return low + min(1.0, max(0.0, within)) * (high - low)


class Window(Generic[S]):
    """The sums of the last so many seconds."""

    def __init__(self, seconds: float, new: Callable[[], S]) -> None:
        self.seconds = seconds
        self._new = new
        self._slices: deque[tuple[int, S]] = deque()
        self._sum: S | None = None
        """Of all slices, as long as none has changed."""

    def current(self, now: float) -> S:
        """What rows of this moment are added to. A clock that was set back adds to the latest slice."""
        place = self._place(now)
        self._forget(place)
        if not self._slices or self._slices[-1][0] < place:
            self._slices.append((place, self._new()))
        self._sum = None
        return self._slices[-1][1]

    def total(self, now: float) -> S:
        """Of all slices that still count; not to be changed."""
        self._forget(self._place(now))
        if self._sum is None:
            self._sum = self._new()
            for _, one in self._slices:
                self._sum = self._sum.plus(one)
        return self._sum

    def _place(self, now: float) -> int:
        return math.floor(now * SLICES / self.seconds)

    def _forget(self, place: int) -> None:
        while self._slices and self._slices[0][0] <= place - SLICES:
            self._slices.popleft()
            self._sum = None


class Windows(Generic[S]):
    """The same rows in windows of several lengths."""

    def __init__(self, lengths: tuple[float, ...], new: Callable[[], S]) -> None:
        self._windows = {seconds: Window(seconds, new) for seconds in lengths}

    def __iter__(self) -> Iterator[float]:
        return iter(self._windows)

    def current(self, now: float) -> list[S]:
        """What rows of this moment are added to."""
        return [window.current(now) for window in self._windows.values()]

    def total(self, seconds: float, now: float) -> S:
        """Of one of the windows."""
        return self._windows[seconds].total(now)


def tallies(lengths: tuple[float, ...]) -> Windows[Tally]:
    """Windows of rows."""
    return Windows(lengths, Tally)


def requests(lengths: tuple[float, ...]) -> Windows[Requests]:
    """Windows of requests."""
    return Windows(lengths, Requests)
