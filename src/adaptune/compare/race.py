"""Successive halving: in which rounds candidates are stopped, and what that takes. Knows no model; computes alone.

Jamieson and Talwalkar (2016), with rounds of as many steps each: a training that begins with a warm-started head falls
behind it at first (WNUT17, lora: below until step 40 of 100), and a first round that ends there tells nothing.
Candidates that take no step, the warm-started head alone among them, are known after one look; the best of them goes to
the end beside the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adaptune.compare.values import Plan

FINALISTS = 2
"""As many of those that take steps go to the end, with every seed."""
EVALUATIONS = 3
"""At least, of a whole training."""
WORTH_A_SEED = 1 / 8
"""Of the recipe's steps: before trainings are shorter than this, fewer seeds are run; shorter ones tell nothing."""
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
    a_start: float = 0.0
    """A warm start that is not shared, the mean over candidates."""
    others: float = 0.0
    """What the best of those without steps still takes with one seed."""


def rounds(candidates: int) -> int:
    """How often about half of them is stopped, till as many as go to the end are left."""
    return max(0, math.ceil(math.log2(candidates / FINALISTS))) if candidates else 0


def others(with_steps: int) -> int:
    """How many of those that take no step go to the end at most."""
    return 1 if with_steps else FINALISTS


def kept(candidates: int, finished_rounds: int) -> int:
    """How many are left after some rounds."""
    return max(min(FINALISTS, candidates), math.ceil(candidates / (1 << finished_rounds)))


def lay_out(candidates: int, seeds: int, of_steps: int, costs: Costs, seconds: float) -> tuple[Plan, tuple[str, ...]]:
    """The race that fits into so many seconds, and in sentences what was shrunk for it.

    First steps, down to the share that is worth a seed, then seeds, then steps again.
    """
    least = min(of_steps, _parts(candidates))
    worth = max(least, math.ceil(WORTH_A_SEED * of_steps))
    for count in range(seeds, 0, -1):
        fewest = _plan(candidates, count, worth, of_steps)
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
    first = candidates * costs.a_start + plan.finalists * (_training(plan.steps - done, plan, costs) + costs.a_finish)
    a_seed = costs.a_start + _training(plan.steps, plan, costs) + costs.a_finish
    return total + first + plan.finalists * (plan.seeds - 1) * a_seed + plan.seeds * costs.others


def ranking(scores: Mapping[str, tuple[float, float]], cheap: Mapping[str, int]) -> list[str]:
    """Names, the best first, by (best, last) validation scores, then by how few numbers learn."""
    return sorted(scores, key=lambda name: (-scores[name][0], -scores[name][1], cheap.get(name, 0)))


def reached(curve: Sequence[tuple[int, float]], until: int | None) -> tuple[float, float]:
    """(step, score) of evaluations -> the best score and the last one up to a step.

    Step 0 is left out where there are others: most candidates share its warm start.
    """
    seen = [score for step, score in curve if step and (until is None or step <= until)] or [curve[0][1]]
    return max(seen), seen[-1]


def _parts(candidates: int) -> int:
    """Evaluations of a whole training: some a round, and as many after the last one."""
    ends = rounds(candidates) + 1
    return ends * math.ceil(EVALUATIONS / ends)


def _plan(candidates: int, seeds: int, steps: int, of_steps: int) -> Plan:
    every = max(1, math.ceil(steps / _parts(candidates)))
    return for_so_many(
        Plan(steps=steps, of_steps=of_steps, every=every, rounds=(), finalists=0, seeds=seeds), candidates
    )


def for_so_many(plan: Plan, candidates: int) -> Plan:
    """The same steps and evaluations for another number of candidates: rounds end at evaluations."""
    halvings, parts = rounds(candidates), math.ceil(plan.steps / plan.every)
    ends = dict.fromkeys(
        plan.every * max(1, parts * number // (halvings + 1)) for number in range(1, halvings + 1) if parts
    )
    return plan.model_copy(
        update={
            "rounds": tuple(end for end in ends if end <= plan.steps),
            "finalists": min(FINALISTS, candidates),
        }
    )


def _training(steps: int, plan: Plan, costs: Costs) -> float:
    return steps * costs.a_step + math.ceil(steps / plan.every) * costs.an_evaluation
