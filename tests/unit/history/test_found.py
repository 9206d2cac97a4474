"""Runs below a folder: found, told apart by their state, chosen and ordered."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.unit.history.conftest import Write

from adaptune.core.errors import AdaptuneError
from adaptune.history.choosing import Asked, chosen, condition, ordered
from adaptune.history.found import Found, find


def names(found: list[Found]) -> list[str]:
    return [run.path.name for run in found]


def asked(runs: Path, *conditions: str, **more: str) -> list[str]:
    return names(chosen(find(runs), Asked(conditions=tuple(map(condition, conditions)), **more)))


def test_every_state_is_told_from_the_folder_alone(write: Write, tmp_path: Path) -> None:
    write("a-finished", accuracy=0.75)
    write("b-interrupted", state="unfinished")
    write("c-killed", state="empty")
    failed = write("d-failed", state="empty")
    with pytest.raises(ValueError, match="no rows"), failed.under_way({}):
        raise ValueError("no rows\nat all")
    running = write("deep/er/e-running", state="unfinished")
    with running.under_way({}):
        found = {run.path.name: run for run in find(tmp_path / "runs")}
    states = {name: (run.state, run.note) for name, run in found.items()}
    assert states == {
        "a-finished": ("finished", ""),
        "b-interrupted": ("interrupted", ""),
        "c-killed": ("interrupted", "nothing saved"),
        "d-failed": ("failed", "ValueError: no rows"),
        "e-running": ("running", ""),
    }
    assert (found["b-interrupted"].steps, found["a-finished"].test) == (7, {"accuracy": 0.75})


def test_a_run_of_an_older_version_is_read_from_its_recipe_and_report(write: Write, tmp_path: Path) -> None:
    write("old", accuracy=0.75).brief.unlink()
    [found] = find(tmp_path / "runs")
    assert (found.task, found.method, found.seed, found.test) == ("classify", "lora", 1, {"accuracy": 0.75})


def test_runs_of_a_comparison_stand_behind_it_and_what_it_ended_early_is_stopped(write: Write, tmp_path: Path) -> None:
    write("compared/runs/lora/seed-1")
    write("compared/runs/bitfit/seed-1", state="empty")
    folder = tmp_path / "runs" / "compared"
    (folder / "plan.json").write_text('{"fingerprint": "x", "plan": {}}')
    group, *members = find(tmp_path / "runs")
    assert (group.kind, group.state) == ("comparison", "unfinished")
    assert [member.state for member in members] == ["interrupted", "finished"]
    result = {"task": "classify", "metric": "accuracy", "candidates": [1, 2], "verdict": {"use": "lora"}}
    (folder / "comparison.json").write_text(json.dumps(result))
    group, *members = find(tmp_path / "runs")
    assert (group.state, group.note) == ("finished", "2 candidates: use lora")
    assert [(member.state, member.group) for member in members] == [("stopped", folder), ("finished", folder)]
    assert names(chosen([group, *members], Asked(conditions=(condition("state=finished"),)))) == ["compared", "seed-1"]


def test_links_are_not_followed(write: Write, tmp_path: Path) -> None:
    write("real")
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "runs" / "real")
    assert names(find(tmp_path / "runs")) == ["real"]


def test_conditions_read_scores_facts_and_the_recipe(write: Write, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write("weak", accuracy=0.6, method={"rank": 4})
    write("strong", accuracy=0.9, method={"rank": 16})
    write("late", state="unfinished")
    assert asked(runs, "accuracy>0.85") == ["strong"]
    assert asked(runs, "valid.accuracy>=0.8", "test.accuracy < 0.7") == ["weak"]
    assert asked(runs, "method.rank=16") == ["strong"]
    assert asked(runs, "state!=finished") == ["late"]
    assert asked(runs, method="bitfit") == []
    with pytest.raises(AdaptuneError, match="no run has 'acuracy'; did you mean 'accuracy'"):
        asked(runs, "acuracy>0.85")
    assert condition("recall@10>0.5").name == "recall@10"
    with pytest.raises(AdaptuneError, match="'accuracy' is no condition"):
        condition("accuracy")
    with pytest.raises(AdaptuneError, match="cannot be compared with it by size"):
        asked(runs, "method>lora")


def test_the_newest_stand_first_and_scores_from_large_to_small(write: Write, tmp_path: Path) -> None:
    write("a", accuracy=0.9, begun="2026-11-24T10:00:00+00:00")
    write("b", accuracy=0.7, begun="2026-11-26T10:00:00+00:00")
    write("c", state="empty", begun="2026-11-25T10:00:00+00:00")
    found = find(tmp_path / "runs")
    assert names(ordered(found, None)) == ["b", "c", "a"]
    assert names(ordered(found, "accuracy")) == ["a", "b", "c"]
    assert names(ordered(found, "accuracy", reverse=True)) == ["b", "a", "c"]
    assert names(ordered(found, "name")) == ["a", "b", "c"]
    assert names(chosen(found, Asked(since=datetime(2026, 11, 25, tzinfo=UTC)))) == ["b", "c"]


def test_a_list_is_printed_without_torch(write: Write, tmp_path: Path) -> None:
    write("first", accuracy=0.75)
    code = "import sys\nfrom adaptune.cli import app\napp(standalone_mode=False)\nprint('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "runs", "list", str(tmp_path / "runs")], capture_output=True, text=True, check=True
    )
    head, line, torch = done.stdout.splitlines()
    assert head.split()[:3] == ["run", "state", "task"]
    assert line.split()[:7] == ["first", "finished", "classify", "lora", "tiny", "accuracy", "0.7500"]
    assert torch == "False"
