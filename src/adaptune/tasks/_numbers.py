"""How numbers are scored: correlations and errors. Knows no rows and no model."""

from __future__ import annotations

from collections.abc import Sequence as Several

import numpy as np

from adaptune.core.errors import DataError
from adaptune.core.lazy import scipy_stats
from adaptune.core.types import Array, Example, Labels, Scores

METRICS = ("pearson", "spearman")
ERRORS = ("mae",)
PARTS = 10
"""Strata of numbers: tenths of the rows by size."""


def score_numbers(predicted: Several[float], expected: Several[float]) -> Scores:
    """Pearson's and Spearman's correlation (0 where either side does not vary) and the mean absolute error."""
    given, wanted = np.array(predicted, dtype=np.float64), np.array(expected, dtype=np.float64)
    return Scores(
        {
            "pearson": float(correlation(count_numbers(given, wanted).sum(axis=0))),
            "spearman": float(correlation(count_ranks(predicted, expected).sum(axis=0))),
            "mae": float(np.abs(given - wanted).mean()),
        }
    )


def count_numbers(predicted: Several[float] | Array, expected: Several[float] | Array) -> Array:
    """(R, 6) 1, x, y, xx, yy, xy of each row, both sides counted from their means, so that sums stay exact."""
    x, y = np.array(predicted, dtype=np.float64), np.array(expected, dtype=np.float64)
    x, y = x - x.mean(), y - y.mean()
    return np.stack([np.ones(len(x)), x, y, x * x, y * y, x * y], axis=1)


def count_ranks(predicted: Several[float], expected: Several[float]) -> Array:
    """(R, 6) as `count_numbers`, of the ranks among all rows: their correlation is Spearman's."""
    return count_numbers(scipy_stats.rankdata(predicted), scipy_stats.rankdata(expected))


def correlation(totals: Array) -> Array:
    """(..., 6) sums of `count_numbers` -> (...) Pearson's correlation; 0 where either side does not vary."""
    rows, x, y, xx, yy, xy = np.moveaxis(np.asarray(totals, dtype=np.float64), -1, 0)
    spread = (rows * xx - x * x) * (rows * yy - y * y)
    varies = spread > 1e-18 * rows**4
    found = np.divide(rows * xy - x * y, np.sqrt(np.where(varies, spread, 1.0)), out=np.zeros_like(xy), where=varies)
    return np.clip(found, -1.0, 1.0)


def moments(examples: Several[Example]) -> Labels:
    """The one output of a model of numbers, with the mean and deviation of the training rows. Raises DataError."""
    numbers = np.array([example.expected for example in examples], dtype=np.float64)
    if len(numbers) == 0 or numbers.std() == 0:
        found = f"only the number {numbers[0]:g}" if len(numbers) else "no rows"
        raise DataError(f"the training data have {found}; numbers that are to be learned must differ")
    return Labels(("number",), (len(numbers),), (float(numbers.mean()), float(numbers.std())))


def strata_of(numbers: Several[float]) -> list[str]:
    """The tenth of the rows, by size, that each number is in; equal numbers are in one."""
    ranks = scipy_stats.rankdata(numbers, method="min")
    return [str(int(PARTS * (rank - 1) / len(numbers))) for rank in ranks]
