"""Bootstrap intervals: their truth by simulation, pairs, pooled runs, memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from adaptune.evaluate.intervals import interval, paired_interval, pooled_interval
from adaptune.tasks.classify import Classify
from adaptune.tasks.tag import Tag

TASK = Classify()


def answers(right: int, wrong: int) -> list[str]:
    return ["yes"] * right + ["no"] * wrong


def test_the_interval_is_close_to_the_normal_one() -> None:
    low, high = interval(TASK, answers(800, 200), ["yes"] * 1000, samples=4000)
    half = 1.96 * (0.8 * 0.2 / 1000) ** 0.5
    assert (low, high) == pytest.approx((0.8 - half, 0.8 + half), abs=0.002)


def test_the_interval_holds_the_true_accuracy_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    held = 0
    for trial in range(400):
        right = int(generator.binomial(200, 0.7))
        low, high = interval(TASK, answers(right, 200 - right), ["yes"] * 200, samples=400, seed=trial)
        held += low <= 0.7 <= high
    assert 0.92 <= held / 400 <= 0.98


def test_the_interval_of_entity_f1_equals_that_of_a_plain_loop() -> None:
    generator = np.random.default_rng(2)
    choices = np.array([("B-x", "I-x", "O"), ("B-x", "O", "B-y"), ("O", "O", "O"), ("O", "B-y", "I-y")])
    expected = [tuple(row) for row in choices[generator.integers(4, size=150)]]
    predicted = [tuple(row) for row in choices[generator.integers(4, size=150)]]
    drawn = [generator.integers(150, size=150) for _ in range(2000)]
    task = Tag()
    totals = [task.counts(predicted, expected)[rows].sum(axis=0) for rows in drawn]
    plain = np.quantile([2 * right / (given + wanted) for right, given, wanted in totals], [0.025, 0.975])
    assert interval(task, predicted, expected, samples=2000) == pytest.approx(tuple(plain), abs=0.01)


def test_a_wider_level_gives_a_wider_interval() -> None:
    narrow = interval(TASK, answers(80, 20), ["yes"] * 100, level=0.5)
    wide = interval(TASK, answers(80, 20), ["yes"] * 100, level=0.99)
    assert wide[0] < narrow[0] < 0.8 < narrow[1] < wide[1]


def test_the_seed_decides_the_interval() -> None:
    given, expected = answers(777, 223), ["yes"] * 1000
    assert interval(TASK, given, expected, seed=3) == interval(TASK, given, expected, seed=3)
    assert interval(TASK, given, expected, seed=3) != interval(TASK, given, expected, seed=4)


def test_perfect_answers_leave_no_doubt() -> None:
    assert interval(TASK, answers(50, 0), ["yes"] * 50) == (1.0, 1.0)


def test_two_equal_models_differ_by_nothing() -> None:
    assert paired_interval(TASK, answers(70, 30), answers(70, 30), ["yes"] * 100) == (0.0, 0.0)


def test_a_pair_is_sharper_than_two_intervals_where_errors_agree() -> None:
    better, worse, expected = answers(830, 170), answers(800, 200), ["yes"] * 1000
    low, high = paired_interval(TASK, better, worse, expected)
    assert 0.015 < low < 0.03 < high < 0.045
    assert interval(TASK, better, expected)[0] < interval(TASK, worse, expected)[1]


def test_the_difference_changes_its_sign_with_the_sides() -> None:
    expected = ["yes"] * 200
    low, high = paired_interval(TASK, answers(150, 50), answers(120, 80), expected, samples=4000)
    back = paired_interval(TASK, answers(120, 80), answers(150, 50), expected, samples=4000)
    assert back == pytest.approx((-high, -low), abs=0.01)


def test_the_paired_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    expected = ["yes"] * 200
    held = 0
    for trial in range(300):
        hard = generator.random(200)
        a = np.where(hard + generator.normal(0, 0.2, 200) < 0.8, "yes", "no").tolist()
        b = np.where(hard + generator.normal(0, 0.2, 200) < 0.8, "yes", "no").tolist()
        low, high = paired_interval(TASK, a, b, expected, samples=300, seed=trial)
        held += low <= 0 <= high
    assert 0.91 <= held / 300 <= 0.99


def test_one_run_a_side_pools_to_the_paired_interval() -> None:
    a, b, expected = answers(75, 25), answers(60, 40), ["yes"] * 100
    assert pooled_interval(TASK, [a], [b], expected) == paired_interval(TASK, a, b, expected)


def test_runs_that_disagree_widen_the_pooled_interval() -> None:
    expected = ["yes"] * 1000
    same = pooled_interval(TASK, [answers(800, 200)] * 3, [answers(780, 220)] * 3, expected)
    runs = [answers(860, 140), answers(800, 200), answers(740, 260)]
    apart = pooled_interval(TASK, runs, [answers(780, 220)] * 3, expected)
    assert same[0] > 0
    assert apart[0] < -0.01 < 0.05 < apart[1]


def test_runs_without_a_partner_are_refused() -> None:
    with pytest.raises(ValueError, match="found 2 and 1"):
        pooled_interval(TASK, [answers(1, 1)] * 2, [answers(1, 1)], ["yes"] * 2)


def test_a_hundred_thousand_rows_need_little_memory() -> None:
    generator = np.random.default_rng(0)
    words = generator.integers(1, 400, size=(100_000, 2))

    class Wide(Tag):
        def counts(self, predicted: object, expected: object) -> object:
            return np.stack([words.min(axis=1), words[:, 0], words[:, 1]], axis=1)

    tracemalloc.start()
    low, high = interval(Wide(), [()] * 100_000, [()] * 100_000, samples=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.6 < low < high < 0.7
    assert peak < 150e6
