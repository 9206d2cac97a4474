"""A calibrated bundle: saved and loaded with equal answers, merged with equal probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from adaptune.bundle.load import Bundle, load_bundle
from adaptune.bundle.merge import merge
from adaptune.bundle.save import Taught, save_tasks
from adaptune.bundle.several import load_tasks
from adaptune.core.backbone import Backbone
from adaptune.core.calibration import Abstention, Calibrated, Calibration, Classes, Scope
from adaptune.core.errors import BundleError
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.joint import Joint, Output
from adaptune.tasks import TASKS

from .conftest import LABELS, TAGS, Trained, moved, save

WORTH = {"ece": 0.1, "ece_before": 0.2, "brier": 0.3, "brier_before": 0.4}
TEXTS = ["The film was great", "a slow and terrible book, never again", "rain"]


def _calibrated(above: float = 30.0) -> Calibrated:
    scope = Scope(score="mahalanobis", kept=0.95, above=above)
    generator = torch.Generator().manual_seed(2)
    means, root = torch.randn(3, 32, generator=generator), torch.randn(32, 32, generator=generator)
    return Calibrated(
        Calibration(
            temperature=0.4, abstain=Abstention(accuracy=0.9, below=0.6), scope=scope, measured={"test": WORTH}
        ),
        Classes(means, torch.eye(32) + root @ root.T / 32),
    )


def test_a_calibrated_bundle_is_loaded_with_equal_answers(trained: Trained, tmp_path: Path) -> None:
    assembly = trained("lora")
    assembly.calibrated = _calibrated()
    manifest = save(tmp_path / "saved", assembly)
    assert manifest.part.calibration == assembly.calibrated.by
    bundle = load_bundle(tmp_path / "saved", backbone=assembly.backbone)
    found = bundle.predict(TEXTS)
    assert found == Bundle("own", manifest, assembly.eval()).predict(TEXTS)
    assert set(found[0]) == {"label", "probability", "abstained", "out_of_scope", "out_of_scope_score"}
    tensors = load_file(tmp_path / "saved" / "weights.safetensors")
    assert [name for name in tensors if name.startswith("scope.")] == ["scope.means", "scope.precision"]


def test_the_temperature_of_a_bundle_is_checked_by_its_golden_examples(trained: Trained, tmp_path: Path) -> None:
    assembly = trained("lora")
    assembly.calibrated = Calibrated(Calibration(temperature=0.4))
    save(tmp_path / "saved", assembly)
    file = tmp_path / "saved" / "manifest.json"
    content = json.loads(file.read_text())
    content["parts"][0]["calibration"]["temperature"] = 1.0
    file.write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"golden example 1 .* gave the probability"):
        load_bundle(tmp_path / "saved", backbone=assembly.backbone)


def test_the_verdicts_of_a_bundle_are_checked_by_its_golden_examples(trained: Trained, tmp_path: Path) -> None:
    assembly = trained("lora")
    assembly.calibrated = Calibrated(Calibration(abstain=Abstention(accuracy=0.9, below=0.0)))
    manifest = save(tmp_path / "saved", assembly)
    assert {(one.abstained, one.out_of_scope) for one in manifest.golden} == {(False, None)}
    file = tmp_path / "saved" / "manifest.json"
    content = json.loads(file.read_text())
    content["parts"][0]["calibration"]["abstain"]["below"] = 1.0
    file.write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"golden example 1 .* gave the verdict abstained True, expected False"):
        load_bundle(tmp_path / "saved", backbone=assembly.backbone)


def test_each_of_several_tasks_has_its_own_calibration(bert: Backbone, tmp_path: Path) -> None:
    outputs = {
        "topic": Output(HEADS.make({"name": "classify"}), LABELS),
        "names": Output(HEADS.make({"name": "tag"}), TAGS),
    }
    joint = Joint(bert, METHODS.make({"name": "lora"}), outputs, seed=1).eval()
    moved(joint.of["topic"])
    joint.of["topic"].calibrated = _calibrated()
    joint.of["names"].calibrated = Calibrated(Calibration(temperature=2.0))
    tasks = {
        "topic": Taught(TASKS.make({"name": "classify"}), {}, {}),
        "names": Taught(TASKS.make({"name": "tag"}), {}, {}),
    }
    save_tasks(tmp_path / "saved", joint, tasks, max_length=64)
    loaded = load_tasks(tmp_path / "saved", backbone=bert)
    topic, names = (loaded.of(task).assembly.calibrated for task in ("topic", "names"))
    assert topic is not None
    assert names is not None
    assert (topic.by, names.by, names.classes) == (_calibrated().by, Calibration(temperature=2.0), None)
    assert topic.classes is not None
    torch.testing.assert_close(topic.classes.means, joint.of["topic"].calibrated.classes.means)  # type: ignore[union-attr]
    assert "scope.topic.means" in load_file(tmp_path / "saved" / "weights.safetensors")


def test_a_merged_model_has_the_calibrated_probabilities(trained: Trained, tmp_path: Path) -> None:
    assembly = trained("lora", "as_transformers")
    assembly.calibrated = Calibrated(Calibration(temperature=0.4))
    save(tmp_path / "saved", assembly)
    bundle = load_bundle(tmp_path / "saved", backbone=assembly.backbone)
    merged = merge(bundle, tmp_path / "merged")
    model = AutoModelForSequenceClassification.from_pretrained(merged.folder).eval()
    inputs = AutoTokenizer.from_pretrained(merged.folder)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        found = model(**inputs).logits.softmax(-1).amax(-1).tolist()
    assert found == pytest.approx([one["probability"] for one in bundle.predict(TEXTS)], abs=1e-5)
