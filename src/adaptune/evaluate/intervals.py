"""How sure a score is: the percentile bootstrap over test rows (Efron, 1979). Knows tasks by their counts alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptune.core.task import Task
from adaptune.core.types import Array

Predicted = Sequence[Any]
"""One run's answers, a row each."""

_CELLS = 4_000_000
"""Weights drawn at once: 32 MB."""


def interval(
    task: Task,
    predicted: Predicted,
    expected: Sequence[Any],
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Lower and upper end for the task's default metric."""
    counts = task.counts(predicted, expected)
    return _ends(resampled(counts, task.metric_of, samples, np.random.default_rng(seed)), level)


def paired_interval(
    task: Task,
    predicted_a: Predicted,
    predicted_b: Predicted,
    expected: Sequence[Any],
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """For the difference a - b of two models on the same rows: one that excludes 0 is a difference at this level."""
    return pooled_interval(task, [predicted_a], [predicted_b], expected, samples=samples, seed=seed, level=level)


def pooled_interval(
    task: Task,
    runs_a: Sequence[Predicted],
    runs_b: Sequence[Predicted],
    expected: Sequence[Any],
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """For the mean difference a - b over pairs of runs (one pair a seed) on the same rows: resamples rows and pairs."""
    if not runs_a or len(runs_a) != len(runs_b):
        raise ValueError(f"runs come in pairs, one of each side a seed; found {len(runs_a)} and {len(runs_b)}")
    sides = [[task.counts(run, expected) for run in runs] for runs in (runs_a, runs_b)]
    return difference_interval(task, sides[0], sides[1], samples=samples, seed=seed, level=level)


def difference_interval(
    task: Task,
    counts_a: Sequence[Array],
    counts_b: Sequence[Array],
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """`pooled_interval` from what `task.counts` gave for each run: (R, K) arrays."""
    counts = np.stack([np.stack(side, axis=1) for side in (counts_a, counts_b)], axis=1)  # (R, 2, S, K)
    generator = np.random.default_rng(seed)

    def differences(totals: NDArray[np.float64]) -> NDArray[np.float64]:
        """(M, 2, S, K) -> (M,)"""
        metrics = task.metric_of(totals)
        by_pair = metrics[:, 0] - metrics[:, 1]
        chosen = generator.integers(0, by_pair.shape[1], by_pair.shape)
        means: NDArray[np.float64] = np.take_along_axis(by_pair, chosen, axis=1).mean(axis=1)
        return means

    return _ends(resampled(counts, differences, samples, generator), level)


def resampled(
    counts: NDArray[np.int64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    samples: int,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """(R, ...) counts of rows -> (samples,) the statistic of R rows drawn with replacement.

    Rows with equal counts are interchangeable: how often each kind is drawn is multinomial over the few kinds.
    """
    rows = len(counts)
    kinds, sizes = np.unique(counts.reshape(rows, -1), axis=0, return_counts=True)
    chunk = max(1, _CELLS // len(kinds))
    drawn = []
    for start in range(0, samples, chunk):
        weights = generator.multinomial(rows, sizes / rows, size=min(chunk, samples - start))
        totals = weights.astype(np.float64) @ kinds.astype(np.float64)
        drawn.append(statistic(totals.reshape(-1, *counts.shape[1:])))
    return np.concatenate(drawn)


def _ends(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
