"""Successive halving: in which rounds candidates are stopped, and what that takes. Knows no model; computes alone.

Jamieson and Talwalkar (2016): every round doubles the steps of those that stay and halves their number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adaptune.compare.values import Plan

FINALISTS = 2
"""As many go to the end, with every seed."""
EVALUATIONS = 4
"""At least, of a whole training."""
SAFETY = 0.85
"""Share of the time left that is planned: steps take longer on a machine that others use."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds, measured on a few steps."""

    a_step: float
    """Mean over candidates."""
    an_evaluation: float
    """Of validation rows."""
    a_finish: float
    """Test rows scored and a bundle saved."""


def rounds(candidates: int) -> int:
    """How often about half of them is stopped, till as many as go to the end are left."""
    return max(0, math.ceil(math.log2(candidates / FINALISTS))) if candidates else 0


def kept(candidates: int, finished_rounds: int) -> int:
    """How many are left after some rounds."""
    return max(min(FINALISTS, candidates), math.ceil(candidates / (1 << finished_rounds)))


def lay_out(candidates: int, seeds: int, of_steps: int, costs: Costs, seconds: float) -> tuple[Plan, tuple[str, ...]]:
    """The race that fits into so many seconds, and in sentences what was shrunk for it: first steps, then seeds."""
    least = min(of_steps, _least(candidates))
    for count in range(seeds, 0, -1):
        fewest = _plan(candidates, count, least, of_steps)
        if count == 1 or seconds_of(fewest, candidates, costs) <= SAFETY * seconds:
            break
    steps, low, high = least, 1, of_steps
    while low <= high:
        middle = (low + high) // 2
        if seconds_of(_plan(candidates, count, middle, of_steps), candidates, costs) <= SAFETY * seconds:
            steps, low = max(steps, middle), middle + 1
        else:
            high = middle - 1
    plan, notes = _plan(candidates, count, steps, of_steps), []
    if steps < of_steps:
        notes.append(f"{steps:,} of {of_steps:,} steps are taken, so that the comparison ends in time")
    if count < seeds:
        notes.append(f"{count} of {seeds} seeds are run, so that the comparison ends in time")
    return plan, tuple(notes)


def seconds_of(plan: Plan, candidates: int, costs: Costs) -> float:
    """What a plan takes, about: rounds, finals with every seed, their test rows."""
    total, done = 0.0, 0
    for number, until in enumerate(plan.rounds):
        total += kept(candidates, number) * _training(until - done, plan, costs)
        done = until
    finals = plan.finalists * (_training(plan.steps - done, plan, costs) + costs.a_finish)
    others = plan.finalists * (plan.seeds - 1) * (_training(plan.steps, plan, costs) + costs.a_finish)
    return total + finals + others


def ranking(scores: Mapping[str, tuple[float, float]], cheap: Mapping[str, int]) -> list[str]:
    """Names, the best first, by (best, last) validation scores, then by how few numbers learn.

    Before the first gain over the warm start, which most share, it is the last score that tells candidates apart.
    """
    return sorted(scores, key=lambda name: (-scores[name][0], -scores[name][1], cheap.get(name, 0)))


def reached(curve: Sequence[tuple[int, float]], until: int | None) -> tuple[float, float]:
    """(step, score) of evaluations -> the best score and the last one up to a step."""
    seen = [score for step, score in curve if until is None or step <= until]
    return max(seen), seen[-1]


def _least(candidates: int) -> int:
    """Steps below which rounds have none."""
    return max(EVALUATIONS, 1 << rounds(candidates))


def _plan(candidates: int, seeds: int, steps: int, of_steps: int) -> Plan:
    every = max(1, steps // _least(candidates))
    return for_so_many(
        Plan(steps=steps, of_steps=of_steps, every=every, rounds=(), finalists=0, seeds=seeds), candidates
    )


def for_so_many(plan: Plan, candidates: int) -> Plan:
    """The same steps and evaluations for another number of candidates: rounds end at evaluations."""
    halvings, parts = rounds(candidates), plan.steps // plan.every
    ends = dict.fromkeys(plan.every * max(1, parts >> (halvings - number)) for number in range(halvings))
    if halvings and not plan.steps:
        return plan.model_copy(update={"rounds": (0,), "finalists": FINALISTS})  # what takes no step is looked at once
    return plan.model_copy(
        update={
            "rounds": tuple(end for end in ends if end < plan.steps),
            "finalists": min(FINALISTS, candidates),
        }
    )


def _training(steps: int, plan: Plan, costs: Costs) -> float:
    return steps * costs.a_step + math.ceil(steps / plan.every) * costs.an_evaluation
