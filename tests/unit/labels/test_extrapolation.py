"""A power law through scores: found where it is one, refused where it means nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from adaptune.labels.extrapolation import estimate, over_draws

LABELS = [10, 20, 40, 80, 160, 320]


def _law(labels: int) -> float:
    return float(0.95 - 1.2 * labels**-0.6)


def test_the_law_behind_exact_scores_is_found() -> None:
    found = estimate(LABELS, [_law(n) for n in LABELS], more=100, level=0.95, seed=1)
    assert found.law is not None
    assert (found.law.ceiling, found.law.scale, found.law.rate) == pytest.approx((0.95, 1.2, 0.6), abs=1e-3)
    assert found.gain == pytest.approx(_law(420) - _law(320), abs=1e-5)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((found.gain, found.gain), abs=1e-6)
    assert found.labels == 320


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    truth, held = _law(420) - _law(320), []
    for _ in range(20):
        labels = [n for n in LABELS for _ in range(3)]
        scores = [_law(n) + draw.normal(0, 0.15 / n**0.5) for n in labels]
        found = estimate(labels, scores, more=100, level=0.9, seed=1)
        assert found.interval is not None
        held.append(found.interval.low <= truth <= found.interval.high)
    assert 14 <= sum(held) <= 20


@pytest.mark.parametrize(
    ("labels", "scores", "reason"),
    [
        ([2, 4, 8], [0.5, 0.6, 0.7], "scores for 3 different numbers of labels"),
        ([2, 4, 8, 16], [0.5, 0.7, 0.6, 0.8], "falls from 0.7000 with 4 labels to 0.6000 with 8"),
        ([2, 4, 8, 16], [0.5, 0.5, 0.51, 0.51], "does not rise"),
        ([2, 4, 8, 16, 32, 64], [0.5, 0.5, 0.5, 0.5, 0.5, 1.0], "follow no power law"),
    ],
)
def test_what_means_nothing_is_refused(labels: list[int], scores: list[float], reason: str) -> None:
    found = estimate(labels, scores, more=100, level=0.95, seed=1)
    assert (found.gain, found.law, found.interval) == (None, None, None)
    assert reason in str(found.refused)


def test_the_interval_over_draws_is_students() -> None:
    scores = [0.7, 0.74, 0.78]
    found = over_draws(scores, 0.95)
    assert found is not None
    low, high = t.interval(0.95, 2, loc=np.mean(scores), scale=np.std(scores, ddof=1) / 3**0.5)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert over_draws([0.7], 0.95) is None
