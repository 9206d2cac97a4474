"""A finished run is repeated from its folder; what differs is told, and other data is refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import adaptune
from adaptune import cli
from adaptune.core.files import write_json, write_json_lines
from adaptune.core.run_folder import RunDir, read_json_lines
from adaptune.history.repeat import compared

ROWS = [
    f"the {thing} was {word},{label}"
    for thing in ("film", "book", "phone", "house", "bank", "river")
    for label, words in (("positive", ("good", "great")), ("negative", ("bad", "poor")))
    for word in words
]


@pytest.fixture(scope="module")
def desk(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the run `run` was made."""
    desk = tmp_path_factory.mktemp("reproduce")
    (desk / "rows.csv").write_text("text,label\n" + "\n".join(ROWS) + "\n")
    (desk / "recipe.yaml").write_text(
        f"task: classify\ndata: {{train: rows.csv, test_share: 0.25, valid_share: 0.25}}\nmodel: {tiny_bert}\n"
        "method: {name: lora, rank: 2}\ntrain: {max_steps: 2, device: cpu}\n"
        "evaluate: {baselines: false}\ntrack: tensorboard\nout: run\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(desk)
        adaptune.train("recipe.yaml")
    return desk


def _say(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["adaptune", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_a_run_is_reproduced_bit_for_bit_from_another_folder(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recipe's paths are relative to where its command ran."""
    monkeypatch.chdir(desk.parent)
    assert _say(monkeypatch, "reproduce", str(desk / "run"), "-q") == 0
    out = capsys.readouterr().out
    assert "weights: the same, bit for bit" in out
    assert f"reproduced: every score and every answer is the same ({desk / 'run-again'})" in out
    assert RunDir(desk / "run-again").state == "finished"


def test_a_tracker_was_told_of_every_step_of_the_run_and_of_its_scores(desk: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(desk / "run" / "tracking" / "tensorboard"))
    events.Reload()
    logged = list(read_json_lines(desk / "run" / "steps.jsonl"))
    losses = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert losses == [(line["step"], pytest.approx(line["loss"])) for line in logged]
    report = json.loads((desk / "run" / "report.json").read_bytes())
    assert events.Scalars("test/accuracy")[-1].value == pytest.approx(report["test"]["accuracy"])


def test_other_data_is_refused_with_the_file_and_its_digest(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (desk / "rows.csv").read_text()
    digest = json.loads((desk / "run" / "environment.json").read_text())["data"]["train"]
    try:
        (desk / "rows.csv").write_text(before + "the town was good,positive\n")
        assert _say(monkeypatch, "reproduce", str(desk / "run"), "--out", str(desk / "other"), "-q") == 2
    finally:
        (desk / "rows.csv").write_text(before)
    error = capsys.readouterr().err
    assert f"data.train (rows.csv) is not what the run read: its SHA-256 was {digest[:12]}…, and is " in error
    assert not (desk / "other").exists()


def test_a_run_without_an_end_is_refused(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    half = RunDir(desk / "half")
    half.begin((desk / "run" / "recipe.yaml").read_text(), {})
    assert _say(monkeypatch, "reproduce", str(half.path)) == 2
    assert "was not finished (report.json is missing)" in capsys.readouterr().err


def test_what_differs_is_told(desk: Path) -> None:
    first, second = desk / "run", desk / "changed"
    shutil.copytree(first, second)
    assert compared(first, second).reproduces(0)
    weights = load_file(second / "bundle" / "weights.safetensors")
    name = sorted(weights)[0]
    weights[name][..., 0] += 0.5
    save_file(weights, second / "bundle" / "weights.safetensors")
    found = compared(first, second)
    assert found.weights is not None
    assert (found.weights.identical, found.weights.tensor) == (False, name)
    assert found.weights.largest == pytest.approx(0.5, abs=1e-6)
    assert found.reproduces(0), "the scores and the answers are still the same"
    folder = RunDir(second)
    lines = list(read_json_lines(folder.predictions))
    lines[0]["predicted"] = "neither"
    write_json_lines(folder.predictions, lines)
    assert [(one.rows, one.differ) for one in compared(first, second).answers] == [(len(lines), 1)]
    assert not compared(first, second).reproduces(0)
    report = json.loads(folder.report.read_bytes())
    report["test"]["accuracy"] -= 0.02
    write_json(folder.report, report)
    found = compared(first, second)
    assert found.gap == pytest.approx(0.02)
    assert (found.reproduces(0.01), found.reproduces(0.03)) == (False, True)
