"""The ratios that a comparison comes to, adaptune beside each other system, as tables. Runs nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import geometric_mean, mean, median
from typing import Any

from peers.catalogue import PEERS
from peers.rows import TASKS
from tables import table

Run = dict[str, Any]
OURS, APART, UPPER, TRAINER = "adaptune", "adaptune_apart", "adaptune_upper", "trainer_peft"
OWN = (OURS, APART, UPPER)
WAYS = {
    (OURS, "documented"): "by its defaults",
    (OURS, "tuned"): "tuned",
    (APART, "documented"): "bi-encoder, by its defaults",
    (APART, "tuned"): "bi-encoder, tuned",
    (UPPER, "documented"): "upper layers",
}
"""Of adaptune, that stand beside the others where those are tuned."""
SHARE = 0.99
"""Of the best other system's final score: what `seconds to it` are counted to."""
PAIRS = (
    ("without dropout, Trainer's padded batches", "padded", "padded", TRAINER),
    ("without dropout, the loop by hand", "tuned", "tuned", "bucketed_loop"),
    ("without dropout, Trainer tuned", "tuned", "tuned", TRAINER),
    ("without dropout, trl tuned", "tuned", "tuned", "trl"),
    ("as documented, Trainer", "documented", "documented", TRAINER),
    ("as documented, padded to 128", "documented", "documented", "guide_batches"),
    ("as documented, the loop by hand", "documented", "documented", "bucketed_loop"),
    ("as documented, trl", "documented", "documented", "trl"),
)
"""What is compared, the setting of adaptune, that of the other system, and that."""


def summary(sessions: Sequence[Run], runs: Sequence[Run], whole: Sequence[Run]) -> str:
    """Everything in a few tables; `whole`: trainings on all rows, `runs` on a sample of them."""
    parts = ["## What it comes to\n"]
    if sessions:
        about = "adaptune's divided by the other system's, medians of the same rounds; more is better."
        parts.append(f"\nReal tokens a second: {about}\n\n{_of_windows(sessions, _median)}")
        about = "adaptune's divided by the other system's, most that each process held; less is better."
        parts.append(f"\nPeak memory: {about}\n\n{_of_windows(sessions, lambda peer: peer['peak_memory_mb'])}")
    parts += [_of_trainings(some, named) for some, named in ((runs, "samples of rows"), (whole, "all rows")) if some]
    if runs or whole:
        parts.append(_after_warm_start([*runs, *whole]))
    return "".join(parts)


def _of_windows(sessions: Sequence[Run], figure: Callable[[Run], float]) -> str:
    """A row a comparison, a column a task."""
    by_place = {(session["task"], session["setting"]): session["peers"] for session in sessions}
    tasks = [task for task in TASKS if any(found == task for found, _ in by_place)]
    rows = []
    for name, ours, theirs, peer in PAIRS:
        cells = []
        for task in tasks:
            own, other = by_place.get((task, ours), {}).get(OURS), by_place.get((task, theirs), {}).get(peer)
            cells.append(f"{figure(own) / figure(other):.2f}" if own and other else "-")
        if set(cells) != {"-"}:
            rows.append([name, *cells])
    return table(["beside", *tasks], rows)


def _median(peer: Run) -> float:
    return median(peer["tokens_per_second"])


def _of_trainings(runs: Sequence[Run], named: str) -> str:
    """Seconds to 99 % of the best other system's final score, and the geometric mean of the ratios.

    Where the Trainer ends below that score, the seconds to its end are what it needs at least.
    """
    rows, bound = [], False
    ratios: dict[str, dict[str, float]] = {}
    seen: set[str] = set()
    for task in TASKS:
        of_task = [run for run in runs if run["task"] == task]
        tuned = [run for run in of_task if run["setting"] == "tuned"]
        others = [run for run in tuned if run["system"] not in OWN]
        trainers = [run for run in others if run["system"] == TRAINER]
        own = [[run for run in of_task if (run["system"], run["setting"]) == way] for way in WAYS]
        if not trainers or not any(own):
            continue
        seen.add(task)
        goal = goal_of(others)
        theirs = _seconds(trainers, goal)
        least = theirs or min(run["curve"][-1]["seconds"] for run in trainers)
        for found, ((system, _), way) in zip(own, WAYS.items(), strict=True):
            ours = _seconds(found, goal)
            bound |= ours is not None and theirs is None
            shown = [
                f"{ours:.0f}" if ours else "not reached",
                f"{theirs:.0f}" if theirs else f"not reached in {least:.0f}",
                "-" if ours is None else f"{'' if theirs else 'at most '}{ours / least:.2f}",
            ]
            if ours is not None:
                of = ratios.setdefault(task, {})
                of[system] = min(of.get(system, math.inf), ours / least)
            if found:
                rows.append([task, way, f"{100 * goal:.2f}", *shown])
    names = ["task", "adaptune", "validation score", "adaptune, seconds", "Trainer + peft tuned, seconds", "ratio"]
    text = (
        f"\nSeconds to {100 * SHARE:.0f} % of the best other system's final score, others tuned, {named}:\n\n"
        f"{table(names, rows)}"
    )
    for which, found in (
        ("the best of each task", [min(of.values()) for of in ratios.values()]),
        ("adaptune in all layers, pairs read together", [of[OURS] for of in ratios.values() if OURS in of]),
    ):
        if found:
            missed = len(found) < len(seen)
            of_tasks = f", over {len(found)} of {len(seen)} tasks (in others the score was not reached)" * missed
            mean_of_them = f"{'at most ' * bound}{geometric_mean(found):.2f}"
            text += f"\nGeometric mean of the ratios, {which}{of_tasks}: {mean_of_them}.\n"
    return text


def _after_warm_start(runs: Sequence[Run]) -> str:
    """What the adapter adds to the warm-started head, on validation rows."""
    rows = []
    for task in [name for name, task in TASKS.items() if task.kind != "write"]:
        for run in runs:
            if run["task"] == task and run["system"] in OWN and run["curve"][0]["step"] == 0:
                first, best = run["curve"][0]["score"], run["valid"]
                rows.append(
                    [
                        task + PEERS[run["system"]].shown.removeprefix(PEERS[OURS].shown),
                        run["setting"],
                        str(run["seed"]),
                        f"{run['rows']['train']:,}",
                        f"{100 * first:.2f} after {run['curve'][0]['seconds']:.0f} s",
                        f"{100 * best:.2f}",
                        f"{100 * (best - first):+.2f}",
                    ]
                )
    if not rows:
        return ""
    names = ["task", "setting", "seed", "rows", "head alone, warm-started", "best", "points"]
    return f"\nWhat the adapter adds to adaptune's warm-started head, on validation rows:\n\n{table(names, rows)}"


def goal_of(runs: Sequence[Run]) -> float:
    """99 % of the best final validation score of other systems, mean of its seeds, or of any where there is none."""
    scores: dict[str, list[float]] = {}
    for run in [run for run in runs if run["system"] not in OWN and run["setting"] == "tuned"] or runs:
        scores.setdefault(run["system"], []).append(run["valid"])
    return SHARE * max(mean(some) for some in scores.values())


def seconds_to(run: Run, goal: float) -> float | None:
    """Until the first evaluation at or above a score; None where there is none."""
    return next((float(point["seconds"]) for point in run["curve"] if point["score"] >= goal), None)


def _seconds(runs: Sequence[Run], goal: float) -> float | None:
    """Mean over the seeds; None where one does not get there."""
    known = [seconds for run in runs if (seconds := seconds_to(run, goal)) is not None]
    return mean(known) if known and len(known) == len(runs) else None
