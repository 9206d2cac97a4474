"""Who stays in the race, and what it takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adaptune.compare.race import Costs, for_so_many, kept, lay_out, others, ranking, reached, seconds_of

COSTS = Costs(a_step=1.0, an_evaluation=2.0, a_finish=5.0)


def test_eight_candidates_become_four_become_two() -> None:
    plan, notes = lay_out(8, 3, 300, COSTS, 1e9)
    assert (plan.steps, plan.every, plan.rounds, plan.finalists) == (300, 100, (100, 200), 2)
    assert [kept(8, number) for number in range(3)] == [8, 4, 2]
    assert notes == ()


@pytest.mark.parametrize(
    ("candidates", "rounds"), [(1, ()), (2, ()), (3, (200,)), (6, (134, 268)), (9, (100, 200, 300))]
)
def test_rounds_have_as_many_steps_each(candidates: int, rounds: tuple[int, ...]) -> None:
    assert lay_out(candidates, 3, 400, COSTS, 1e9)[0].rounds == rounds


def test_the_seconds_are_those_of_every_part_added_up() -> None:
    costs = replace(COSTS, a_start=1.5, others=7.0)
    plan, _ = lay_out(8, 3, 300, costs, 1e9)
    rounds = 8 * (1.5 + 100 + 2) + 4 * (100 + 2)
    first_seeds = 2 * (100 + 2 + 5)
    other_seeds = 2 * 2 * (1.5 + 300 + 3 * 2 + 5)
    assert seconds_of(plan, 8, costs) == rounds + first_seeds + other_seeds + 3 * 7.0


def test_a_short_budget_shrinks_steps_and_says_so() -> None:
    plan, notes = lay_out(8, 3, 400, COSTS, 1000)
    assert plan.seeds == 3
    assert plan.steps < 400
    assert seconds_of(plan, 8, COSTS) <= 850
    assert notes == (f"{plan.steps} of 400 steps are taken, so that the comparison ends in time",)


def test_trainings_are_an_eighth_before_there_are_more_seeds() -> None:
    plan, notes = lay_out(8, 3, 400, COSTS, 1000)
    assert (plan.seeds, plan.steps >= 50) == (3, True)
    plan, notes = lay_out(8, 3, 400, COSTS, 600)
    assert (plan.seeds, plan.steps >= 50) == (2, True)
    assert notes[1] == "2 of 3 seeds are run, so that the comparison ends in time"


def test_where_few_steps_are_too_many_there_are_fewer_seeds() -> None:
    plan, notes = lay_out(2, 3, 400, COSTS, 40)
    assert (plan.seeds, plan.steps) == (1, 6)
    assert len(notes) == 2


def test_candidates_that_are_added_race_over_the_same_evaluations() -> None:
    two, _ = lay_out(2, 3, 400, COSTS, 1e9)
    five = for_so_many(two, 5)
    assert (two.every, two.rounds, two.finalists) == (134, (), 2)
    assert (five.every, five.rounds, five.steps) == (134, (134, 268), 400)
    assert for_so_many(five, 20).rounds == (134, 268)  # a third of the steps is as early as there are evaluations
    assert for_so_many(five, 2) == two


def test_a_training_of_one_step_has_a_round_too() -> None:
    plan, _ = lay_out(3, 1, 1, COSTS, 1e9)
    assert (plan.steps, plan.rounds, plan.finalists) == (1, (1,), 2)


def test_of_those_without_steps_the_best_one_goes_to_the_end_or_two_where_there_are_no_others() -> None:
    plan, notes = lay_out(0, 3, 0, COSTS, 100)
    assert (plan.steps, plan.rounds, plan.finalists, notes) == (0, (), 0, ())
    assert (others(0), others(1), others(7)) == (2, 1, 1)


def test_the_best_score_decides_then_the_last_then_the_cheaper() -> None:
    scores = {"same": (0.9, 0.8), "gained": (0.91, 0.85), "nearer": (0.9, 0.88), "cheap": (0.9, 0.8)}
    assert ranking(scores, {"same": 100, "cheap": 5}) == ["gained", "nearer", "cheap", "same"]


def test_scores_are_those_up_to_a_step_without_the_start_that_all_share() -> None:
    curve = [(0, 0.8), (10, 0.7), (20, 0.6), (30, 0.9)]
    assert reached(curve, 20) == (0.7, 0.6)
    assert reached(curve, None) == (0.9, 0.9)
    assert reached(curve[:1], None) == (0.8, 0.8)
