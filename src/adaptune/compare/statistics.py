"""What test answers say of several systems at once: differences over rows and seeds that hold together. Trains nothing.

Rows are drawn with replacement, the same for all systems (the paired bootstrap). Of a system's mean over S runs that
gives the noise of rows, and the part w of a run's noise that other runs of it do not share. Seeds are too few to be
drawn likewise: the bootstrap of three values gives intervals that are far too short (docs/results.md). What they add
is s^2 / S, s^2 being the variance between the runs of a system, but not less than w, nor less than the mean of s^2 over
all systems: of three runs that happen to be alike nothing follows. The difference of two systems has the variance

    V = (of rows, without w / S of both) + s_a^2 / S_a + s_b^2 / S_b

and Satterthwaite's (1946) degrees of freedom, as Welch's test has them, more where rows are most of it.

All intervals hold together: the level of each is the one at which the smallest of all p-values, over draws with the
systems' own correlations, is as seldom that small as asked for; its length is that of Student's t there (Hasler and
Hothorn, 2008: multiple contrasts with unequal variances).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from adaptune.core.lazy import scipy_stats
from adaptune.core.types import Array
from adaptune.evaluate.intervals import resampled

DRAWS = 4000
MOST_FREE = 1e6
"""Degrees of freedom of what is known."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Compared:
    """Two systems."""

    first: str
    second: str
    difference: float
    low: float
    high: float
    error: float
    """Standard error of the difference, of rows and seeds."""

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
    names, sizes = list(every), [len(of) for of in every.values()]
    stacked = np.stack([counts for of in every.values() for counts in of], axis=1)  # (R, N, K)
    generator = np.random.default_rng(seed)
    of_run = np.asarray(metric_of(stacked.sum(axis=0).astype(np.float64)), dtype=np.float64)  # (N,)
    of_rows = _parts(resampled(stacked, metric_of, draws, generator) - of_run, sizes)  # (M, S) each
    alone = _parts(of_run[None], sizes)
    spreads = [float(part.std(ddof=1)) if part.size > 1 else None for part in alone]
    noise = _Noise(
        np.stack([part.mean(axis=1) for part in of_rows], axis=1),
        _of_seeds(spreads, of_rows, sizes, trained=len(runs)),
        generator.standard_normal((draws, len(sizes))),
    )
    scores = np.array([part.mean() for part in alone])
    return Findings(
        _systems(names, scores, spreads, noise, level=level),
        _pairs(names, scores, noise, trained=len(runs), level=level),
    )


@dataclass(frozen=True, slots=True)
class _Seeds:
    """What seeds add to the variance of one system's mean score."""

    variance: float
    own: float
    """Between its runs alone: what the degrees of freedom are those of."""
    free: float
    """S - 1."""
    shared: float
    """What draws of rows hold of it already."""


@dataclass(frozen=True, slots=True)
class _Noise:
    """Of all systems."""

    rows: Floats
    """(M, systems) how far draws of rows are from the scores."""
    seeds: Sequence[_Seeds]
    normal: Floats
    """(M, systems)"""

    def half(self, weights: Floats, alpha: float) -> float:
        """Half the interval, at a level, of a sum of scores with these weights."""
        variance, free = self._variance(weights)
        return float(scipy_stats.t.ppf(1 - alpha / 2, free)) * float(np.sqrt(variance))

    def error(self, weights: Floats) -> float:
        """The standard error of such a sum."""
        return float(np.sqrt(self._variance(weights)[0]))

    def draws(self) -> Floats:
        """(M, systems) of rows and seeds together."""
        added = np.array([np.sqrt(max(0.0, one.variance - one.shared)) for one in self.seeds])
        drawn: Floats = self.rows + added * self.normal
        return drawn

    def _variance(self, weights: Floats) -> tuple[float, float]:
        """Of such a sum, and its degrees of freedom."""
        parts = [(weight**2, one) for weight, one in zip(weights.tolist(), self.seeds, strict=True) if weight]
        of_seeds = sum(square * one.variance for square, one in parts)
        of_rows = float((self.rows @ weights).var()) - sum(square * one.shared for square, one in parts)
        variance = max(0.0, of_rows) + of_seeds
        own = sum(square * one.own for square, one in parts)
        if own == 0.0:
            return variance, MOST_FREE
        free = own**2 / sum((square * one.own) ** 2 / one.free for square, one in parts)
        return variance, min(MOST_FREE, free * (variance / of_seeds) ** 2)


def _of_seeds(
    spreads: Sequence[float | None], of_rows: Sequence[Floats], sizes: Sequence[int], *, trained: int
) -> list[_Seeds]:
    """A trained system with one run, beside others with several, is taken to vary as all of these do."""
    known = [spread for spread in spreads[:trained] if spread is not None]
    pooled = float(np.mean(np.square(known))) if known else 0.0
    free = max(sizes[:trained], default=1) - 1
    found = []
    for place, (part, size, spread) in enumerate(zip(of_rows, sizes, spreads, strict=True)):
        if place >= trained or not known:
            found.append(_Seeds(0.0, 0.0, MOST_FREE, 0.0))
        elif spread is None:
            found.append(_Seeds(pooled, pooled, free, 0.0))
        else:
            shared = float(part.var(axis=1, ddof=1).mean())
            variance = max(spread**2, shared, pooled)
            found.append(_Seeds(variance / size, spread**2 / size, size - 1, shared / size))
    return found


def _pairs(names: Sequence[str], scores: Floats, noise: _Noise, *, trained: int, level: float) -> tuple[Compared, ...]:
    places = [(a, b) for a, b in combinations(range(len(names)), 2) if a < trained]
    if not places:
        return ()
    weights = [_weights(len(names), first, second) for first, second in places]
    drawn = noise.draws() @ np.stack(weights, axis=1)  # (M, P)
    spread = drawn.std(axis=0)
    largest = (np.abs(drawn) / np.where(spread > 0, spread, np.inf)).max(axis=1)
    # The larger the deviation, the smaller its p-value.
    alpha = float(2 * scipy_stats.norm.sf(np.quantile(largest, level)))
    found = []
    for (first, second), one in zip(places, weights, strict=True):
        gain, half = float(scores @ one), noise.half(one, min(1 - level, alpha))
        found.append(Compared(names[first], names[second], gain, gain - half, gain + half, noise.error(one)))
    return tuple(found)


def _systems(
    names: Sequence[str], scores: Floats, spreads: Sequence[float | None], noise: _Noise, *, level: float
) -> dict[str, Measured]:
    everyone = scores + noise.draws()
    best = everyone >= everyone.max(axis=1, keepdims=True)
    found = {}
    for place, name in enumerate(names):
        half, score = noise.half(_weights(len(names), place), 1 - level), float(scores[place])
        found[name] = Measured(score, score - half, score + half, float(best[:, place].mean()), spreads[place])
    return found


def _weights(systems: int, first: int, second: int | None = None) -> Floats:
    """1 for the first, -1 for the second."""
    weights = np.zeros(systems)
    weights[first] = 1.0
    if second is not None:
        weights[second] = -1.0
    return weights


def _parts(values: Floats, sizes: Sequence[int]) -> list[Floats]:
    """(M, N) of runs -> for each system (M, S)."""
    edges = np.cumsum([0, *sizes])
    return [values[:, start:stop] for start, stop in pairwise(edges)]
