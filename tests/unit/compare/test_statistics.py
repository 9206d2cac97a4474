"""Intervals over rows and seeds: against plain formulas, and how often they are wrong."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from adaptune.compare.statistics import compare_systems
from adaptune.tasks import TASKS

METRIC_OF = TASKS.get("classify")().metric_of
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of bench/ that draws comparisons whose truth is known."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module("false_better")


def _counts(right: Any) -> Any:
    return np.stack([np.array(right, dtype=np.int64), np.ones(len(right), dtype=np.int64)], axis=1)


def test_equal_answers_are_no_difference() -> None:
    answers = _counts([1, 0, 1, 1])
    found = compare_systems(METRIC_OF, {"a": [answers], "b": [answers]}, {"c": answers})
    assert [(pair.difference, pair.low, pair.high, pair.distinct) for pair in found.pairs] == [(0, 0, 0, False)] * 3
    assert found.systems["a"].score == 0.75
    assert [one.best_in for one in found.systems.values()] == [1, 1, 1]


def test_the_standard_error_is_that_of_paired_rows() -> None:
    a, b = [1, 1, 1, 0] * 50, [1, 0, 1, 1] * 50
    [pair] = compare_systems(METRIC_OF, {"a": [_counts(a)]}, {"b": _counts(b)}).pairs
    assert pair.error == pytest.approx(float(np.std(np.array(a) - np.array(b)) / np.sqrt(200)), rel=0.05)


def test_pairs_of_two_baselines_are_nobodys_question() -> None:
    a, b = _counts([1, 0, 1, 1]), _counts([0, 0, 1, 1])
    found = compare_systems(METRIC_OF, {"a": [a]}, {"b": b, "c": b})
    assert [(pair.first, pair.second) for pair in found.pairs] == [("a", "b"), ("a", "c")]


def test_with_one_seed_the_interval_is_that_of_paired_rows() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.random(2000) < 0.8, generator.random(2000) < 0.7
    [pair] = compare_systems(METRIC_OF, {"a": [_counts(a)]}, {"b": _counts(b)}).pairs
    off = a.astype(float) - b.astype(float)
    half = 1.96 * off.std() / np.sqrt(2000)
    assert pair.difference == pytest.approx(off.mean())
    assert (pair.high - pair.low) / 2 == pytest.approx(half, rel=0.06)


def test_seeds_that_differ_add_a_t_distributed_mean() -> None:
    """Runs whose rows are all alike, so that seeds are all the noise there is: 99 in 100 rows give no row noise."""
    runs = [_counts([1] * right + [0] * (20_000 - right)) for right in (16_000, 17_000, 18_000)]
    plain = _counts([1] * 15_000 + [0] * 5_000)
    [pair] = compare_systems(METRIC_OF, {"a": runs}, {"b": plain}, draws=20_000).pairs
    half = t.ppf(0.975, df=2) * 0.05 / np.sqrt(3)
    assert pair.difference == pytest.approx(0.1)
    assert (pair.high - pair.low) / 2 == pytest.approx(half, rel=0.06)


def test_a_run_alone_beside_others_is_taken_to_vary_as_they_do() -> None:
    runs = [_counts([1] * right + [0] * (20_000 - right)) for right in (16_000, 17_000, 18_000)]
    found = compare_systems(METRIC_OF, {"a": runs, "b": runs[:1]}, {}, draws=20_000)
    assert found.systems["b"].spread is None
    of_three, of_one = (found.systems[name].high - found.systems[name].low for name in "ab")
    assert of_one == pytest.approx(np.sqrt(3) * of_three, rel=0.06)


def test_many_systems_widen_every_interval() -> None:
    generator = np.random.default_rng(1)
    systems = {str(number): [_counts(generator.random(1000) < 0.8)] for number in range(6)}
    two = compare_systems(METRIC_OF, {name: systems[name] for name in "01"}, {}).pairs[0]
    all_six = compare_systems(METRIC_OF, systems, {}).pairs[0]
    assert all_six.high - all_six.low > 1.3 * (two.high - two.low)


@pytest.mark.parametrize("place", [1, 6])
def test_few_comparisons_find_a_better_one_where_none_is(simulated: Any, place: int) -> None:
    found = simulated.measured(simulated.SCENARIOS[place], comparisons=100)
    assert found["false_better"]["low"] <= 0.05
    assert found["coverage"]["high"] >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("place", range(7))
def test_that_holds_for_every_scenario_over_2000_comparisons(simulated: Any, place: int) -> None:
    found = simulated.measured(simulated.SCENARIOS[place], comparisons=2000)
    assert found["false_better"]["low"] <= 0.05
    assert found["coverage"]["high"] >= 0.95


def test_the_plain_bootstrap_of_three_seeds_is_wrong_more_often(simulated: Any) -> None:
    found = simulated.measured(simulated.SCENARIOS[0]._replace(of_seeds=0.3, of_others=0.3), comparisons=60)
    assert found["plain_bootstrap_false_better"]["low"] > 0.05
