"""Training that goes on from a bundle: same weights, labels in their order, a lineage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from adaptune.bundle.answers import answer
from adaptune.bundle.load import load_bundle
from adaptune.bundle.manifest import Ancestor
from adaptune.bundle.start import continue_from, continued_labels
from adaptune.core.backbone import Backbone
from adaptune.core.errors import BundleError, Unsupported
from adaptune.core.types import Labels, Row
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.tasks import TASKS
from adaptune.tasks.classify import Classify

from .conftest import LABELS, Saved, save

EXAMPLES = [Classify().example(Row("here", 1, {"text": "The film was great"}))]


def _fresh(backbone: Backbone, method: str, labels: Labels, head: str = "classify", **settings: Any) -> Assembly:
    return Assembly(backbone, METHODS.make({"name": method, **settings}), HEADS.make({"name": head}), labels, seed=5)


@pytest.mark.parametrize("method", ["lora", "bitfit", "full", "head_only"])
def test_a_run_starts_as_the_bundle_left_off(saved: Saved, bert: Backbone, method: str) -> None:
    folder = saved(method, name="first")
    assembly = _fresh(bert, method, LABELS)
    lineage = continue_from(assembly, Classify(), folder)
    bundle = load_bundle(folder, backbone=bert)
    assert answer(assembly, EXAMPLES, max_length=64) == bundle.answers(EXAMPLES)
    assert lineage == (Ancestor(name="first", weights=bundle.manifest.weights),)
    assert assembly.training


def test_what_goes_on_learns_as_before(saved: Saved, bert: Backbone) -> None:
    assembly = _fresh(bert, "lora", LABELS)
    learning = {name for name, parameter in assembly.named_parameters() if parameter.requires_grad}
    continue_from(assembly, Classify(), saved("lora"))
    assert {name for name, parameter in assembly.named_parameters() if parameter.requires_grad} == learning


@pytest.mark.parametrize("head", ["classify", "as_transformers"])
def test_new_labels_get_new_rows_and_old_ones_keep_theirs(saved: Saved, bert: Backbone, head: str) -> None:
    folder = saved("lora", head)
    labels = continued_labels(folder, Classify(), Labels(("angry", "good", "zen"), (5, 6, 7)))
    assert labels.names == ("bad", "good", "neither", "angry", "zen")
    assert labels.counts == (0, 6, 0, 5, 7)
    assembly = _fresh(bert, "lora", labels, head)
    fresh = {name: tensor.clone() for name, tensor in assembly.layer.state_dict().items()}
    continue_from(assembly, Classify(), folder)
    old = load_bundle(folder, backbone=bert).assembly.layer.state_dict()
    for name, tensor in assembly.layer.state_dict().items():
        if tensor.shape == old[name].shape:
            assert torch.equal(tensor, old[name])
        else:
            assert torch.equal(tensor[:3], old[name])
            assert torch.equal(tensor[3:], fresh[name][3:])


def test_a_bundle_of_another_task_lends_its_trunk_alone(saved: Saved, bert: Backbone) -> None:
    folder = saved("lora")
    tags = Labels(("O", "B-place", "I-place"))
    task = TASKS.make({"name": "tag"})
    assert continued_labels(folder, task, tags) == tags
    assembly = _fresh(bert, "lora", tags, "tag")
    head = {name: tensor.clone() for name, tensor in assembly.layer.state_dict().items()}
    continue_from(assembly, task, folder)
    theirs = load_bundle(folder, backbone=bert).assembly
    assert all(torch.equal(a, b) for a, b in zip(assembly.trunk.parameters(), theirs.trunk.parameters(), strict=True))
    assert all(torch.equal(tensor, head[name]) for name, tensor in assembly.layer.state_dict().items())


def test_the_lineage_grows_and_the_start_is_no_setting(saved: Saved, bert: Backbone, tmp_path: Path) -> None:
    first = saved("lora", name="first")
    assembly = _fresh(bert, "lora", LABELS, start=str(first))
    manifest = save(tmp_path / "second", assembly, lineage=continue_from(assembly, Classify(), first))
    assert "start" not in manifest.method
    third = continue_from(_fresh(bert, "lora", LABELS), Classify(), tmp_path / "second")
    assert [ancestor.name for ancestor in third] == ["first", "second"]
    assert third[1].weights == manifest.weights


def test_another_method_is_refused(saved: Saved, bert: Backbone) -> None:
    with pytest.raises(
        Unsupported, match="the bundle 'reviews', made with the method 'lora', and this run's is 'bitfit'"
    ):
        continue_from(_fresh(bert, "bitfit", LABELS), Classify(), saved("lora", name="reviews"))


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"rank": 4}, "rank is 4 here and 8 in the bundle"),
        ({"targets": "query_value"}, "targets is 'query_value' here and 'attention' in the bundle"),
        ({"alpha": 32}, r"alpha is 32\.0 here and 16\.0 in the bundle"),
    ],
    ids=["shapes differ", "tensors are missing", "weights would count for more"],
)
def test_settings_with_which_the_weights_mean_something_else_are_refused(
    saved: Saved, bert: Backbone, setting: dict[str, Any], told: str
) -> None:
    with pytest.raises(Unsupported, match=told):
        continue_from(_fresh(bert, "lora", LABELS, **setting), Classify(), saved("lora"))


def test_settings_of_training_may_change(saved: Saved, bert: Backbone) -> None:
    continue_from(_fresh(bert, "lora", LABELS, dropout=0.3), Classify(), saved("lora"))


def test_another_base_is_refused(saved: Saved, tiny_bert: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    BertModel(BertConfig.from_pretrained(tiny_bert)).save_pretrained(tmp_path / "other")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "other" / name).write_bytes((tiny_bert / name).read_bytes())
    other = load_backbone(ModelConfig(name=str(tmp_path / "other")))
    with pytest.raises(BundleError, match=r"was trained on .* this is .*other"):
        continue_from(_fresh(other, "lora", LABELS), Classify(), saved("lora"))
