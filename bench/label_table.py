"""Sections of docs/results.md on wrong labels and on rows without labels, from finished runs. Runs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from typing import Any

Run = Mapping[str, Any]
MISTRUSTED_NAMES = (
    "set",
    "rows",
    "labels",
    "accuracy",
    "planted",
    "listed",
    "precision",
    "recall",
    "precision of the first",
    "every contradiction: listed",
    "precision",
    "recall",
)
MISTRUSTED = """## Wrong labels that are found

One label in twenty is replaced by another one, drawn at random; `adaptune doctor --labels` then lists labels to look at
again (`make results-mistrusted`; means over seeds {seeds}, frozen features, {folds} folds). `precision`: planted labels
among those listed; the sets have wrong labels of their own, which count as false alarms here, so that it is a lower
bound. `of the first`: among as many of the list's first as were planted. Beside it what one would list without
confident learning: every label that is not the most probable one. `accuracy`: of models that did not see the row, on
true labels.
"""


def mistrusted_rows(runs: Sequence[Run]) -> Iterator[list[str]]:
    """A set a row."""
    for name in dict.fromkeys(run["set"] for run in runs):
        found = [run for run in runs if run["set"] == name]

        def share(top: str, bottom: str, found: Sequence[Run] = found) -> str:
            return f"{100 * mean(run[top] / run[bottom] for run in found):.0f} %"

        yield [
            f"{name}, {found[0]['model']}",
            f"{found[0]['rows']:,}",
            str(found[0]["labels"]),
            f"{100 * mean(run['accuracy'] for run in found):.1f}",
            str(found[0]["planted"]),
            f"{mean(run['listed'] for run in found):.0f}",
            share("hits", "listed"),
            share("hits", "planted"),
            share("hits_of_first", "planted"),
            f"{mean(run['contradicted'] for run in found):.0f}",
            share("contradicted_hits", "contradicted"),
            share("contradicted_hits", "planted"),
        ]


def about_mistrusted(runs: Sequence[Run]) -> str:
    """The text above that table."""
    seeds = sorted({run["seed"] for run in runs})
    return MISTRUSTED.format(seeds=", ".join(map(str, seeds)), folds=runs[0]["folds"])


UNLABELLED_NAMES = ("what learns", "of the pool", "test accuracy, draw by draw", "mean", "over the labelled rows alone")
UNLABELLED = """## What unlabelled rows add: TREC, {shots} shots of each label and {pool:,} rows without

`{method}` on all-MiniLM-L6-v2 (`make results-unlabelled`), {valid} validation rows with true labels, {test} test rows,
draws {draws}. `selftrain` learns from its own sure answers for at most {rounds} rounds and keeps the round of the best
validation score; `distil` from what a teacher says ({teacher}; test accuracy {teacher_accuracy}).
`of the pool`: rows that were learned from, and how many of these labels are right.
"""


def unlabelled_rows(runs: Sequence[Run]) -> Iterator[list[str]]:
    """A way a row; runs of one draw stand together."""
    alone = {run["draw"]: run["accuracy"] for run in runs if run["way"] == "labelled rows alone"}
    for way in dict.fromkeys(run["way"] for run in runs):
        found = sorted((run for run in runs if run["way"] == way), key=lambda run: run["draw"])
        gains = [100 * (run["accuracy"] - alone[run["draw"]]) for run in found if run["draw"] in alone]
        gain = f"{mean(gains):+.1f} ({min(gains):+.1f} to {max(gains):+.1f})" if way != "labelled rows alone" else ""
        yield [
            way,
            "; ".join(_of_pool(run) for run in found),
            ", ".join(f"{100 * run['accuracy']:.1f}" for run in found),
            f"**{100 * mean(run['accuracy'] for run in found):.1f}**",
            gain,
        ]


def about_unlabelled(runs: Sequence[Run]) -> str:
    """The text above that table."""
    first = runs[0]
    names = ("shots", "pool", "method", "valid", "test", "rounds", "teacher")
    draws = ", ".join(map(str, sorted({run["draw"] for run in runs})))
    accuracy = f"{100 * first['teacher_accuracy']:.1f}"
    return UNLABELLED.format(**{name: first[name] for name in names}, draws=draws, teacher_accuracy=accuracy)


def _of_pool(run: Run) -> str:
    if not run.get("learned"):
        return "none"
    best = f", round {run['best']}" if "best" in run else ""
    return f"{run['learned']:,}, {100 * run['right']:.0f} % right{best}"
