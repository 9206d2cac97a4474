"""Intervals of classes and lengths, against plain counting."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from adaptune.report.measures import SAMPLES, by_length, f1_intervals, wilson


def test_a_share_has_the_interval_of_wilson() -> None:
    assert wilson(0.9, 50, 0.95) == pytest.approx((0.7864, 0.9565), abs=1e-4)  # statsmodels: proportion_confint
    assert wilson(1.0, 10, 0.95) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_f1_has_the_interval_of_rows_drawn_anew() -> None:
    confusion = [[40, 10, 0], [5, 20, 5], [0, 2, 18]]
    rows = [(row, column) for row in range(3) for column in range(3) for _ in range(confusion[row][column])]
    chance, scores = np.random.default_rng(1), []
    for _ in range(2000):
        drawn = [rows[place] for place in chance.integers(0, len(rows), len(rows))]
        expected, predicted = zip(*drawn, strict=True)
        scores.append(f1_score(expected, predicted, average=None, labels=[0, 1, 2]))
    low, high = np.quantile(scores, [0.025, 0.975], axis=0)
    found = np.array(f1_intervals(confusion, 0.95))
    assert SAMPLES >= 500
    assert found[:, 0] == pytest.approx(low, abs=0.03)
    assert found[:, 1] == pytest.approx(high, abs=0.03)


def test_quarters_by_length_hold_every_row_once() -> None:
    lengths = [*range(1, 41), *[100] * 40]
    counts = [[int(length < 100), 1] for length in lengths]
    found = by_length(counts, lengths, lambda totals: totals[..., 0] / totals[..., 1], 0.95)
    assert [(one.shortest, one.longest, one.rows, one.score) for one in found] == [
        (1, 21, 21, 1.0),
        (22, 100, 59, pytest.approx(19 / 59)),
    ]
    assert found[1].ends[0] < 19 / 59 < found[1].ends[1]


def test_few_rows_and_rows_of_one_length_have_no_quarters() -> None:
    counts = [[1, 1]] * 50
    assert by_length(counts[:39], list(range(39)), lambda totals: totals[..., 0] / totals[..., 1], 0.95) == []
    assert by_length(counts, [7] * 50, lambda totals: totals[..., 0] / totals[..., 1], 0.95) == []
