"""Every tracker with its real library: what is written is read back, and a run that goes on is the same one."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from adaptune.core.tracker import Tracked, Tracker
from adaptune.track import TRACKERS

SETTINGS = {"method": {"name": "lora", "rank": 8}, "seed": 1}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent, and nothing of the user's is read."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)


def _twice(tracker: Tracker, files: Path) -> str | None:
    """A run that is interrupted after step 2 and goes on from step 1."""
    first = tracker.open(Tracked("first", "several", files, SETTINGS))
    first.log(1, {"train/loss": 0.5})
    first.log(2, {"train/loss": 0.4, "test/recall@10": 0.25})
    first.end("interrupted")
    second = tracker.open(Tracked("first", "several", files, SETTINGS, known=first.key, step=1))
    second.log(2, {"train/loss": 0.3})
    second.end("finished")
    assert second.key == first.key
    return first.key


def test_tensorboard_shows_curves_and_hides_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    key = _twice(TRACKERS.get("tensorboard")(), tmp_path / "tracking")
    assert key == str(tmp_path / "tracking" / "tensorboard")
    events = EventAccumulator(key)
    events.Reload()
    losses = [(event.step, pytest.approx(event.value)) for event in events.Scalars("train/loss")]
    assert losses == [(1, 0.5), (2, 0.3)]
    assert events.Tags()["tensors"] == ["recipe/text_summary"]


def test_tensorboard_puts_runs_side_by_side_in_a_folder_of_your_own(tmp_path: Path) -> None:
    key = _twice(TRACKERS.get("tensorboard")(folder=tmp_path / "board"), tmp_path / "tracking")
    assert key == str(tmp_path / "board" / "several" / "first")


@pytest.mark.filterwarnings("default")
def test_wandb_keeps_a_run_offline_under_one_id(tmp_path: Path) -> None:
    wandb = TRACKERS.get("wandb")(mode="offline", project="reviews")
    key = _twice(wandb, tmp_path / "tracking")
    kept = sorted((tmp_path / "tracking" / "wandb").glob("offline-run-*"))
    assert {folder.name.rpartition("-")[2] for folder in kept} == {key}
    content = b"".join(file.read_bytes() for folder in kept for file in folder.glob("*.wandb"))
    for written in (b"train/loss", b"test/recall@10", b"reviews", b"several"):
        assert written in content


@pytest.mark.filterwarnings("default")
def test_mlflow_keeps_a_run_in_a_database_file(tmp_path: Path) -> None:
    import mlflow

    address = f"sqlite:///{tmp_path}/mlflow.db"
    key = _twice(TRACKERS.get("mlflow")(uri=address, experiment="reviews"), tmp_path / "tracking")
    client = mlflow.MlflowClient(tracking_uri=address)
    run = client.get_run(str(key))
    assert (run.info.run_name, run.info.status, run.data.tags["group"]) == ("first", "FINISHED", "several")
    assert run.data.params == {"method.name": "lora", "method.rank": "8", "seed": "1"}
    assert [(one.step, one.value) for one in client.get_metric_history(str(key), "train/loss")] == [
        (1, 0.5),
        (2, 0.4),
        (2, 0.3),
    ]
    assert run.data.metrics["test/recall_10"] == 0.25


def test_every_tracker_has_an_extra_and_imports_nothing_before_it_opens() -> None:
    code = (
        "import sys\nfrom adaptune.track import TRACKERS\n"
        "print([TRACKERS.get(name)().extra for name in TRACKERS.names()])\n"
        "print(sorted({'mlflow', 'tensorboard', 'torch', 'wandb'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    extras, imported = map(ast.literal_eval, done.stdout.splitlines())
    project = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(extras) <= set(project["project"]["optional-dependencies"])
    assert imported == []
