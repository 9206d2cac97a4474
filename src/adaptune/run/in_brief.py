"""A run in a few lines, as run.json holds it: what it is of, and what it came to. Reads nothing and trains nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adaptune.recipe import MultiTask, Recipe


def about(recipe: Recipe | MultiTask) -> dict[str, Any]:
    """What a run is of, known before it begins."""
    if isinstance(recipe, Recipe):
        own: dict[str, Any] = {"task": recipe.task.name, "approach": recipe.approach.name}
    else:
        own = {"tasks": {name: entry.task.name for name, entry in recipe.tasks.items()}, "adapters": recipe.adapters}
    return own | {"method": recipe.method.name, "model": recipe.model.name, "seed": recipe.seed}


def came_to(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a finished run came to; scores of several tasks that share adapters as `NAME.METRIC`."""
    known: dict[str, Any] = {"seconds": report["seconds"]["total"]}
    if report.get("adapters") == "separate":  # each task's own run says the rest
        return known
    return known | {
        "metric": report["metric"],
        "valid": dict(report["valid"]) | dict(_of_tasks(report, "valid")),
        "test": dict(report["test"]) | dict(_of_tasks(report, "test")),
        "interval": report.get("interval"),
        "trained": report["parameters"]["trained"],
        "steps": report["training"]["steps"],
    }


def _of_tasks(report: Mapping[str, Any], part: str) -> Iterator[tuple[str, float]]:
    for name, task in report.get("tasks", {}).items():
        for metric, score in task[part].items():
            yield f"{name}.{metric}", score
