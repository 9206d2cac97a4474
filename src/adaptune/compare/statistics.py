"""What test answers say of several systems at once: differences over rows and seeds that hold together. Trains nothing.

Rows are drawn with replacement, the same for all systems (the paired bootstrap), of which the mean over a system's
seeds is looked at. Three seeds are too few to be drawn likewise: the bootstrap of so few values gives intervals that
are far too short (docs/results.md). Added to each draw of rows is instead, for every system by itself, s / sqrt(S)
times a draw from Student's t with S - 1 degrees of freedom: the fiducial solution of Behrens and Fisher. s holds a
share of the rows' noise, too, so that intervals err on the long side.

All intervals hold together at the level: each is longer than by itself by one factor, which the largest of all
deviations in a draw, in units of the intervals by themselves, asks for (the max-statistic; Romano and Wolf, 2005).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from adaptune.core.types import Array
from adaptune.evaluate.intervals import resampled

DRAWS = 4000
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Compared:
    """Two systems."""

    first: str
    second: str
    difference: float
    low: float
    high: float

    @property
    def distinct(self) -> bool:
        """Whether one is better, beyond chance."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Measured:
    """One system by itself."""

    score: float
    """Mean over seeds."""
    low: float
    high: float
    best_in: float
    """Share of the draws in which no system has a higher score."""
    spread: float | None
    """Standard deviation over seeds; None with one."""


@dataclass(frozen=True, slots=True)
class Findings:
    """All systems of a comparison."""

    systems: Mapping[str, Measured]
    pairs: tuple[Compared, ...]


def compare_systems(
    metric_of: Callable[[Array], Array],
    runs: Mapping[str, Sequence[Array]],
    baselines: Mapping[str, Array],
    *,
    seed: int = 0,
    level: float = 0.95,
    draws: int = DRAWS,
) -> Findings:
    """Every system, and every pair of which one at least was trained.

    `runs`: of each trained system, the counts (R, K) of one run a seed. `baselines`: the counts of others, which have
    no seed. `metric_of`: (..., K) sums of counts -> (...).
    """
    every = {**runs, **{name: [counts] for name, counts in baselines.items()}}
    names = list(every)
    sizes = [len(of) for of in every.values()]
    stacked = np.stack([counts for of in every.values() for counts in of], axis=1)  # (R, N, K)
    generator = np.random.default_rng(seed)
    of_run = np.asarray(metric_of(stacked.sum(axis=0).astype(np.float64)), dtype=np.float64)  # (N,)
    of_rows = resampled(stacked, metric_of, draws, generator) - of_run  # (M, N)
    scores = _means(of_run[None], sizes)[0]
    spreads = _spreads(of_run, sizes)
    noise = _means(of_rows, sizes) + _of_seeds(spreads, sizes, draws, generator, trained=len(runs))
    places = [(a, b) for a, b in combinations(range(len(names)), 2) if a < len(runs)]
    return Findings(
        {name: _measured(place, scores, noise, spreads, level) for place, name in enumerate(names)},
        _pairs(names, places, scores, noise, level),
    )


def _pairs(
    names: Sequence[str], places: Sequence[tuple[int, int]], scores: Floats, noise: Floats, level: float
) -> tuple[Compared, ...]:
    if not places:
        return ()
    first, second = (np.array(side) for side in zip(*places, strict=True))
    off = np.abs(noise[:, first] - noise[:, second])  # (M, P)
    alone = np.quantile(off, level, axis=0)
    widest = (off / np.where(alone > 0, alone, np.inf)).max(axis=1)
    factor = max(1.0, float(np.quantile(widest, level)))
    found = zip(places, scores[first] - scores[second], alone * factor, strict=True)
    return tuple(
        Compared(names[a], names[b], float(gain), float(gain - half), float(gain + half))
        for (a, b), gain, half in found
    )


def _measured(place: int, scores: Floats, noise: Floats, spreads: Sequence[float | None], level: float) -> Measured:
    low, high = np.quantile(scores[place] + noise[:, place], [(1 - level) / 2, (1 + level) / 2])
    everyone = scores + noise
    best_in = float((everyone[:, place] >= everyone.max(axis=1)).mean())
    return Measured(float(scores[place]), float(low), float(high), best_in, spreads[place])


def _parts(values: Floats, sizes: Sequence[int]) -> list[Floats]:
    """(M, N) of runs -> for each system (M, S)."""
    edges = np.cumsum([0, *sizes])
    return [values[:, start:stop] for start, stop in pairwise(edges)]


def _means(values: Floats, sizes: Sequence[int]) -> Floats:
    """(M, N) of runs -> (M, systems) means over the seeds of each."""
    return np.stack([part.mean(axis=1) for part in _parts(values, sizes)], axis=1)


def _spreads(of_run: Floats, sizes: Sequence[int]) -> list[float | None]:
    """Standard deviation over the seeds of each system; None where there is one run alone."""
    return [float(part.std(ddof=1)) if part.size > 1 else None for part in _parts(of_run[None], sizes)]


def _of_seeds(
    spreads: Sequence[float | None], sizes: Sequence[int], draws: int, generator: np.random.Generator, *, trained: int
) -> Floats:
    """(M, systems) how far the mean over a trained system's seeds may be from that over all seeds there could be.

    One with a single run, beside others with several, is taken to vary as the most variable of these.
    """
    known = [(spread, size) for spread, size in zip(spreads, sizes, strict=True) if spread is not None]
    largest, of = max(known, default=(0.0, 2))
    parts = [np.zeros(draws) for _ in spreads]
    for place in range(trained):
        spread, size = spreads[place], sizes[place]
        scale, free = (largest, of - 1) if spread is None else (spread / np.sqrt(size), size - 1)
        parts[place] = scale * generator.standard_t(free, draws)
    return np.stack(parts, axis=1)
