"""The model card: what the hub reads, and what people do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard

from adaptune.bundle.card import card
from adaptune.bundle.config import BundleConfig
from adaptune.bundle.made import Made, portable
from adaptune.bundle.manifest import Manifest

from .conftest import Saved
from .test_manifest import MANIFEST


def _front(text: str) -> dict[str, Any]:
    front: dict[str, Any] = yaml.safe_load(text.split("---")[1])
    return front


def _manifest(**base: str) -> Manifest:
    return Manifest.model_validate({**MANIFEST, "base": {**MANIFEST["base"], **base}})


def test_the_metadata_are_the_hubs() -> None:
    config = BundleConfig(name="Reviews", dataset="my-reviews", language=("en",), license="apache-2.0")
    front = _front(card(_manifest(name="org/bert-tiny"), config, metric="accuracy", peft=False))
    assert front["base_model"] == "org/bert-tiny"
    assert front["library_name"] == "adaptune"
    assert front["pipeline_tag"] == "text-classification"
    assert front["tags"] == ["adaptune", "classify", "head_only"]
    assert (front["language"], front["license"], front["metrics"]) == (["en"], "apache-2.0", ["accuracy"])
    result = front["model-index"][0]["results"][0]
    assert front["model-index"][0]["name"] == "Reviews"
    assert result["dataset"] == {"name": "my-reviews", "type": "my-reviews", "split": "test"}
    assert result["metrics"] == [{"type": "accuracy", "value": 0.5}]


def test_what_is_not_told_is_left_out() -> None:
    front = _front(card(_manifest(), BundleConfig(), metric="accuracy", peft=False))
    assert {"language", "license"}.isdisjoint(front)


def test_a_card_tells_no_path_of_the_machine_that_wrote_it() -> None:
    text = card(_manifest(name="/srv/models/secret-client/bert"), BundleConfig(), metric="accuracy", peft=True)
    assert "secret-client" not in text
    assert "base_model" not in _front(text)
    assert "`bert`" in text


def test_the_main_metric_stands_first() -> None:
    scores = {"test": {"values": {"macro_f1": 0.25, "accuracy": 0.5}, "per_class": {}, "confusion": [], "classes": []}}
    text = card(Manifest.model_validate({**MANIFEST, "scores": scores}), BundleConfig(), metric="accuracy", peft=False)
    assert "| split | accuracy | macro_f1 |\n| --- | --- | --- |\n| test | 0.5000 | 0.2500 |" in text


def test_a_calibration_stands_below_the_scores() -> None:
    part = {**MANIFEST["parts"][0], "calibration": {"temperature": 0.5, "abstain": {"accuracy": 0.9, "below": 0.75}}}
    text = card(Manifest.model_validate({**MANIFEST, "parts": [part]}), BundleConfig(), metric="accuracy", peft=False)
    assert "\n- temperature 0.5, fitted on validation rows\n- abstains below probability 0.75\n\n## Labels" in text
    assert "temperature" not in card(_manifest(), BundleConfig(), metric="accuracy", peft=False)


def test_a_folder_that_peft_loads_says_so(saved: Saved) -> None:
    lora, bitfit = [
        (saved(method, name=method) / "README.md").read_text(encoding="utf-8") for method in ("lora", "bitfit")
    ]
    assert _front(lora)["library_name"] == "peft"
    assert "PeftModel.from_pretrained" in lora
    assert "PeftModel" not in bitfit


def test_a_card_is_whole_markdown(saved: Saved) -> None:
    text = (Path(saved("lora")) / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\n")
    assert "{" not in text.split("---", 2)[2]


RECIPE = """task: {name: classify}
data: {train: /srv/client/train.csv, test: data/test.csv, columns: {label: category}}
model: {name: 'C:\\models\\bert', revision: null}
out: /srv/client/runs/reviews
"""
MADE = Made(
    recipe=RECIPE,
    rows={"train": 900, "valid": 100, "test": 250},
    interval="accuracy 0.5000 (95% interval 0.4400 to 0.5600)",
    baselines={"majority": 0.25},
)


def test_the_hubs_own_library_reads_the_metadata_back() -> None:
    """As its validation does before it asks the hub: known fields, results with a metric, a task and a data set."""
    config = BundleConfig(name="Reviews", dataset="my-reviews", language=("en",), license="apache-2.0")
    read = ModelCard(card(_manifest(name="org/bert-tiny"), config, metric="accuracy", peft=True, made=MADE))
    assert read.data.eval_results == [
        EvalResult(
            task_type="text-classification",
            dataset_type="my-reviews",
            dataset_name="my-reviews",
            dataset_split="test",
            metric_type="accuracy",
            metric_value=0.5,
        )
    ]
    assert (read.data.model_name, read.data.base_model, read.data.license) == ("Reviews", "org/bert-tiny", "apache-2.0")
    assert (read.data.library_name, read.data.language, read.data.metrics) == ("peft", ["en"], ["accuracy"])
    assert ModelCard(str(read)).data.to_dict() == read.data.to_dict()


def test_a_card_tells_use_limits_data_and_how_to_make_it_again() -> None:
    scores = {"values": {"accuracy": 0.5}, "per_class": {}, "confusion": [], "classes": []}
    row = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 3.0}
    scores["per_class"] = {"good": row, "bad": {**row, "f1": 0.9}, "unseen": {**row, "f1": 0.0, "support": 0.0}}
    manifest = Manifest.model_validate({**MANIFEST, "scores": {"test": scores}})
    config = BundleConfig(dataset="my-reviews", language=("en",))
    text = card(manifest, config, metric="accuracy", peft=False, made=MADE)
    for said in (
        "## Intended use\n\nFor text classification on texts in en like those that it was trained on",
        "- Texts that belong to none of its labels are not told",
        "- Weakest by F1 on test rows: `good` (0.50).",
        "- Scores are of 250 test rows",
        "- One pass reads 128 tokens",
        "## Data\n\nData set: my-reviews.\nRows: 900 train, 100 valid, 250 test.",
        "Test accuracy 0.5000 (95% interval 0.4400 to 0.5600); plain models on the same rows: `majority` 0.2500.",
        "adaptune train recipe.yaml",
    ):
        assert said in text
    assert "client" not in text


def test_a_card_of_a_bundle_that_no_recipe_made_promises_no_recipe() -> None:
    text = card(_manifest(), BundleConfig(), metric="accuracy", peft=False)
    assert "## Reproduce" not in text
    assert "## Data" not in text
    assert "## Limits" in text


def test_a_recipe_for_others_names_no_folder_of_the_machine() -> None:
    assert yaml.safe_load(portable(RECIPE)) == {
        "task": {"name": "classify"},
        "data": {"train": "train.csv", "test": "data/test.csv", "columns": {"label": "category"}},
        "model": {"name": "bert", "revision": None},
    }
