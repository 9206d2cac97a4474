"""The section of docs/results.md on wrong labels that are found, from the JSON of finished runs. Runs nothing."""

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
