"""From a recipe to a bundle that answers, on a tiny model: report, run folder, a run that is stopped half-way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import adaptune
from adaptune.bundle.reference import read_references
from adaptune.core.errors import AdaptuneError
from adaptune.core.run_folder import read_json_lines
from adaptune.report.write import write_report

GOOD = ("good", "great", "excellent", "wonderful")
BAD = ("bad", "terrible", "poor", "worst")
THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river")


@pytest.fixture
def recipe(tmp_path: Path, tiny_bert: Path) -> Path:
    """A sentiment task whose label is decided by one word, in 256 different rows."""
    rows = [
        f"the {thing} was {word} {end},{label}"
        for thing in THINGS
        for label, words in (("positive", GOOD), ("negative", BAD))
        for word in words
        for end in ("today", "again", "at first", "to me")
    ]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"task: classify\ndata: {{train: {tmp_path}/rows.csv}}\nmodel: {tiny_bert}\n"
        f"method: {{name: lora, rank: 4, dropout: 0.1}}\n"
        f"train: {{epochs: 4, batch_rows: 8, warm_start: false, patience: null, learning_rate: 0.01, device: cpu}}\n"
        f"out: {tmp_path}/run\n"
    )
    return path


def test_three_lines_of_python_train_load_and_answer(recipe: Path) -> None:
    run = adaptune.train(recipe)
    model = adaptune.load(run.bundle)
    answers = model.predict(["the town was wonderful today", "the town was terrible today"])
    assert [answer["label"] for answer in answers] == ["positive", "negative"]
    assert all(0.5 < answer["probability"] <= 1 for answer in answers)


def test_the_report_has_what_people_ask_for(recipe: Path, tmp_path: Path) -> None:
    report = adaptune.train(recipe, "train.epochs=1").report
    assert json.loads((tmp_path / "run" / "report.json").read_text()) == report
    assert report["examples"] == {"train": 207, "valid": 23, "test": 26}
    assert set(report["baseline"]) == {"majority", "tfidf_logistic_regression"}
    assert set(report["seconds"]) == {"data", "train", "evaluate", "total"}
    assert report["interval"]["low"] <= report["test"]["accuracy"] <= report["interval"]["high"]
    assert report["parameters"]["trained"] < report["parameters"]["total"]
    predictions = list(read_json_lines(tmp_path / "run" / "predictions.jsonl"))
    assert len(predictions) == 26
    assert set(report["gains"]) == set(report["baseline"])
    assert sum(one["items"] for one in report["reliability"]["before"]) == 26
    wrong = list(read_json_lines(tmp_path / "run" / "errors.jsonl"))
    assert len(wrong) == sum(one["predicted"] != one["expected"] for one in predictions)
    card = (tmp_path / "run" / "bundle" / "README.md").read_text(encoding="utf-8")
    assert "207 train, 23 valid, 26 test" in card
    assert str(tmp_path) not in card
    page = write_report(tmp_path / "run", language="en").read_text(encoding="utf-8")
    assert "26 test rows tell little" in page
    assert set(predictions[0]) == {"row", "source", "characters", "expected", "predicted", "probability"}


def test_the_bundle_says_how_its_validation_rows_look(recipe: Path, tmp_path: Path) -> None:
    """In sums, against what the loaded bundle says of the same rows one by one."""
    texts = ["the film was good", "the town was xyzzy again", "poor", "the book was the worst book of the year"]
    labels = ("positive", "negative", "negative", "negative")
    rows = "".join(f"{text},{label}\n" for text, label in zip(texts, labels, strict=True))
    (tmp_path / "valid.csv").write_text("text,label\n" + rows)
    run = adaptune.train(recipe, f"data.valid={tmp_path}/valid.csv", "data.test_share=0", "train.epochs=1")
    [(name, found)] = read_references(run.bundle).items()
    model = adaptune.load(run.bundle)
    answers = model.predict(texts)
    assert (name, found.rows, found.vectors) == (None, 4, 4)
    assert found.labels == dict(Counter(answer["label"] for answer in answers))
    assert found.confidence_sum == pytest.approx(sum(answer["probability"] for answer in answers), abs=1e-4)
    assert found.length_sum == sum(map(len, texts))
    tokenizer, trunk = model.assembly.backbone.tokenizer, model.assembly.trunk
    ids = [tokenizer(text)["input_ids"] for text in texts]
    assert (found.unknown, found.tokens) == (sum(one.count(1) for one in ids), sum(map(len, ids)))
    with torch.inference_mode():
        hidden = [trunk(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0) for text in texts]
    total = sum(one / one.norm() for one in hidden)
    assert found.vector == pytest.approx(total.tolist(), abs=1e-4)


def test_a_run_without_test_rows_reports_what_there_is(recipe: Path, tmp_path: Path) -> None:
    assert _finish(recipe, tmp_path / "run", "data.test_share=0", "train.epochs=1") == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["examples"]["test"] == 0
    assert report["test"] == {}
    assert report["interval"] is None
    assert 0 <= report["valid"]["accuracy"] <= 1


def test_method_none_ends_with_the_warm_started_head_and_takes_no_step(recipe: Path) -> None:
    run = adaptune.train(recipe, "method=none", "train.epochs=0", "train.warm_start=true")
    assert run.report["training"]["steps"] == 0
    assert (run.bundle / "weights.safetensors").is_file()


def test_a_finished_run_is_not_overwritten_unasked(recipe: Path) -> None:
    adaptune.train(recipe, "train.max_steps=1")
    with pytest.raises(AdaptuneError, match="holds a finished run"):
        adaptune.train(recipe, "train.max_steps=1")
    assert adaptune.train(recipe, "train.max_steps=1", overwrite=True).report["training"]["steps"] == 1


def test_a_terminated_run_goes_on_to_the_same_weights_bit_for_bit(recipe: Path, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert _finish(recipe, whole) == 0
    started = _start(recipe, halves)
    _wait_for_steps(halves / "steps.jsonl", 20, started)
    started.send_signal(signal.SIGTERM)
    assert started.wait(60) == 128 + signal.SIGTERM
    assert not (halves / "report.json").exists()
    assert _finish(recipe, halves, "--resume") == 0
    expected, resumed = (load_file(run / "bundle" / "weights.safetensors") for run in (whole, halves))
    assert expected.keys() == resumed.keys()
    assert all(expected[name].equal(resumed[name]) for name in expected)
    steps = [line["step"] for line in read_json_lines(halves / "steps.jsonl")]
    assert steps == list(range(1, len(steps) + 1))


def _start(recipe: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "adaptune", "train", str(recipe), f"out={out}", *options]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)


def _finish(recipe: Path, out: Path, *options: str) -> int:
    return _start(recipe, out, *options).wait(180)


def _wait_for_steps(log: Path, steps: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not log.exists() or log.read_bytes().count(b"\n") < steps:
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.02)
