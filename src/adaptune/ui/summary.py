"""A run as the page lists it: what its folder says in brief, and what can be done with it. Reads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from adaptune.core.run_folder import RunDir
from adaptune.history.found import Found, find, found_at

State = Literal["finished", "running", "interrupted", "failed", "stopped"]
"""`stopped`: by a comparison that is over, in which others were better."""
OVER: Mapping[str, State] = {"finished": "finished", "failed": "failed", "stopped": "stopped"}


@dataclass(frozen=True, slots=True)
class Summary:
    """One run."""

    path: Path
    state: State
    begun: datetime
    task: str
    """Names with commas between them where there are several."""
    method: str
    model: str
    metric: str | None
    valid: Mapping[str, float]
    test: Mapping[str, float]
    interval: Mapping[str, Any] | None
    """Of the metric on test rows: metric, level, low, high."""
    seconds: float | None
    trained: int | None
    """Numbers that learned."""
    resumable: bool
    """Whether it can go on from where it stopped."""
    pid: int | None
    """Of the process that is at work in it."""


def runs_below(folder: Path) -> Iterator[Summary]:
    """Every run at or below a folder. Links are not followed."""
    return (_summary(found) for found in find(folder) if found.kind in ("run", "tasks"))


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    run = RunDir(folder)
    return run.environment.is_file() and run.recipe.is_file()


def summary_of(path: Path) -> Summary:
    """Of one run."""
    return _summary(found_at(path))


def _summary(found: Found) -> Summary:
    run = RunDir(found.path)
    working = run.at_work
    over = OVER.get(found.state, "interrupted")
    return Summary(
        found.path,
        "running" if working is not None or found.state == "running" else over,
        found.begun,
        task=found.task,
        method=found.method,
        model=found.model,
        metric=found.metric,
        valid=found.valid,
        test=found.test,
        interval=found.interval,
        seconds=found.seconds,
        trained=found.trained,
        resumable=run.state == "unfinished" and working is None,
        pid=working.pid if working else None,
    )
