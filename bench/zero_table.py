"""The table of answers without training, and from few rows, in docs/results.md. Runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zero_jobs import zero_runs

NAMES = (
    "data",
    "model",
    "approach",
    "method",
    "rows learned from",
    "test accuracy, 95 % interval",
    "majority",
    "template",
    "seconds",
    "shrunk to",
)
FROM_ROWS = ("prototype", "contrast")
"""Approaches that learn from the rows that are there without an epoch."""
ABOUT = """## Prompts without training, and few rows

One run each, one seed, one thread. `score` asks the model for the probability of each label's words by the better of
two templates on the validation rows; `in_context` shows it six training rows; both are calibrated by texts without
content, and neither trains anything. `prototype` without a row gives a text the label whose description is nearest.
`cloze` fills a blank, trained or not, on a masked model of 4 million parameters that was made for retrieval. FewCLUE's
sets are the first of its five samples, 16 rows a label.
"""


def zero_rows(runs: Mapping[str, dict[str, Any]]) -> list[list[str]]:
    """A row for every run that is there, in the order in which they are made."""
    found = [(runs[key], job) for job in zero_runs() if (key := f"{job.recipe}/{job.name}") in runs]
    # Without a training row there is no majority to be seen; that of other runs on the set is of the same rows.
    majority = {job.recipe: run["baseline"]["majority"] for run, job in found if "majority" in run["baseline"]}
    return [_row(run, job.model, majority.get(job.recipe)) for run, job in found]


def _row(run: dict[str, Any], model: str, majority: Mapping[str, float] | None) -> list[str]:
    metric, (low, high) = run["metric"], (run["interval"][end] for end in ("low", "high"))
    learned = run["examples"]["train"] if run["training"]["steps"] or run["approach"] in FROM_ROWS else 0
    template = str(run["put"].get("template", "")).replace("\n", " / ").replace("|", "\\|")
    return [
        f"`{run['recipe']}`",
        {"smollm2": "SmolLM2-135M", "minilm": "all-MiniLM-L6-v2", "e5": "multilingual-e5-small"}.get(model, model),
        f"`{run['approach']}`",
        f"`{run['method']}`",
        f"{learned:,}",
        f"**{100 * run['test'][metric]:.1f}** ({100 * low:.1f} to {100 * high:.1f})",
        "-" if majority is None else f"{100 * majority[metric]:.1f}",
        f"`{template}`" if template else "",
        f"{run['seconds']['total']:.0f}",
        ", ".join(override.removeprefix("data.") for override in run["overrides"]) or "nothing",
    ]
