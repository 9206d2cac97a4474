"""The runs below a folder, each in a few values from its small files. Reads no weights, no logs and no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml

from adaptune.core.run_folder import RunDir

State = Literal["finished", "running", "interrupted"]
NOT_ENTERED = frozenset({"bundle", "checkpoint"})
"""Folders of a run in which there are no runs."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Summary:
    """One run."""

    path: Path
    state: State
    begun: datetime
    task: str = ""
    """Names with commas between them where there are several."""
    method: str = ""
    model: str = ""
    metric: str | None = None
    valid: Mapping[str, float] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)
    interval: Mapping[str, Any] | None = None
    """Of the metric on test rows: metric, level, low, high."""
    seconds: float | None = None
    trained: int | None = None
    """Numbers that learned."""
    resumable: bool = False
    """Whether it can go on from where it stopped."""
    pid: int | None = None
    """Of the process that is at work in it."""


def runs_below(folder: Path) -> Iterator[Summary]:
    """Every run at or below a folder. Links are not followed."""
    try:
        with os.scandir(folder) as entries:
            names = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    except OSError:  # of another user, or removed meanwhile
        return
    if is_run(folder):
        yield summary_of(folder)
    for name in sorted(names):
        if names[name] and name not in NOT_ENTERED and not name.startswith("."):
            yield from runs_below(folder / name)


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    run = RunDir(folder)
    return run.environment.is_file() and run.recipe.is_file()


def summary_of(path: Path) -> Summary:
    """Of one run."""
    run = RunDir(path)
    report = read_json(run.report)
    recipe = {} if "method" in report and "tasks" not in report else recipe_of(path)
    working = run.at_work
    state = run.state
    return Summary(
        path,
        "finished" if state == "finished" else "running" if working else "interrupted",
        datetime.fromtimestamp(run.environment.stat().st_mtime, UTC),
        task=report.get("task") or _tasks(recipe),
        method=report.get("method") or named(recipe.get("method")),
        model=report.get("model") or named(recipe.get("model")),
        metric=report.get("metric"),
        valid=report.get("valid") or {},
        test=report.get("test") or {},
        interval=report.get("interval"),
        seconds=report.get("seconds", {}).get("total"),
        trained=report.get("parameters", {}).get("trained"),
        resumable=state == "unfinished" and working is None,
        pid=working.pid if working else None,
    )


def recipe_of(path: Path) -> dict[str, Any]:
    """The sections of a run's recipe as they stand in its file; empty where it cannot be read."""
    try:
        found = yaml.load(RunDir(path).recipe.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none that can be read."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def named(part: Any) -> str:
    """The name of a part of a recipe, written by itself or with its settings."""
    return str(part.get("name", "")) if isinstance(part, dict) else str(part or "")


def _tasks(recipe: Mapping[str, Any]) -> str:
    several = recipe.get("tasks")
    if isinstance(several, dict):
        return ", ".join(named(one.get("task")) for one in several.values() if isinstance(one, dict))
    return named(recipe.get("task"))
