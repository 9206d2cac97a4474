"""N-way K-shot episodes."""

from __future__ import annotations

import numpy as np
import pytest

from adaptune.core.errors import DataError
from adaptune.evaluate.episodes import Episodes, episodes

LABELS = np.repeat(np.arange(6), 20)
GENERATOR = np.random.default_rng(1)
APART = np.eye(6)[LABELS] + 0.01 * GENERATOR.normal(size=(120, 6))
NOISE = GENERATOR.normal(size=(120, 6))


def test_labels_that_stand_apart_are_told_apart() -> None:
    assert episodes(APART, LABELS, ways=5, shots=1, queries=5, count=50, seed=1).accuracy == 1.0


def test_vectors_that_say_nothing_give_chance() -> None:
    found = episodes(NOISE, LABELS, ways=5, shots=1, queries=10, count=400, seed=1)
    low, high = found.interval()
    assert low < 0.2 < high + 0.02
    assert 0.15 < low < found.accuracy < high < 0.25


def test_more_shots_help() -> None:
    blurred = APART + 0.6 * NOISE
    one, five = (episodes(blurred, LABELS, ways=5, shots=k, queries=5, count=200, seed=1).accuracy for k in (1, 5))
    assert five > one + 0.05


def test_the_seed_decides_the_episodes() -> None:
    first, again, other = (
        episodes(NOISE, LABELS, ways=3, shots=2, queries=4, count=5, seed=seed).accuracies.tolist()
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_one_episode_against_a_plain_computation() -> None:
    """All rows of both labels are drawn, so that only the split depends on chance; with equal rows nothing does."""
    vectors = np.array([[1.0, 0.1]] * 4 + [[0.2, 2.0]] * 4)
    labels = np.array([0] * 4 + [1] * 4)
    assert episodes(vectors, labels, ways=2, shots=2, queries=2, count=3, seed=1).accuracies.tolist() == [1, 1, 1]


def test_the_interval_is_around_the_mean() -> None:
    found = Episodes(np.array([0.2, 0.4, 0.6, 0.8] * 25))
    low, high = found.interval()
    # The normal interval of a mean of 100 numbers with this deviation.
    half = 1.96 * float(found.accuracies.std()) / 10
    assert (low, high) == (pytest.approx(0.5 - half, abs=0.01), pytest.approx(0.5 + half, abs=0.01))


def test_too_many_labels_or_rows_are_refused() -> None:
    with pytest.raises(DataError, match="there are 6 labels, the rarest with 20 rows; lower one of the numbers"):
        episodes(NOISE, LABELS, ways=7, shots=1, queries=1, count=1, seed=1)
    with pytest.raises(DataError, match="an episode of 5 labels with 15 rows each and 6 to be answered"):
        episodes(NOISE, LABELS, ways=5, shots=15, queries=6, count=1, seed=1)
