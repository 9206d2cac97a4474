"""How often one caller may ask: a bucket of tokens each, filled at a constant rate. Knows no HTTP."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

MOST_CALLERS = 10_000
"""Buckets that are remembered; the ones longest unused are full again by then, or belong to an attack."""


class Rate:
    """At most so many requests a minute, as many of them at once."""

    def __init__(self, a_minute: int, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._most = float(a_minute)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> int:
        """0, and one request less is left to the caller; or in how many seconds there will be one."""
        now = self._clock()
        left, then = self._buckets.pop(caller, (self._most, now))
        left = min(self._most, left + (now - then) * self._most / 60)
        wait = 0 if left >= 1 else math.ceil((1 - left) * 60 / self._most - 1e-9)
        self._buckets[caller] = (left if wait else left - 1, now)
        if len(self._buckets) > MOST_CALLERS:
            self._buckets.popitem(last=False)
        return wait
