"""The ratios that a comparison comes to, adaptune beside each other system, as tables. Runs nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import geometric_mean, mean, median
from typing import Any

from peers.rows import TASKS
from tables import table

Run = dict[str, Any]
OURS, APART, TRAINER = "adaptune", "adaptune_apart", "trainer_peft"
OWN = (OURS, APART)
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
    if runs:
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
    rows, ratios, bound = [], {}, False
    for task in TASKS:
        some = [run for run in runs if run["task"] == task and run["setting"] == "tuned"]
        systems, goal = {run["system"] for run in some}, goal_of(some) if some else 0.0
        if TRAINER not in systems:
            continue
        theirs = _seconds(some, TRAINER, goal)
        least = theirs or min(run["curve"][-1]["seconds"] for run in some if run["system"] == TRAINER)
        for system in [name for name in OWN if name in systems]:
            ours = _seconds(some, system, goal)
            bound |= ours is not None and theirs is None
            shown = [
                f"{ours:.0f}" if ours else "not reached",
                f"{theirs:.0f}" if theirs else f"not reached in {least:.0f}",
                "-" if ours is None else f"{'' if theirs else 'at most '}{ours / least:.2f}",
            ]
            if ours is not None:
                ratios[task] = min(ratios.get(task, math.inf), ours / least)
            rows.append([task if system == OURS else f"{task}, bi-encoder", f"{100 * goal:.2f}", *shown])
    names = ["task", "validation score", "adaptune, seconds", "Trainer + peft, seconds", "ratio"]
    text = (
        f"\nSeconds to {100 * SHARE:.0f} % of the best other system's final score, all tuned, {named}:\n\n"
        f"{table(names, rows)}"
    )
    if ratios:
        found = geometric_mean(ratios.values())
        tasks = len({run["task"] for run in runs})
        text += (
            f"\nGeometric mean of the ratios, the best of each task, over {len(ratios)} of {tasks} tasks (in "
            f"others the score was not reached): {'at most ' if bound else ''}{found:.2f}.\n"
        )
    return text


def _after_warm_start(runs: Sequence[Run]) -> str:
    """What the adapter adds to the warm-started head, on validation rows."""
    rows = []
    for task in TASKS:
        for run in runs:
            if run["task"] == task and run["system"] in OWN and run["curve"][0]["step"] == 0:
                first, best = run["curve"][0]["score"], run["valid"]
                rows.append(
                    [
                        task if run["system"] == OURS else f"{task}, bi-encoder",
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
    for run in [run for run in runs if run["system"] not in OWN] or runs:
        scores.setdefault(run["system"], []).append(run["valid"])
    return SHARE * max(mean(some) for some in scores.values())


def seconds_to(run: Run, goal: float) -> float | None:
    """Until the first evaluation at or above a score; None where there is none."""
    return next((float(point["seconds"]) for point in run["curve"] if point["score"] >= goal), None)


def _seconds(runs: Sequence[Run], system: str, goal: float) -> float | None:
    """Mean over the seeds; None where one does not get there."""
    found = [seconds_to(run, goal) for run in runs if run["system"] == system]
    known = [seconds for seconds in found if seconds is not None]
    return mean(known) if known and len(known) == len(found) else None
