"""The model card: what the hub reads, and what people do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from adaptune.bundle.card import card
from adaptune.bundle.config import BundleConfig
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
