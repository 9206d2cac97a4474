"""Folders of runs as runs leave them, written by hand, and the app around one of them in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from adaptune.core.run_folder import RunDir
from adaptune.recipe.source import write_text
from adaptune.ui.app import make_app
from adaptune.ui.places import Places

TOKEN = "the-token"
MakeRun = Callable[..., RunDir]

RECIPE: dict[str, Any] = {
    "task": {"name": "classify"},
    "data": {"train": "train.csv"},
    "model": {"name": "some/tiny-model"},
    "method": {"name": "lora", "rank": 8},
    "train": {"epochs": 2.0, "max_steps": None, "max_seconds": None},
    "out": "runs/x",
    "seed": 1,
}


def report_of(score: float, method: str = "lora") -> dict[str, Any]:
    return {
        "task": "classify",
        "method": method,
        "model": "some/tiny-model",
        "metric": "accuracy",
        "valid": {"accuracy": score - 0.01},
        "test": {"accuracy": score, "macro_f1": score - 0.05},
        "interval": {"metric": "accuracy", "level": 0.95, "low": score - 0.04, "high": score + 0.03},
        "baseline": {"majority": {"accuracy": 0.25}},
        "per_class": {"good": {"f1": score}},
        "parameters": {"trained": 1000, "total": 100_000},
        "training": {"best_step": 2, "steps": 4},
        "examples": {"train": 40, "valid": 5, "test": 5},
        "seconds": {"total": 75.5},
    }


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "desk" / "runs"


@pytest.fixture
def make_run(runs: Path) -> MakeRun:
    """make_run("a", score=0.9): a finished run; without a score one that was interrupted after its checkpoint."""

    def make(name: str, *, score: float | None = None, checkpoint: bool = True, **recipe: Any) -> RunDir:
        run = RunDir(runs / name)
        run.begin(write_text(RECIPE | recipe), {"python": "3.11"})
        for step in (1, 2, 3, 4):
            run.log_step({"step": step, "epoch": step / 2, "loss": 1 / step, "learning_rate": 0.001, "seconds": 0.5})
            if step % 2 == 0:
                run.log_scores(
                    {"step": step, "epoch": step / 2, "seconds": 1.0 * step, "gained": True, "accuracy": 0.5}
                )
        if score is not None:
            run.write_report(report_of(score, (recipe.get("method") or RECIPE["method"])["name"]))
        elif checkpoint:
            with run.new_checkpoint() as folder:
                (folder / "state").write_text("weights")
        run.process.unlink(missing_ok=True)  # this test's process is not at work in it
        return run

    return make


@pytest.fixture
def places(runs: Path) -> Places:
    runs.mkdir(parents=True, exist_ok=True)
    (runs.parent / "train.csv").write_text("text,label\ngood,yes\nbad,no\n")
    return Places(runs, runs.parent)


@pytest.fixture
def client(places: Places) -> Iterator[TestClient]:
    """As the page asks."""
    app = make_app(places, token=TOKEN)
    headers = {"X-Adaptune-Token": TOKEN}
    with TestClient(app, base_url="http://127.0.0.1:7860", headers=headers, raise_server_exceptions=False) as found:
        yield found
