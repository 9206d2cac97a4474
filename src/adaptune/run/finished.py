"""What a run comes to: its folder, its report, how long it took. Knows no model."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from adaptune.core.environment import peak_memory_mb
from adaptune.core.errors import AdaptuneError
from adaptune.core.html import html_table
from adaptune.core.run_folder import RunDir


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run."""

    folder: Path
    report: Mapping[str, Any]

    @property
    def bundle(self) -> Path:
        """The folder of the adapter, for `adaptune.load`. Raises AdaptuneError where each task has its own."""
        if len(self.bundles) > 1:
            raise AdaptuneError(
                f"the run in {self.folder} has separate adapters, a bundle for each task; choose from `bundles`: "
                f"{', '.join(self.bundles)}"
            )
        return RunDir(self.folder).bundle

    @property
    def bundles(self) -> dict[str, Path]:
        """The folders of separate adapters by their tasks; of a run with one adapter, that one by the run's name."""
        if self.report.get("adapters") == "separate":
            return {name: RunDir(self.folder / name).bundle for name in self.report["tasks"]}
        return {self.folder.name: RunDir(self.folder).bundle}

    def _repr_html_(self) -> str:
        """Scores beside baselines, each task's where there are several."""
        rows = [
            (*([name] if name else []), *row)
            for name, report in self.report.get("tasks", {"": self.report}).items()
            for row in _rows(report)
        ]
        head = (*(["task"] if "tasks" in self.report else []), "", "metric", "score", "interval")
        return html_table(head, rows) + f"<p>{escape(str(self.folder))}</p>"


def _rows(report: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    metric, ends = report["metric"], report["interval"]
    for name, scores in report["baseline"].items():
        yield f"baseline: {name}", metric, scores[metric], ""
    for title, part in (("validation", "valid"), ("test", "test")):
        if metric in report[part]:
            whole = part == "test" and ends is not None
            yield title, metric, report[part][metric], f"{ends['low']:.4f} to {ends['high']:.4f}" if whole else ""


@dataclass(slots=True)
class Clock:
    """Seconds of each stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the block's duration to a stage."""
        started = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started

    def record(self) -> dict[str, Any]:
        """What a run took, for its report."""
        total = self.seconds | {"total": sum(self.seconds.values())}
        return {"seconds": total, "peak_memory_mb": peak_memory_mb()}


def finished_report(folder: RunDir, fingerprint: str) -> dict[str, Any]:
    """The report of a run that is finished. Raises AdaptuneError where it is of another recipe, or of other data."""
    if json.loads(folder.environment.read_bytes())["run"] != fingerprint:
        raise AdaptuneError(
            f"{folder.path} holds a finished run with another recipe or other data; repeat the old command to resume, "
            "or start anew with --overwrite"
        )
    found: dict[str, Any] = json.loads(folder.report.read_bytes())
    return found
