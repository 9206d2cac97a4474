"""Who stays in the race, and what it takes."""

from __future__ import annotations

import pytest

from adaptune.compare.race import Costs, for_so_many, kept, lay_out, ranking, reached, seconds_of

COSTS = Costs(a_step=1.0, an_evaluation=2.0, a_finish=5.0)


def test_eight_candidates_become_four_become_two() -> None:
    plan, notes = lay_out(8, 3, 400, COSTS, 1e9)
    assert (plan.steps, plan.every, plan.rounds, plan.finalists) == (400, 100, (100, 200), 2)
    assert [kept(8, number) for number in range(3)] == [8, 4, 2]
    assert notes == ()


@pytest.mark.parametrize(
    ("candidates", "rounds"), [(1, ()), (2, ()), (3, (200,)), (6, (100, 200)), (9, (50, 100, 200))]
)
def test_every_round_doubles_the_steps(candidates: int, rounds: tuple[int, ...]) -> None:
    assert lay_out(candidates, 3, 400, COSTS, 1e9)[0].rounds == rounds


def test_the_seconds_are_those_of_every_part_added_up() -> None:
    plan, _ = lay_out(8, 3, 400, COSTS, 1e9)
    rounds = 8 * (100 + 2) + 4 * (100 + 2)
    first_seeds = 2 * (200 + 2 * 2 + 5)
    other_seeds = 2 * 2 * (400 + 4 * 2 + 5)
    assert seconds_of(plan, 8, COSTS) == rounds + first_seeds + other_seeds


def test_a_short_budget_shrinks_steps_and_says_so() -> None:
    plan, notes = lay_out(8, 3, 400, COSTS, 1000)
    assert plan.seeds == 3
    assert plan.steps < 400
    assert seconds_of(plan, 8, COSTS) <= 850
    assert notes == (f"{plan.steps} of 400 steps are taken, so that the comparison ends in time",)


def test_where_few_steps_are_too_many_there_are_fewer_seeds() -> None:
    plan, notes = lay_out(2, 3, 400, COSTS, 40)
    assert (plan.seeds, plan.steps) == (1, 4)
    assert len(notes) == 2


def test_candidates_that_are_added_race_over_the_same_evaluations() -> None:
    two, _ = lay_out(2, 3, 400, COSTS, 1e9)
    five = for_so_many(two, 5)
    assert (two.every, two.rounds, two.finalists) == (100, (), 2)
    assert (five.every, five.rounds, five.steps) == (100, (100, 200), 400)
    assert for_so_many(five, 20).rounds == (100, 200)  # a fourth of the steps is as early as there are evaluations
    assert for_so_many(five, 2) == two


def test_what_takes_no_step_is_looked_at_once() -> None:
    plan, notes = lay_out(8, 3, 0, COSTS, 100)
    assert (plan.steps, plan.rounds, plan.finalists, notes) == (0, (0,), 2, ())
    assert lay_out(2, 3, 0, COSTS, 100)[0].rounds == ()


def test_the_best_score_decides_then_the_last_then_the_cheaper() -> None:
    scores = {"same": (0.9, 0.8), "gained": (0.91, 0.85), "nearer": (0.9, 0.88), "cheap": (0.9, 0.8)}
    assert ranking(scores, {"same": 100, "cheap": 5}) == ["gained", "nearer", "cheap", "same"]


def test_scores_are_those_up_to_a_step() -> None:
    curve = [(0, 0.5), (10, 0.7), (20, 0.6), (30, 0.9)]
    assert reached(curve, 20) == (0.7, 0.6)
    assert reached(curve, None) == (0.9, 0.9)
