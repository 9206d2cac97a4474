"""The table of few labelled rows in docs/results.md, from the JSON of finished runs. Runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from few_jobs import OURS, SHOTS

Run = Mapping[str, Any]
SYSTEMS = (*OURS, "setfit")
NAMES = ("set", "system", *(f"{shots} shot{'s' * (shots > 1)}" for shots in SHOTS), "mean", "seconds", "draws")
ABOUT = """## Few labelled rows of each label, all-MiniLM-L6-v2

Test accuracy in percent after training on so many rows of each label, the mean over draws, all systems on the same
rows; seconds are of training on one thread, the mean over all runs of a line. `contrast` and `prototype` read the
labels' names as one more row of each and choose nothing on validation rows; `contrast-without-names` has what SetFit
has. `lora` chooses its head's strength and its best epoch on validation rows, which the others go without.
"""


def section(runs: Sequence[Run]) -> tuple[str, tuple[str, ...], list[list[str]], str]:
    """Text, names of columns, rows, and what follows the table."""
    sets = sorted({run["set"] for run in runs})
    rows = [_row(name, system, found) for name in sets for system in SYSTEMS if (found := _of(runs, name, system))]
    return ABOUT, NAMES, rows, f"\n{_against(runs, sets)}Shrunk: {runs[0]['shrunk']}.\n"


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


def _of(runs: Sequence[Run], name: str, system: str) -> list[Run]:
    return [run for run in runs if (run["set"], run["system"]) == (name, system)]


def _row(name: str, system: str, runs: Sequence[Run]) -> list[str]:
    means = {shots: _mean(runs, shots) for shots in SHOTS}
    known = [value for value in means.values() if value is not None]
    whole = f"**{100 * mean(known):.1f}**" if len(known) == len(SHOTS) else "-"
    each = ["-" if value is None else f"{100 * value:.1f}" for value in means.values()]
    draws = len({run["draw"] for run in runs})
    return [name, f"`{system}`", *each, whole, f"{mean(run['seconds'] for run in runs):.0f}", str(draws)]


def _mean(runs: Sequence[Run], shots: int) -> float | None:
    found = [run["accuracy"] for run in runs if run["shots"] == shots]
    return mean(found) if found else None


def _against(runs: Sequence[Run], sets: Sequence[str]) -> str:
    """Ours beside SetFit over the runs that both have: points and share of its time."""
    said = ""
    for system in ("contrast", "contrast-without-names", "prototype"):
        pairs = [pair for name in sets for pair in _pairs(_of(runs, name, system), _of(runs, name, "setfit"))]
        if pairs:
            gain = mean(ours["accuracy"] - theirs["accuracy"] for ours, theirs in pairs)
            share = sum(ours["seconds"] for ours, _ in pairs) / sum(theirs["seconds"] for _, theirs in pairs)
            said += f"`{system}` - SetFit: {100 * gain:+.1f} points over {len(pairs)} pairs of runs, "
            said += f"in {share:.2f} of its time.\n"
    return said


def _pairs(ours: Sequence[Run], theirs: Sequence[Run]) -> list[tuple[Run, Run]]:
    by_rows = {(run["shots"], run["draw"]): run for run in theirs}
    return [(run, by_rows[key]) for run in ours if (key := (run["shots"], run["draw"])) in by_rows]
