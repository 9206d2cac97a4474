"""The table of tasks in docs/results.md, from the JSON of finished runs. Runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from task_jobs import task_runs

ROOT = Path(__file__).resolve().parent.parent
BEFORE = "unadapted"
NAMES = (
    "task",
    "data",
    "model",
    "test score, 95 % interval",
    "best simple baseline",
    "model before training; gain, 95 % interval",
    "training rows",
    "seconds",
    "shrunk by",
)
ABOUT = """## Every task, LoRA rank 8, one seed

One run each on one thread. For what is written, and for raw text, the model before training stands beside it, and the
interval of the gain is over the same test rows; `pretrain` is judged by the probability of a token, its perplexity
follows. The last column is what the run was shrunk by, against the recipe in `recipes/`; seconds are of training.
"""


def task_rows(runs: Mapping[str, dict[str, Any]]) -> list[list[str]]:
    """A row for every run, in the order in which they are made; runs of other groups come last."""
    order = [run.recipe for run in task_runs()]
    known = sorted(runs.values(), key=lambda run: (*_place(run["recipe"], order), run["task"], run["recipe"]))
    return [_row(run) for run in known]


def below_baseline(runs: Mapping[str, dict[str, Any]]) -> str:
    """A sentence on the runs that a simple baseline beats; nothing where there are none."""
    found = [run["recipe"] for run in runs.values() if (best := _simple(run)) and best[0] > run["test"][run["metric"]]]
    names = " and ".join(f"`{name}`" for name in sorted(found))
    return f"\nShrunk as they are here, a simple baseline beats {names}.\n" if found else ""


def _simple(run: dict[str, Any]) -> tuple[float, str] | None:
    """The best baseline that is no model, with its name."""
    others = [(found[run["metric"]], name) for name, found in run["baseline"].items() if name != BEFORE]
    return max(others, default=None)


def _place(recipe: str, order: list[str]) -> tuple[bool, int]:
    return (False, order.index(recipe)) if recipe in order else (True, 0)


def _row(run: dict[str, Any]) -> list[str]:
    metric, (low, high) = run["metric"], (run["interval"][end] for end in ("low", "high"))
    changed = [override for override in run["overrides"] if not override.startswith(("seed", "method"))]
    simple = _simple(run)
    return [
        run["task"],
        f"`{run['recipe']}`",
        _model(run["recipe"]),
        f"{metric} **{_percent(run['test'][metric])}** ({_percent(low)} to {_percent(high)})",
        "-" if simple is None else f"{_percent(simple[0])} {simple[1]}",
        _before(run),
        f"{run['examples']['train']:,}",
        f"{run['seconds']['train']:.0f}",
        ", ".join(changed) or "nothing",
    ]


def _model(recipe: str) -> str:
    """The base's name, as the recipe has it: runs may have read it from a folder."""
    named = yaml.safe_load((ROOT / "recipes" / f"{recipe}.yaml").read_text(encoding="utf-8"))["model"]
    return str(named if isinstance(named, str) else named["name"]).rpartition("/")[2]


def _before(run: dict[str, Any]) -> str:
    """The same model without its adapter, where it could answer then."""
    before, gain, metric = run["baseline"].get(BEFORE), run.get("gain"), run["metric"]
    if before is None or gain is None:
        return "-"
    text = f"{_percent(before[metric])}; {_signed(run['test'][metric] - before[metric])}"
    text += f" ({_signed(gain['low'])} to {_signed(gain['high'])})"
    if "perplexity" in before:
        text += f"; perplexity {before['perplexity']:.1f}, then {run['test']['perplexity']:.1f}"
    return text


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}"
