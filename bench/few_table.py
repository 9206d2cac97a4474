"""The table of few labelled rows in docs/results.md, from the JSON of finished runs. Runs nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import numpy as np

from adaptune.core.types import Array
from few_jobs import OURS, SETFIT, SHOTS

Run = Mapping[str, Any]
SYSTEMS = (*OURS, *SETFIT)
NAMES = ("set", "system", *(f"{shots} shot{'s' * (shots > 1)}" for shots in SHOTS), "mean", "seconds", "draws")
ABOUT = """## Few labelled rows of each label, all-MiniLM-L6-v2

Test accuracy in percent after training on so many rows of each label, the mean over draws, all systems on the same
rows. Seconds are the processor's, of training on one thread, the mean over all runs of a line: others worked on the
same core. `contrast`, `head` (its head alone, on the model as it comes) and `prototype` read the labels' names as one
more row of each and choose nothing on validation rows; `contrast-without-names` has what SetFit has. `lora` chooses its
head's strength and its best epoch on validation rows, which the others go without.
"""


def section(runs: Sequence[Run]) -> tuple[str, tuple[str, ...], list[list[str]]]:
    """Text, names of columns, rows."""
    sets = sorted({run["set"] for run in runs})
    rows = [_row(name, system, found) for name in sets for system in SYSTEMS if (found := _of(runs, name, system))]
    return ABOUT, NAMES, rows


BESIDE = """### Beside SetFit, on the same rows

Differences are in points, on rows of both, with 95 % intervals over test rows (draws of training rows are as they
are); a share is of SetFit's seconds. Where SetFit has run with several learning rates, its own and five times that, it
stands here with the one that answers more test rows: a choice in its favour.
"""
BESIDE_NAMES = (
    "set",
    "shots",
    "draws",
    "ours",
    "ours, %",
    "SetFit, %",
    "rates of SetFit",
    "difference",
    "seconds",
    "SetFit's",
    "share",
)


def beside(runs: Sequence[Run]) -> tuple[str, tuple[str, ...], list[list[str]], str]:
    """Text, names of columns, rows, what follows: each of ours against SetFit where both have been run."""
    rows = []
    for system in (name for name in OURS if name != "lora"):
        found = [
            (name, shots, pairs)
            for name in sorted({run["set"] for run in runs})
            for shots in SHOTS
            if (pairs := _pairs(_of(runs, name, system), _best(runs, name), shots))
        ]
        rows += [_beside(name, str(shots), system, [pairs]) for name, shots, pairs in found]
        if len(found) > 1:
            rows.append(_beside("all", "all", system, [pairs for _, _, pairs in found]))
    return BESIDE, BESIDE_NAMES, rows, f"\nShrunk: {runs[0]['shrunk']}.\n"


EPISODES = """## Few-shot relations in a new domain, all-MiniLM-L6-v2 as it comes

FewRel 2.0's PubMed rows by nearest means, nothing trained (`python bench/episodes.py`): accuracy in percent over 1,000
episodes with five rows of each relation to be answered, 95 % interval over episodes, seed by seed. Chance is 20.
"""


def relations(runs: Sequence[Run]) -> tuple[str, tuple[str, ...], list[list[str]]]:
    """Text, names of columns, rows."""
    rows = []
    for reads, shots in dict.fromkeys((run["reads"], run["shots"]) for run in runs):
        found = [run for run in runs if (run["reads"], run["shots"]) == (reads, shots)]
        each = [f"{100 * run['accuracy']:.1f} ({100 * run['low']:.1f} to {100 * run['high']:.1f})" for run in found]
        rows.append([reads, f"{found[0]['ways']}-way {shots}-shot", ", ".join(each)])
    return EPISODES, ("vectors of", "episodes", "accuracy"), rows


ENTITIES = """## Entities from few rows, all-MiniLM-L6-v2

WNUT17 with so many rows of each type of entity (`python bench/few_entities.py`): entity F1 in percent on {test_rows}
test rows, draw by draw; {valid_rows} validation rows choose thresholds and the best of 15 epochs. `prototype` trains
nothing: a word has the type of the nearest mean, under one covariance or by cosine. With all 3,394 rows LoRA has 42.
"""
ENTITY_NAMES = ("shots", "system", "rows", "F1, draw by draw", "mean", "seconds")


def entities(found: Mapping[str, Any]) -> tuple[str, tuple[str, ...], list[list[str]]]:
    """Text, names of columns, rows: a system a row."""
    runs, rows = found["runs"], []
    for shots, system in sorted({(run["shots"], run["system"]) for run in runs}):
        of = [run for run in runs if (run["shots"], run["system"]) == (shots, system)]
        scores = [100 * run["f1"] for run in of]
        seconds = mean(run["seconds"] for run in of)
        each = ", ".join(f"{score:.1f}" for score in scores)
        rows.append([str(shots), f"`{system}`", str(of[0]["rows"]), each, f"**{mean(scores):.1f}**", f"{seconds:.0f}"])
    return ENTITIES.format(**found["rows"]), ENTITY_NAMES, rows


def _of(runs: Sequence[Run], name: str, system: str) -> list[Run]:
    return [run for run in runs if (run["set"], run["system"]) == (name, system)]


def _best(runs: Sequence[Run], name: str) -> list[Run]:
    """SetFit's runs on a set, of several on the same rows the best by its test rows."""
    found: dict[tuple[int, int], Run] = {}
    for run in (run for rate in SETFIT for run in _of(runs, name, rate)):
        place = (run["shots"], run["draw"])
        found[place] = max(found.get(place, run), run, key=lambda one: one["accuracy"])
    return list(found.values())


def _row(name: str, system: str, runs: Sequence[Run]) -> list[str]:
    means = {shots: _mean(runs, shots) for shots in SHOTS}
    known = [value for value in means.values() if value is not None]
    whole = f"**{100 * mean(known):.1f}**" if len(known) == len(SHOTS) else "-"
    each = ["-" if value is None else f"{100 * value:.1f}" for value in means.values()]
    draws = len({run["draw"] for run in runs})
    return [name, f"`{system}`", *each, whole, f"{mean(run['busy_seconds'] for run in runs):.0f}", str(draws)]


def _mean(runs: Sequence[Run], shots: int) -> float | None:
    found = [run["accuracy"] for run in runs if run["shots"] == shots]
    return mean(found) if found else None


def _pairs(ours: Sequence[Run], theirs: Sequence[Run], shots: int) -> list[tuple[Run, Run]]:
    by_draw = {run["draw"]: run for run in theirs if run["shots"] == shots}
    return [(run, by_draw[run["draw"]]) for run in ours if run["shots"] == shots and run["draw"] in by_draw]


def _beside(name: str, shots: str, system: str, points: Sequence[Sequence[tuple[Run, Run]]]) -> list[str]:
    """One row; every point counts the same, however many draws it has."""
    known = [pair for point in points for pair in point]
    ours, theirs = (mean(mean(pair[side]["accuracy"] for pair in point) for point in points) for side in (0, 1))
    seconds = [mean(mean(pair[side]["busy_seconds"] for pair in point) for point in points) for side in (0, 1)]
    difference, half = 100 * (ours - theirs), 100 * _half(points)
    return [
        name,
        shots,
        str(len({pair[0]["draw"] for pair in known})),
        f"`{system}`",
        f"{100 * ours:.1f}",
        f"{100 * theirs:.1f}",
        ", ".join(sorted({f"{SETFIT[pair[1]['system']]:g}" for pair in known})),
        f"{difference:+.1f} [{difference - half:+.1f}, {difference + half:+.1f}]",
        f"{seconds[0]:.0f}",
        f"{seconds[1]:.0f}",
        f"{seconds[0] / seconds[1]:.2f}",
    ]


def _half(points: Sequence[Sequence[tuple[Run, Run]]]) -> float:
    """Half of the 95 % interval of the mean difference, over test rows, which all points of a set share."""
    by_set: dict[str, list[Array]] = {}
    for point in points:
        by_row = [np.array([*map(int, ours["right"])]) - np.array([*map(int, them["right"])]) for ours, them in point]
        by_set.setdefault(point[0][0]["set"], []).append(np.mean(by_row, axis=0))
    variance = 0.0
    for found in by_set.values():
        of_rows = np.sum(found, axis=0) / len(points)
        variance += float(of_rows.var(ddof=1)) / len(of_rows)
    return 1.96 * math.sqrt(variance)
