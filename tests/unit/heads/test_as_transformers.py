"""For every family: the layer is what transformers has on top, and a whole model loads there with equal logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.types import Labels
from adaptune.heads.as_transformers import AsTransformers, last_linear, logits_of
from adaptune.models.config import ModelConfig
from adaptune.models.families import FAMILIES, fitted, roles_of
from adaptune.models.load import load_backbone

LABELS = Labels(("bad", "good", "so so"), counts=(1, 2, 3))
IDS = torch.tensor([[5, 8, 13, 21, 34], [4, 7, 11, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
ENCODERS = ["bert", "distilbert", "roberta", "xlm-roberta", "deberta-v2", "electra", "albert", "mpnet", "modernbert"]
DECODERS = ["llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "gpt2"]
SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
MORE: dict[str, dict[str, Any]] = {name: {"head_dim": 8, "num_key_value_heads": 1} for name in DECODERS}
MORE |= {"electra": {"embedding_size": 12}, "albert": {"embedding_size": 12}}
MORE |= {"modernbert": {"cls_token_id": 0, "sep_token_id": 2}, "gpt2": {}}


def backbone_of(family: str) -> Backbone:
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **(SIZES | MORE.get(family, {})))
    bare = {"add_pooling_layer": False} if FAMILIES[family].pooler else {}
    trunk = AutoModel.from_config(config, **bare).eval().requires_grad_(False)
    return Backbone(
        whole=trunk,
        trunk=trunk,
        vocabulary=None,
        roles=fitted(roles_of(config.to_dict()), trunk),
        tokenizer=None,
        name=family,
        revision=None,
        fingerprint="",
        pooling="mean",
        max_length=18,
    )


def batch(**changes: Any) -> Batch:
    return Batch(**({"rows": torch.arange(2), "mask": MASK, "ids": IDS, "labels": torch.tensor([2, 0])} | changes))


def hidden_of(backbone: Backbone) -> torch.Tensor:
    with torch.no_grad():
        hidden: torch.Tensor = backbone.trunk(input_ids=IDS, attention_mask=MASK).last_hidden_state
    return hidden


@pytest.mark.parametrize("family", ENCODERS + DECODERS)
def test_the_model_put_together_loads_in_transformers_with_equal_logits(family: str, tmp_path: Path) -> None:
    backbone = backbone_of(family)
    head = AsTransformers()
    layer = head.build(backbone, LABELS).eval()
    logits = logits_of(layer, hidden_of(backbone), batch())
    assert logits.shape == (2, 3)
    whole = head.whole(layer, backbone.trunk, LABELS)
    whole.model.save_pretrained(tmp_path)
    loaded, report = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    with torch.no_grad():
        theirs = loaded.eval()(input_ids=IDS, attention_mask=MASK).logits
    torch.testing.assert_close(theirs, logits, rtol=0, atol=1e-6)
    assert whole.auto == "AutoModelForSequenceClassification"
    assert loaded.config.id2label == {0: "bad", 1: "good", 2: "so so"}


@pytest.mark.parametrize("family", ENCODERS + DECODERS)
def test_the_layer_holds_nothing_of_the_trunk(family: str) -> None:
    backbone = backbone_of(family)
    layer = AsTransformers().build(backbone, LABELS)
    trunk = set(dict(backbone.trunk.named_parameters()))
    prefix = layer.base_model_prefix
    assert not {name.removeprefix(f"{prefix}.") for name in layer.state_dict()} & trunk
    assert sum(p.numel() for p in layer.parameters()) <= 16 * 16 + 16 + 16 + 3 * 16 + 3
    assert all(p.isfinite().all() and p.abs().max() < 2 for p in layer.parameters())


@pytest.mark.parametrize("family", ENCODERS + DECODERS)
def test_features_are_what_the_last_linear_layer_reads(family: str) -> None:
    backbone = backbone_of(family)
    head = AsTransformers()
    layer = head.build(backbone, LABELS).eval()
    features = head.features(layer, hidden_of(backbone), batch())
    last = layer.get_submodule(last_linear(layer))
    assert features.shape == (2, last.in_features)
    torch.testing.assert_close(last(features), logits_of(layer, hidden_of(backbone), batch()))


@pytest.mark.parametrize("family", ENCODERS + DECODERS)
def test_padding_does_not_change_an_answer(family: str) -> None:
    backbone = backbone_of(family)
    layer = AsTransformers().build(backbone, LABELS).eval()
    hidden = hidden_of(backbone)
    short = batch(rows=torch.tensor([1]), ids=IDS[1:, :3], mask=MASK[1:, :3])
    torch.testing.assert_close(
        logits_of(layer, hidden[1:, :3], short)[0], logits_of(layer, hidden, batch())[1], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("family", ENCODERS + DECODERS)
def test_embeddings_in_the_place_of_ids_give_the_same_logits(family: str) -> None:
    backbone = backbone_of(family)
    layer = AsTransformers().build(backbone, LABELS).eval()
    hidden = hidden_of(backbone)
    without = logits_of(layer, hidden, batch(ids=None, embeddings=torch.zeros(2, 5, 16)))
    assert torch.equal(without, logits_of(layer, hidden, batch()))


def test_only_layers_with_a_bias_are_warm_started() -> None:
    head = AsTransformers()
    assert head.linear(head.build(backbone_of("bert"), LABELS)) is not None
    assert head.linear(head.build(backbone_of("llama"), LABELS)) is None


def test_the_seed_decides_the_first_weights() -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return AsTransformers().build(backbone, LABELS).classifier.weight

    backbone = backbone_of("bert")
    assert torch.equal(first(3), first(3))
    assert not torch.equal(first(3), first(4))


def test_a_pooler_starts_from_the_stored_one(tiny_bert: Path) -> None:
    backbone = load_backbone(ModelConfig(name=str(tiny_bert)))
    layer = AsTransformers().build(backbone, LABELS)
    stored = AutoModel.from_pretrained(tiny_bert).pooler.state_dict()
    assert {name: tensor.shape for name, tensor in stored.items()} == {"dense.weight": (32, 32), "dense.bias": (32,)}
    assert all(torch.equal(layer.state_dict()[f"bert.pooler.{name}"], tensor) for name, tensor in stored.items())


def test_the_loss_weighs_classes_and_sums_over_rows() -> None:
    backbone = backbone_of("bert")
    head = AsTransformers(class_weights="balanced", label_smoothing=0).settled(backbone, LABELS)
    layer = head.build(backbone, LABELS).eval()
    found = head.loss(layer, hidden_of(backbone), batch())
    logits = logits_of(layer, hidden_of(backbone), batch()).log_softmax(dim=-1)
    weights = torch.tensor([6 / 3, 6 / 6, 6 / 9])
    torch.testing.assert_close(found.total, -(weights[2] * logits[0, 2] + weights[0] * logits[1, 0]))
    torch.testing.assert_close(found.items, weights[2] + weights[0])


def test_a_grown_layer_keeps_the_rows_of_old_labels_and_its_pooler() -> None:
    backbone = backbone_of("bert")
    head = AsTransformers()
    old = head.build(backbone, LABELS)
    more = LABELS.extended(Labels(("new",)))
    layer = head.build(backbone, more)
    fresh = layer.classifier.weight[3].clone()
    head.grown(layer, old.state_dict(), LABELS, more)
    assert torch.equal(layer.classifier.weight[:3], old.classifier.weight)
    assert torch.equal(layer.classifier.weight[3], fresh)
    assert torch.equal(layer.bert.pooler.dense.weight, old.bert.pooler.dense.weight)


def test_models_of_two_stacks_are_refused() -> None:
    config = AutoConfig.for_model("t5", vocab_size=60, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2)
    trunk = AutoModel.from_config(config)
    roles = fitted(roles_of(config.to_dict()), trunk)
    backbone = Backbone(trunk, trunk, None, roles, None, "t5", None, "", "last", 18)
    with pytest.raises(Unsupported, match=r"'t5' has two stacks.*use head classify"):
        AsTransformers().build(backbone, LABELS)
