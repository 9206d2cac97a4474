"""What is removed, and what never is."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.history.conftest import Write
from typer.testing import CliRunner

from adaptune.cli import app
from adaptune.core.errors import AdaptuneError
from adaptune.core.run_folder import RunDir
from adaptune.history.cleaning import Removal, removals, remove

WEEK = timedelta(days=7)


def age(run: RunDir, days: float) -> RunDir:
    for path in (run.path, *run.path.rglob("*")):
        then = path.stat().st_mtime - days * 86_400
        os.utime(path, (then, then))
    return run


def with_bundle(run: RunDir) -> RunDir:
    run.bundle.mkdir()
    (run.bundle / "weights.safetensors").write_bytes(b"w" * 500)
    return run


def told(found: list[Removal]) -> list[tuple[str, str, int]]:
    return [(one.run.name, one.what, one.bytes) for one in found]


def test_checkpoints_of_finished_runs_go_and_their_bundles_stay(write: Write, tmp_path: Path) -> None:
    run = with_bundle(write("done"))
    run.checkpoint.mkdir()
    (run.checkpoint / "training.pt").write_bytes(b"x" * 1000)
    (run.path / ".checkpoint.old").mkdir()
    (run.path / ".checkpoint.old" / "training.pt").write_bytes(b"x" * 10)
    [found] = removals(tmp_path / "runs")
    assert told([found]) == [("done", "checkpoint of a finished run", 1010)]
    assert remove(found) == 1010
    assert not run.checkpoint.exists()
    assert run.bundle.is_dir()
    assert run.report.exists()
    assert removals(tmp_path / "runs") == []


def test_runs_without_an_end_go_when_they_are_older_than_asked(write: Write, tmp_path: Path) -> None:
    old = age(write("old", state="unfinished"), 8)
    age(write("young", state="unfinished"), 6)
    (mine := write("mine", state="unfinished").path / "notes.txt").write_text("mine")
    age(RunDir(mine.parent), 8)
    assert removals(tmp_path / "runs") == []
    found = removals(tmp_path / "runs", older=WEEK)
    assert [one.run.name for one in found] == ["mine", "old"]
    for one in found:
        remove(one)
    assert not old.path.exists()
    assert [file.name for file in mine.parent.iterdir()] == ["notes.txt"]


def test_bundles_go_only_where_it_is_said(write: Write, tmp_path: Path) -> None:
    with_bundle(write("done"))
    age(with_bundle(write("old", state="unfinished")), 8)
    assert [one.what for one in removals(tmp_path / "runs", older=WEEK)] == ["interrupted run"]
    kept = {path for one in removals(tmp_path / "runs", older=WEEK) for path in one.paths}
    assert kept == {tmp_path / "runs" / "old" / "checkpoint"}
    assert told(removals(tmp_path / "runs", bundles=True)) == [("done", "bundle", 500)]


def test_a_run_that_a_process_is_at_is_left_alone(write: Write, tmp_path: Path) -> None:
    run = age(write("busy", state="unfinished"), 8)
    [found] = removals(tmp_path / "runs", older=WEEK)
    with run.under_way({}):
        assert removals(tmp_path / "runs", older=timedelta(0)) == []
        with pytest.raises(AdaptuneError, match=r"process \d+ is at the run"):
            remove(found)
    assert run.checkpoint.is_dir()


def test_a_link_out_of_the_folder_is_left_and_what_it_points_to_is_safe(write: Write, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "dear.txt").write_text("dear")
    run = write("done")
    run.checkpoint.symlink_to(elsewhere)
    assert removals(tmp_path / "runs") == []
    run.checkpoint.unlink()
    run.checkpoint.mkdir()
    (run.checkpoint / "link").symlink_to(elsewhere)
    for one in removals(tmp_path / "runs"):
        remove(one)
    assert not run.checkpoint.exists()
    assert (elsewhere / "dear.txt").read_text() == "dear"


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(AdaptuneError, match="holds no run"):
        removals(tmp_path)


def test_the_command_asks_before_it_removes(write: Write, tmp_path: Path) -> None:
    run = write("done")
    run.checkpoint.mkdir()
    (run.checkpoint / "training.pt").write_bytes(b"x" * 2_000_000)
    command, folder = ["runs", "clean", str(tmp_path / "runs")], CliRunner()
    assert "2.0 MB" in folder.invoke(app, [*command, "--dry-run"]).output
    assert "nothing was removed" in folder.invoke(app, command, input="n\n").output
    assert run.checkpoint.is_dir()
    assert "freed 2.0 MB" in folder.invoke(app, [*command, "--yes"]).output
    assert not run.checkpoint.exists()
