"""The sections of docs/results.md on comparisons: how often they are wrong, and what they said beside full runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

Run = dict[str, Any]

FALSE = """## How often a comparison is wrong

Comparisons drawn from a known truth, {count:,} of each kind, nothing trained (`make results-statistics`). `false
better`: one of the systems, all as good, is called better than another or than the baseline; `plain bootstrap`: the
same of the first two by the percentile bootstrap over rows and seeds; `covered`: all intervals of a comparison hold the
true differences. All three at 95 %, with the 95 % interval of the share. `found`: how often the difference that there
is is called one.
"""
STATISTICS_NAMES = (
    "task",
    "test rows",
    "systems",
    "seeds",
    "seeds differ by, points",
    "false better",
    "plain bootstrap",
    "covered",
    "a difference of, points",
    "found",
)


def statistics_rows(found: Mapping[str, Any]) -> Iterator[list[str]]:
    """A scenario a row."""
    for one in found["scenarios"]:
        yield [
            one["task"],
            str(one["rows"]),
            str(one["systems"]),
            str(one["seeds"]),
            _spreads(one),
            _share(one["false_better"]),
            _share(one["plain_bootstrap_false_better"]),
            _share(one["coverage"]),
            f"{100 * (one['score_of_the_better'] - one['score']):.1f}",
            f"{100 * one['found']['rate']:.0f} %",
        ]


def about_statistics(found: Mapping[str, Any]) -> str:
    """The text above that table."""
    return FALSE.format(count=found["scenarios"][0]["comparisons"])


RACES = """## Which method: a comparison beside full runs

Eight candidates with three seeds each by `adaptune compare` (`make results-compare`): what it said to use, its
seconds, and those of five plain epochs of transformers' Trainer with LoRA on the same rows. Beside it the truth: every
candidate run fully, as many seeds as there are; on WNUT17 for two epochs, as in its table above. `lost` is what the
candidate to use lacks to the best of these, and beside the best stands the interval of its first seed's test rows.
"""
RACE_NAMES = (
    "recipe",
    "use",
    "seconds",
    "plain LoRA run, seconds",
    "times that",
    "best of the full runs",
    "of these the one to use",
    "lost, points",
    "full runs",
)


def race_rows(folders: Mapping[str, Mapping[str, Run]]) -> Iterator[list[str]]:
    """A data set a row; `folders`: by recipe, the runs by `RECIPE/NAME`."""
    for recipe, runs in folders.items():
        found = runs.get(f"{recipe}/comparison")
        if found is None or found["verdict"] is None:
            continue
        plain = runs.get(f"{recipe}/plain")
        truth = _truth(recipe, runs, found["metric"])
        chosen = found["verdict"]["alike"][0]
        best = max(truth, key=lambda name: truth[name], default=None)
        lost = 100 * (truth[best] - truth[chosen]) if best is not None and chosen in truth else None
        yield [
            recipe,
            found["verdict"]["use"] + ("" if found["verdict"]["worth_it"] else f" (of those trained: {chosen})"),
            f"{found['seconds']:.0f}",
            "-" if plain is None else f"{plain['seconds']:.0f}",
            "-" if plain is None else f"{found['seconds'] / plain['seconds']:.1f}",
            "-" if best is None else f"{best}, {100 * truth[best]:.1f}{_interval(recipe, runs, best)}",
            f"{100 * truth[chosen]:.1f}" if chosen in truth else "-",
            "-" if lost is None else f"{lost:.1f}",
            str(sum("/truth-" in name for name in runs)),
        ]


def verdicts(folders: Mapping[str, Mapping[str, Run]]) -> str:
    """What each comparison said, in its own words."""
    lines = []
    for recipe, runs in folders.items():
        found = runs.get(f"{recipe}/comparison")
        if found is not None and found["verdict"] is not None:
            said = " ".join([*found["verdict"]["english"], *(f"{note}." for note in found["notes"])])
            lines.append(f"\n`{recipe}`: {said}\n")
    return "".join(lines)


def _interval(recipe: str, runs: Mapping[str, Run], method: str) -> str:
    """Of the first seed's test rows, where it was kept."""
    found = runs.get(f"{recipe}/truth-{method}-seed1", {}).get("interval")
    return f" ({100 * found['low']:.1f} to {100 * found['high']:.1f})" if found else ""


def _truth(recipe: str, runs: Mapping[str, Run], metric: str) -> dict[str, float]:
    """The mean test score of each candidate over the seeds that were run."""
    scores: dict[str, list[float]] = {}
    for name, run in runs.items():
        if name.startswith(f"{recipe}/truth-"):
            scores.setdefault(run["method"], []).append(run["test"][metric])
    return {name: fmean(found) for name, found in scores.items()}


def _spreads(one: Mapping[str, Any]) -> str:
    """Of the first system, and of the others where these differ otherwise."""
    first, others = (f"{100 * one[name]:.1f}" for name in ("spread_of_seeds", "spread_of_others"))
    return first if first == others else f"{first}, of others {others}"


def _share(rate: Mapping[str, float]) -> str:
    low, high = 100 * rate["low"], 100 * rate["high"]
    return f"{100 * rate['rate']:.1f} % ({low:.1f} to {high:.1f})"
