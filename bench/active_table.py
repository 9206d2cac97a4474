"""The table of active choice in docs/results.md, from the JSON of finished runs. Runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from adaptune.core.lazy import scipy_stats

Run = Mapping[str, Any]
CHOICES = ("random", "uncertainty", "coverage", "both")
LEVEL = 0.95
NAMES = (
    "set",
    "choice",
    "after the first batch",
    "half way",
    "at the end",
    "area",
    "area - random's, 95 % interval",
    "seeds",
)
ABOUT = """## Which rows to label: active choice beside random choice, all-MiniLM-L6-v2 frozen

Test accuracy in percent while rows are labelled batch by batch (`make results-active`), each batch chosen as by
`adaptune suggest --by`, from the answers of the head fitted so far; all choices begin with the same random rows of a
seed. Labels stand in brackets. The area is the mean accuracy from the first to the last number of labels; its
difference to that of random choice is paired by seed, with Student's t.
"""


def section(runs: Sequence[Run]) -> tuple[str, tuple[str, ...], list[list[str]], str]:
    """Text, names of columns, rows, and what follows the table."""
    sets = list(dict.fromkeys(run["set"] for run in runs))
    rows = [_row(name, choice, runs) for name in sets for choice in CHOICES if _areas(runs, name, choice)]
    return ABOUT, NAMES, rows, "\n" + "".join(_about(name, runs) for name in sets)


def difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """The mean of paired differences and the ends of its interval."""
    apart = [one - other for one, other in zip(first, second, strict=True)]
    if len(apart) < 2:
        return apart[0], float("-inf"), float("inf")
    reach = float(scipy_stats.t.ppf((1 + LEVEL) / 2, len(apart) - 1)) * stdev(apart) / len(apart) ** 0.5
    return mean(apart), mean(apart) - reach, mean(apart) + reach


def _areas(runs: Sequence[Run], name: str, choice: str) -> dict[int, float]:
    """By seed."""
    return {run["seed"]: run["area"] for run in runs if (run["set"], run["choice"]) == (name, choice)}


def _row(name: str, choice: str, runs: Sequence[Run]) -> list[str]:
    found = [run for run in runs if (run["set"], run["choice"]) == (name, choice)]
    labels, areas, others = found[0]["labels"], _areas(runs, name, choice), _areas(runs, name, "random")
    at = (1, len(labels) // 2, len(labels) - 1)
    scores = [f"{100 * mean(run['accuracy'][place] for run in found):.1f} ({labels[place]:,})" for place in at]
    both = sorted(areas.keys() & others.keys())
    gain = "-"
    if choice != "random" and both:
        middle, low, high = difference([areas[seed] for seed in both], [others[seed] for seed in both])
        gain = f"{100 * middle:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
    return [name, f"`{choice}`", *scores, f"**{100 * mean(areas.values()):.2f}**", gain, str(len(areas))]


def _about(name: str, runs: Sequence[Run]) -> str:
    run = next(run for run in runs if run["set"] == name)
    labels = ", ".join(f"{number:,}" for number in run["labels"])
    return f"{name}: {labels} labels of a pool of {run['pool']:,} rows; {run['test']:,} test rows.\n"
