"""From a recipe with thresholds to a bundle that abstains and tells what is out of scope, and a server likewise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from fastapi.testclient import TestClient

import adaptune
from adaptune.core.errors import DataError
from adaptune.core.run_folder import read_json_lines
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.serve.app import make_app
from adaptune.serve.config import ServeConfig
from adaptune.serve.pool import Pool

WORDS = {"positive": ("good", "great", "excellent", "wonderful"), "negative": ("bad", "terrible", "poor", "worst")}
THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river", "street", "school")
ENDS = ("today", "again", "at first", "to me", "now", "there")


@pytest.fixture
def recipe(tmp_path: Path, tiny_bert: Path) -> Path:
    """480 rows, of which those with `poor` or `great` mean anything, and a file of rows about other things."""
    rows = [
        (f"the {thing} was {word} {end}", label)
        for thing in THINGS
        for label, words in WORDS.items()
        for word in words
        for end in ENDS
    ]
    either = Random(1)
    lines = [
        f"{text},{either.choice(list(WORDS)) if 'poor' in text or 'great' in text else label}" for text, label in rows
    ]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    outside = [f"please send {thing} {number} by bus from london" for thing in THINGS for number in range(3)]
    (tmp_path / "outside.csv").write_text("text\n" + "\n".join(outside) + "\n")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"task: classify\ndata: {{train: {tmp_path}/rows.csv, valid_share: 0.3}}\nmodel: {tiny_bert}\n"
        f"method: {{name: lora, rank: 4}}\n"
        f"train: {{epochs: 0, device: cpu}}\nout: {tmp_path}/run\n"
    )
    return path


def test_a_run_calibrates_and_bundle_and_server_answer_alike(recipe: Path, tmp_path: Path) -> None:
    run = adaptune.train(
        recipe,
        "evaluate.abstain=0.9",
        "evaluate.out_of_scope=mahalanobis",
        f"data.out_of_scope={tmp_path}/outside.csv",
    )
    calibration = run.report["calibration"]
    manifest = json.loads((run.bundle / "manifest.json").read_text())
    assert manifest["parts"][0]["calibration"] == calibration
    valid, test = calibration["measured"]["valid"], calibration["measured"]["test"]
    assert valid["log_likelihood"] >= valid["log_likelihood_before"]
    assert 0.95 <= valid["kept"] <= 1
    assert 0.5 < test["auroc"] <= 1
    assert valid["accuracy_answered"] >= 0.9
    assert "temperature" in (run.bundle / "README.md").read_text()
    bundle = adaptune.load(run.bundle)
    texts = ["the town was wonderful today", "please send house 1 by bus from london"]
    found = bundle.predict(texts)
    assert [one["abstained"] for one in found] == [
        one["probability"] < calibration["abstain"]["below"] for one in found
    ]
    assert found[0]["out_of_scope_score"] < found[1]["out_of_scope_score"]
    records = list(read_json_lines(tmp_path / "run" / "predictions.jsonl"))
    answered = [one for one in records if not one["abstained"]]
    assert len(answered) / len(records) == pytest.approx(test["answered"])
    right = [one["predicted"] == one["expected"] for one in answered]
    assert sum(right) / len(right) == pytest.approx(test["accuracy_answered"])
    assert 1 - sum(one["out_of_scope"] for one in records) / len(records) == pytest.approx(test["kept"])
    _same_from_a_server(run.bundle, texts, found)


def _same_from_a_server(folder: Path, texts: list[str], found: list[dict[str, object]]) -> None:
    model = json.loads((folder / "manifest.json").read_text())["base"]["name"]
    pool = Pool(load_backbone(ModelConfig(name=model)))
    pool.register(folder, "reviews")
    with TestClient(make_app(pool, ServeConfig(root=folder.parent))) as client:
        told = client.post("/v1/predict", json={"bundle": "reviews", "inputs": texts}).json()["answers"]
    for mine, theirs in zip(found, told, strict=True):
        assert {name: value for name, value in theirs.items() if value is not None} == {
            name: pytest.approx(value, abs=1e-5) if isinstance(value, float) else value for name, value in mine.items()
        }


def test_a_bundle_says_nothing_of_what_was_not_asked_for(recipe: Path) -> None:
    run = adaptune.train(recipe, "evaluate.calibrate=false")
    assert run.report["calibration"] is None
    assert "calibration" not in json.loads((run.bundle / "manifest.json").read_text())["parts"][0]
    assert set(adaptune.load(run.bundle).predict(["the film was good"])[0]) == {"label", "probability"}


def test_a_label_out_of_scope_must_be_learned(recipe: Path) -> None:
    with pytest.raises(
        DataError, match=r"data\.out_of_scope_label is 'positiv', which no training row has; did you mean"
    ):
        adaptune.train(recipe, "evaluate.out_of_scope=energy", "data.out_of_scope_label=positiv")


@pytest.mark.parametrize("score", ["probability", "energy", "mahalanobis"])
def test_rows_of_clinc150_out_of_scope_are_told(
    score: str, data: Callable[[str], Path], assets: Callable[[str], Path], tmp_path: Path
) -> None:
    """A linear head on frozen features, 20 intents: the scores tell most of what is none of them."""
    rows = json.loads((data("clinc150") / "data_full.json").read_text())
    intents = set(sorted({intent for _, intent in rows["train"]})[:20])
    for part, keys in {"train": "train", "valid": "val", "test": "test"}.items():
        some = [{"text": text, "label": intent} for text, intent in rows[keys] if intent in intents]
        some = some[::4] if part == "train" else some
        (tmp_path / f"{part}.jsonl").write_text("\n".join(map(json.dumps, some)))
    (tmp_path / "oos.jsonl").write_text("\n".join(json.dumps({"text": text}) for text, _ in rows["oos_test"][:200]))
    files = "".join(f"{part}: {tmp_path}/{part}.jsonl, " for part in ("train", "valid", "test"))
    (tmp_path / "recipe.yaml").write_text(
        f"task: classify\nmodel: {assets('minilm')}\nmethod: head_only\ntrain: {{epochs: 0, device: cpu}}\n"
        f"data: {{{files}out_of_scope: {tmp_path}/oos.jsonl}}\n"
        f"evaluate: {{out_of_scope: {score}, abstain: 0.98, baselines: false}}\nout: {tmp_path}/run\n"
    )
    run = adaptune.train(tmp_path / "recipe.yaml")
    test = run.report["calibration"]["measured"]["test"]
    assert test["auroc"] > 0.9
    assert 0.9 < test["kept"] <= 1
    assert test["ece"] <= test["ece_before"]
    assert test["accuracy_answered"] >= run.report["test"]["accuracy"]
