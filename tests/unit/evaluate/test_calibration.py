"""Temperatures, thresholds and their measures, against second plain computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.metrics import brier_score_loss

from adaptune.core.calibration import Classes, Seen
from adaptune.evaluate.calibration import (
    Judged,
    class_means,
    detection,
    expected_calibration_error,
    fit_temperature,
    highest_score,
    judged,
    least_probability,
    log_likelihood,
    reliability,
    worth,
)


def _softmax_rows(spread: float, seed: int = 0) -> Judged:
    """400 items of 5 labels, drawn by the softmax of their logits, which are then made larger than they should be."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(400, 5)) * 2
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.array([generator.choice(5, p=share) for share in shares])
    return Judged(logits * spread, targets, "softmax")


def _sigmoid_rows(spread: float) -> Judged:
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(300, 3)) * 2
    targets = (generator.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float64)
    return Judged(logits * spread, targets, "sigmoid")


def _plain_likelihood(rows: Judged, temperature: float) -> float:
    """Item by item, with torch."""
    logits = torch.from_numpy(rows.logits) / temperature
    if rows.link == "sigmoid":
        return -float(torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(rows.targets)))
    return -float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(rows.targets)))


@pytest.mark.parametrize("rows", [_softmax_rows(3.0), _softmax_rows(0.4), _sigmoid_rows(2.5), _sigmoid_rows(0.5)])
def test_the_temperature_is_the_best_of_a_grid_and_better_than_it(rows: Judged) -> None:
    grid = np.geomspace(0.05, 20, 301)  # steps of 2 %
    likelihoods = [_plain_likelihood(rows, temperature) for temperature in grid]
    found = fit_temperature(rows)
    assert found == pytest.approx(grid[np.argmax(likelihoods)], rel=0.02)
    assert found is not None
    assert _plain_likelihood(rows, found) >= max(likelihoods)


@pytest.mark.parametrize("spread", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_validation_rows_are_never_less_likely_than_before(spread: float, seed: int) -> None:
    rows = _softmax_rows(spread, seed)
    temperature = fit_temperature(rows)
    assert temperature is not None
    assert _plain_likelihood(rows, temperature) >= _plain_likelihood(rows, 1.0)
    assert log_likelihood(rows, temperature) == pytest.approx(_plain_likelihood(rows, temperature))


def test_logits_that_are_too_large_get_the_temperature_that_made_them_so() -> None:
    assert fit_temperature(_softmax_rows(3.0)) == pytest.approx(3.0, rel=0.15)


def test_rows_that_are_all_right_have_no_best_temperature() -> None:
    assert fit_temperature(Judged(np.array([[2.0, 1.0], [0.0, 0.5]]), np.array([0, 1]), "softmax")) is None
    assert fit_temperature(Judged(np.array([[2.0, -1.0]]), np.array([[1.0, 0.0]]), "sigmoid")) is None
    assert fit_temperature(Judged(np.array([[2.0, 1.0], [0.0, 0.5]]), np.array([0, 0]), "softmax")) is not None


def test_batches_with_fewer_options_are_filled_with_impossible_ones() -> None:
    seen = [
        Seen(torch.tensor([[1.0, 2.0]]), torch.tensor([1])),
        Seen(torch.tensor([[0.0, 1.0, 3.0]]), torch.tensor([2])),
    ]
    rows = judged(seen, "softmax")
    assert rows is not None
    assert rows.probabilities(1.0)[0].tolist() == pytest.approx([0.26894, 0.73106, 0.0], abs=1e-5)
    assert np.isfinite(log_likelihood(rows))
    assert judged([], "softmax") is None


def test_the_calibration_error_of_literal_rows() -> None:
    # Bin of 0.9: |1 + 0 - 1.8| = 0.8; bin of 0.6: |1 + 0 - 1.2| = 0.2; over four rows.
    error = expected_calibration_error(np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, False, True, False]))
    assert error == pytest.approx((0.8 + 0.2) / 4)
    assert expected_calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_the_bins_of_reliability_hold_every_item_and_make_up_the_calibration_error(link: str) -> None:
    chance = np.random.default_rng(3)
    logits = 2 * chance.normal(size=(200, 4))
    targets = chance.integers(0, 4, 200) if link == "softmax" else chance.integers(0, 2, (200, 4)).astype(np.float64)
    rows = Judged(logits, targets, "softmax" if link == "softmax" else "sigmoid")
    bins = reliability(rows, 1.5)
    items = sum(one.items for one in bins)
    assert items == (200 if link == "softmax" else 800)
    error = sum(one.items * abs(one.right - one.probability) for one in bins) / items
    assert error == pytest.approx(worth(rows, 1.5)["ece"])
    assert [one.probability for one in bins] == sorted(one.probability for one in bins)


def test_the_brier_score_is_scikit_learns() -> None:
    rows = Judged(np.array([[0.0, 1.0], [2.0, 0.5], [0.3, 0.1]]), np.array([1, 0, 1]), "softmax")
    of_second = rows.probabilities(1.0)[:, 1]
    assert worth(rows, 1.0)["brier"] == pytest.approx(2 * brier_score_loss([1, 0, 1], of_second))
    alone = Judged(rows.logits[:, :1], np.array([[1.0], [0.0], [1.0]]), "sigmoid")
    assert worth(alone, 2.0)["brier"] == pytest.approx(brier_score_loss([1, 0, 1], alone.probabilities(2.0)[:, 0]))


@pytest.mark.parametrize(
    ("probabilities", "right", "accuracy", "threshold"),
    [
        ([0.6, 0.9, 0.7, 0.8], [1, 1, 0, 1], 0.9, 0.75),  # the two surest are right, the third is not
        ([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 1], 0.75, 0.0),  # three of all four are right
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 1], 0.7, 0.0),  # two of three are not enough, three of four are
        ([0.9, 0.8, 0.8, 0.5], [1, 1, 0, 0], 0.9, 0.85),  # equal rows are answered together
        ([0.9, 0.8], [0, 1], 0.9, None),  # the surest row is wrong
    ],
)
def test_the_threshold_answers_as_many_rows_as_the_accuracy_allows(
    probabilities: list[float], right: list[int], accuracy: float, threshold: float | None
) -> None:
    found = least_probability(np.array(probabilities), np.array(right, dtype=bool), accuracy)
    assert found == (None if threshold is None else pytest.approx(threshold))


def test_the_highest_score_keeps_the_share_that_is_asked() -> None:
    scores = np.arange(1.0, 11.0)[::-1]
    assert highest_score(scores, 0.9) == 9.5
    assert highest_score(scores, 0.85) == 9.5  # at least so many
    assert highest_score(scores, 1.0) == 10.0
    assert highest_score(np.array([1.0, 2.0, np.inf, np.inf]), 0.9) == 2.0


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    inside, outside = np.array([0.1, 0.4, 0.35]), np.array([0.8, 0.4])
    pairs = [(1.0 if high > low else 0.5 if high == low else 0.0) for low in inside for high in outside]
    assert detection(inside, outside) == pytest.approx(sum(pairs) / 6)


def test_mahalanobis_distances_are_those_of_a_literal_computation() -> None:
    generator = np.random.default_rng(3)
    labels = np.repeat([0, 2, 5], 20)  # labels 1, 3 and 4 have no rows
    features = generator.normal(size=(60, 4)) @ generator.normal(size=(4, 4)) + labels[:, None]
    means, precision = class_means(features, labels)
    centred = features - np.stack([features[labels == label].mean(axis=0) for label in labels])
    covariance = LedoitWolf(assume_centered=True).fit(centred).covariance_
    classes = Classes(torch.from_numpy(means), torch.from_numpy(precision))
    rows = generator.normal(size=(7, 4)) * 3
    for row, found in zip(rows, classes.distances(torch.from_numpy(rows)).tolist(), strict=True):
        apart = [row - features[labels == label].mean(axis=0) for label in (0, 2, 5)]
        assert found == pytest.approx(min(float(one @ np.linalg.inv(covariance) @ one) for one in apart))
