"""What the page is told of runs and recipes, and what it can do with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fastapi.testclient import TestClient

from adaptune.core.at_work import AtWork
from adaptune.core.errors import AdaptuneError
from adaptune.ui.jobs import Job, Jobs, command_of
from adaptune.ui.places import Places

GOOD = "task: classify\ndata:\n  train: train.csv\nmodel: some/model\n"


def test_runs_are_found_at_every_depth_with_what_they_came_to(client: TestClient, make_run: Any) -> None:
    make_run("reviews/first", score=0.9)
    make_run("second", method={"name": "bitfit"})
    make_run("third", checkpoint=False)
    found = {one["name"]: one for one in client.get("/api/runs").json()["runs"]}
    assert sorted(found) == ["reviews/first", "second", "third"]
    first = found["reviews/first"]
    assert (first["state"], first["task"], first["method"], first["model"]) == (
        "finished",
        "classify",
        "lora",
        "some/tiny-model",
    )
    assert (first["test"]["accuracy"], first["interval"]["low"], first["seconds"]) == (0.9, pytest.approx(0.86), 75.5)
    assert (found["second"]["state"], found["second"]["method"], found["second"]["resumable"]) == (
        "interrupted",
        "bitfit",
        True,
    )
    assert (found["third"]["state"], found["third"]["resumable"]) == ("interrupted", False)


def test_a_run_that_failed_says_why_and_can_go_on(client: TestClient, make_run: Any) -> None:
    run = make_run("broken")
    run.failure.write_text('{"error": "TrainingError: the loss is not a number", "at": "2026-01-01T00:00:00+00:00"}')
    [told] = client.get("/api/runs").json()["runs"]
    assert (told["state"], told["resumable"]) == ("failed", True)
    failure = client.get("/api/run", params={"name": "broken"}).json()["failure"]
    assert failure == "TrainingError: the loss is not a number"


def test_a_run_at_which_a_process_works_is_running(client: TestClient, make_run: Any) -> None:
    run = make_run("now")
    AtWork.here().write(run.process)
    [told] = client.get("/api/runs").json()["runs"]
    assert (told["state"], told["pid"], told["resumable"]) == ("running", os.getpid(), False)
    assert client.post("/api/resume", json={"name": "now"}).status_code == 409


def test_a_run_is_told_with_recipe_report_and_what_it_logs(client: TestClient, make_run: Any) -> None:
    run = make_run("a", score=0.9)
    told = client.get("/api/run", params={"name": "a"}).json()
    assert told["report"]["baseline"]["majority"]["accuracy"] == 0.25
    assert told["recipe"] == run.recipe.read_text()
    assert told["planned"] == {"epochs": 2.0, "max_steps": None, "max_seconds": None}
    assert told["html"] is False
    first = client.get("/api/live", params={"name": "a"}).json()
    assert [one["loss"] for one in first["steps"]["records"]] == [1, 1 / 2, 1 / 3, 1 / 4]
    assert [one["accuracy"] for one in first["scores"]["records"]] == [0.5, 0.5]
    cursors = {kind: first[kind]["cursor"] for kind in ("steps", "scores")}
    run.log_step({"step": 5, "epoch": 2.5, "loss": 0.1, "learning_rate": 0.1, "seconds": 1.0})
    after = client.get("/api/live", params={"name": "a", **cursors}).json()
    assert [one["step"] for one in after["steps"]["records"]] == [5]
    assert after["scores"]["records"] == []


def test_chosen_runs_are_compared_value_by_value(client: TestClient, make_run: Any) -> None:
    make_run("a", score=0.9)
    make_run("b", score=0.8, method={"name": "lora", "rank": 4}, seed=2, out="runs/b")
    told = client.get("/api/compare", params={"run": ["b", "a"]}).json()
    assert [one["name"] for one in told["runs"]] == ["b", "a"]
    assert told["differences"] == [{"path": "method.rank", "values": [4, 8]}, {"path": "seed", "values": [2, 1]}]
    assert client.get("/api/compare", params={"run": ["a"] * 7}).status_code == 422


def test_every_fault_of_a_recipe_is_told_at_once_with_its_place(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, runs: Path
) -> None:
    monkeypatch.chdir(runs.parent)
    assert client.post("/api/check", json={"text": GOOD}).json()["faults"] == []
    told = client.post("/api/check", json={"text": GOOD + "train:\n  epochs: many\n  clip: -1\nmethd: lora\n"}).json()
    assert [(one["path"], one["line"]) for one in told["faults"]] == [
        ("train.epochs", 6),
        ("train.clip", 7),
        ("methd", 8),
    ]
    assert told["faults"][0]["text"] == "train.epochs: expected a number, got 'many'"
    assert told["values"]["train"] == {"epochs": "many", "clip": -1}
    broken = client.post("/api/check", json={"text": "task: [classify\n"}).json()
    assert broken["values"] is None
    assert broken["faults"][0]["line"] == 2
    refused = client.post("/api/start", json={"name": "a", "text": "task: classify\n"})
    assert refused.status_code == 422
    assert {one["path"] for one in refused.json()["faults"]} == {"data", "model.name"}


def test_values_of_the_form_become_a_text(client: TestClient) -> None:
    values = {"task": "classify", "data": {"train": "${FOLDER}/train.csv"}, "train": {"learning_rate": 0.002}}
    text = client.post("/api/write", json={"values": values}).json()["text"]
    assert client.post("/api/check", json={"text": text}).json()["values"] == values


def test_recipes_beside_the_runs_can_be_begun_with(client: TestClient, runs: Path) -> None:
    (runs.parent / "mine.yaml").write_text(GOOD)
    (runs.parent / "recipes").mkdir()
    (runs.parent / "recipes" / "other.yml").write_text("seed: 3\n")
    assert client.get("/api/recipes").json()["recipes"] == ["mine.yaml", "recipes/other.yml"]
    assert client.get("/api/recipe", params={"file": "recipes/other.yml"}).json()["text"] == "seed: 3\n"


@pytest.mark.parametrize("name", ["../a", "/a", "a b", "a/bundle", "", ".hidden", "a//b", "-a", "a\n"])
def test_a_run_is_not_begun_under_any_name(client: TestClient, name: str) -> None:
    assert client.post("/api/start", json={"name": name, "text": GOOD}).status_code in (400, 404)


def test_a_recipe_cannot_put_its_run_elsewhere(client: TestClient, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.parent)
    for out in ("elsewhere", str(runs.parent.parent / "x"), "runs", "runs/../../x", "runs/.adaptune/x"):
        response = client.post("/api/start", json={"name": "a", "text": f"{GOOD}out: {out}\n"})
        assert response.status_code == 400, out
        assert "not below the folder of runs" in response.json()["error"]["message"]


def test_a_run_is_replaced_only_when_asked(
    client: TestClient, make_run: Any, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs.parent)
    monkeypatch.setattr("adaptune.ui.jobs.EVERY", 3600)
    make_run("a", score=0.9)
    assert client.post("/api/start", json={"name": "a", "text": GOOD}).status_code == 409
    assert client.post("/api/resume", json={"name": "a"}).status_code == 409


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """No job is started, as long as the app lives; asked for before it."""
    monkeypatch.setattr("adaptune.ui.jobs.Jobs._start", lambda *_: None)


def test_runs_whose_names_are_alike_keep_their_own_recipes(
    idle: None, client: TestClient, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs.parent)
    for name, seed in (("a/b", 1), ("a--b", 2)):
        response = client.post("/api/start", json={"name": name, "text": f"{GOOD}seed: {seed}\n"})
        assert response.status_code == 200, response.text
    kept = (runs / ".adaptune" / "recipes").glob("*.yaml")
    assert sorted(file.read_text()[-2] for file in kept) == ["1", "2"]


class Bench:
    """Jobs whose processes are small programs in place of trainings."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.programs: dict[str, str] = {}
        self.opened: list[Jobs] = []
        monkeypatch.setattr("adaptune.ui.jobs.EVERY", 0.02)
        monkeypatch.setattr("adaptune.ui.jobs.command_of", self._command)

    def _command(self, job: Job) -> list[str]:
        return [sys.executable, "-c", self.programs[job.run]]

    def open(self) -> Jobs:
        jobs = Jobs(self.folder, self.folder.parent)
        jobs.open()
        self.opened.append(jobs)
        return jobs


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(tmp_path / "own", monkeypatch)
    yield bench
    for jobs in bench.opened:
        jobs.close()
        for child in jobs._children.values():
            child.wait()  # no process outlives the test


def until(holds: Any) -> None:
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    pytest.fail("it never holds")


def test_jobs_run_one_at_a_time_in_their_order_and_their_words_are_kept(bench: Bench, tmp_path: Path) -> None:
    jobs = bench.open()
    told = "import time, pathlib; print('begin'); time.sleep(0.1); print('end'); raise SystemExit({code})"
    for name, code in (("a", 0), ("b", 3)):
        bench.programs[name] = told.format(code=code)
        jobs.add(name, tmp_path / "r.yaml", tmp_path / name)
    with pytest.raises(AdaptuneError, match="a is waiting or running already"):
        jobs.add("a", tmp_path / "r.yaml", tmp_path / "a")
    seen = set()
    until(lambda: seen.add(tuple(job.state for job in jobs.all())) or all(job.state == "ended" for job in jobs.all()))
    assert ("running", "running") not in seen
    assert ("ended", "waiting") in seen or ("ended", "running") in seen
    assert [job.code for job in jobs.all()] == [0, 3]
    assert jobs.log("b") == "begin\nend\n"
    jobs.close()


def test_what_runs_outlives_the_server_and_what_waits_goes_on_with_the_next(bench: Bench, tmp_path: Path) -> None:
    jobs = bench.open()
    bench.programs = {"a": "import time; time.sleep(1)", "b": "print('b')"}
    for name in ("a", "b"):
        jobs.add(name, tmp_path / "r.yaml", tmp_path / name)
    until(lambda: jobs.of("a")[0].state == "running")
    with pytest.raises(AdaptuneError, match="another `adaptune ui` shows"):
        bench.open()
    child = next(iter(jobs._children.values()))
    jobs.close()
    assert child.poll() is None, "the run goes on"
    later = bench.open()
    assert [job.state for job in later.all()] == ["running", "waiting"]
    child.wait()
    until(lambda: later.of("b")[0].state == "ended")
    assert [job.code for job in later.all()] == [None, 0]
    later.close()


def test_what_waits_can_be_taken_back(bench: Bench, tmp_path: Path) -> None:
    jobs = bench.open()
    bench.programs = {"a": "import time; time.sleep(0.3)", "b": "print('b')"}
    for name in ("a", "b"):
        jobs.add(name, tmp_path / "r.yaml", tmp_path / name)
    jobs.remove(jobs.of("b")[0].id)
    until(lambda: jobs.of("a")[0].state == "ended")
    assert jobs.of("b") == []
    with pytest.raises(AdaptuneError, match="no such run waiting"):
        jobs.remove("another")
    jobs.close()


def test_the_command_of_a_job_is_train_with_its_folder_as_yaml(tmp_path: Path) -> None:
    job = Job(id="1", run="a", recipe=tmp_path / "r.yaml", out=Path("runs/a: ${b}"), resume=True, asked=0.0)
    assert command_of(job)[1:] == [
        "-m",
        "adaptune",
        "train",
        str(tmp_path / "r.yaml"),
        'out="runs/a: $${b}"',
        "--resume",
    ]


def test_a_run_is_asked_to_stop_once(client: TestClient, make_run: Any, tmp_path: Path) -> None:
    run = make_run("a")
    waits = "; ".join(
        [
            "import signal, time",
            "signal.signal(signal.SIGTERM, lambda *_: print('asked', flush=True))",
            "print('up', flush=True)",
            "time.sleep(60)",
        ]
    )
    with subprocess.Popen([sys.executable, "-c", waits], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        here = AtWork.here()
        began = psutil.Process(process.pid).create_time()
        run.process.write_text(json.dumps({"pid": process.pid, "host": here.host, "began": began, "since": 0.0}))
        assert client.post("/api/stop", json={"name": "a"}).json() == {"pid": process.pid}
        assert process.stdout.readline() == "asked\n"
        second = client.post("/api/stop", json={"name": "a"})
        assert second.status_code == 409
        assert "was asked to stop" in second.json()["error"]["message"]
        process.kill()
    assert client.post("/api/stop", json={"name": "a"}).status_code == 409


def test_a_folder_that_is_itself_a_run_is_shown(make_run: Any, runs: Path) -> None:
    make_run("a", score=0.9)
    places = Places(runs / "a", runs.parent)
    assert places.name_of(runs / "a") == "."
    assert places.run(".") == runs / "a"
