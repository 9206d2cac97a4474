"""How sure the scores of classes and of kinds of rows are. Knows no words and no files."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adaptune.evaluate.intervals import resampled

SAMPLES = 500
"""Bootstrap samples behind each interval."""
FEWEST = 40
"""Rows that are cut into quarters; fewer tell nothing."""

Ends = tuple[float, float]


def wilson(share: float, rows: float, level: float) -> Ends:
    """The interval of a share of so many rows (Wilson, 1927)."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return max(0.0, middle - half), min(1.0, middle + half)


def f1_intervals(confusion: Sequence[Sequence[int]], level: float) -> list[Ends]:
    """(C, C) counts, expected class a row -> the F1 of each class over test rows drawn anew."""
    counts = np.array(confusion, dtype=np.int64)
    cells = np.argwhere(counts > 0)
    sizes = counts[cells[:, 0], cells[:, 1]]
    drawn = np.random.default_rng(0).multinomial(sizes.sum(), sizes / sizes.sum(), size=SAMPLES).astype(np.float64)
    expected, predicted = (np.eye(len(counts))[cells[:, side]] for side in (0, 1))
    both = drawn @ (expected * predicted)
    either = drawn @ (expected + predicted)
    scores = np.divide(2 * both, either, out=np.zeros_like(both), where=either > 0)
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


class Bucket(NamedTuple):
    """Test rows of about the same length."""

    shortest: int
    longest: int
    """In characters."""
    rows: int
    score: float
    ends: Ends


Metric = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def by_length(
    counts: Sequence[Sequence[float]], characters: Sequence[int], metric_of: Metric, level: float
) -> list[Bucket]:
    """Quarters of the test rows by their length; none where there are too few rows, or all are of one length."""
    if len(characters) < FEWEST:
        return []
    lengths, of = np.array(characters), np.array(counts)
    edges = np.unique(np.quantile(lengths, [0.25, 0.5, 0.75], method="higher"))
    places = np.searchsorted(edges, lengths, side="left")
    found = []
    for place in range(len(edges) + 1):
        there = places == place
        if not there.any():
            continue
        own = of[there]
        scores = resampled(own, metric_of, SAMPLES, np.random.default_rng(0))
        low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
        score = float(metric_of(own.sum(axis=0).astype(np.float64)))
        shortest, longest = int(lengths[there].min()), int(lengths[there].max())
        found.append(Bucket(shortest, longest, int(there.sum()), score, (float(low), float(high))))
    return found if len(found) > 1 else []
