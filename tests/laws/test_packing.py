"""What packing keeps: several sequences in one row give the loss and the gradients that each gives by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoTokenizer,
    Gemma3TextConfig,
    Gemma3TextModel,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch, Encoded
from adaptune.core.errors import Unsupported
from adaptune.core.types import Labels
from adaptune.data.batches import collate, joined
from adaptune.engine.config import TrainConfig
from adaptune.engine.packing import packs
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models import assembly as assembly_module
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.models.ragged import is_ragged

FAMILIES = ("llama", "gpt2", "qwen3", "gemma3")
SHORT = {"prompt": {"length": 5}, "ptuning": {"length": 5}, "prefix": {"length": 5}, "top_layers": {"layers": 1}}
METHOD_NAMES = [name for name in METHODS.names() if METHODS.get(name).changes_trunk]
Find = Callable[[str], Backbone]


@pytest.fixture(scope="session")
def decoder(backbone_of: Callable[..., Backbone], tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Find:
    """decoder("qwen3"): a tiny one with its words; gemma3 reads in every second layer 6 tokens back at most."""
    loaded: dict[str, Backbone] = {}

    def find(family: str) -> Backbone:
        if family in ("llama", "gpt2"):
            return backbone_of(family, words=True)
        if family not in loaded:
            folder = _build(family, tiny_llama, tmp_path_factory.mktemp("decoders") / family)
            loaded[family] = load_backbone(ModelConfig(name=str(folder)), words=True)
        return loaded[family]

    return find


def _build(family: str, with_tokenizer: Path, folder: Path) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(with_tokenizer)
    size = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
    }
    torch.manual_seed(0)
    model: PreTrainedModel
    if family == "qwen3":
        model = Qwen3ForCausalLM(Qwen3Config(**size))
    else:
        layers = ["sliding_attention", "full_attention"]
        model = Gemma3TextModel(Gemma3TextConfig(**size, sliding_window=6, layer_types=layers, pad_token_id=0))
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _assembled(backbone: Backbone, method: str, head: str = "generate") -> Assembly:
    """Without dropout; moved away from its start. Skips what a method refuses."""
    made = HEADS.make({"name": head, **({"max_new_tokens": 12} if head == "generate" else {})})
    try:
        assembly = Assembly(backbone, METHODS.make({"name": method, **SHORT.get(method, {})}), made, Labels(()), seed=0)
    except Unsupported as refusal:
        pytest.skip(str(refusal))
    generator = torch.Generator().manual_seed(7)
    moved = {
        name: tensor + 0.05 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in assembly.state().items()
    }
    assembly.load(moved)
    for module in assembly.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return assembly.train()


def _learned(assembly: Assembly, batch: Batch) -> tuple[float, float, dict[str, Tensor]]:
    """Loss, its count, and the gradient of every weight that learns."""
    assembly.zero_grad()
    loss = assembly(batch)
    loss.total.backward()
    gradients = {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
        for name, weight in assembly.named_parameters()
        if weight.requires_grad
    }
    return loss.total.item(), loss.items.item(), gradients


def _equal(one: tuple[float, float, dict[str, Tensor]], other: tuple[float, float, dict[str, Tensor]]) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    assert one[1] == other[1] > 0
    size = sum(float(gradient.square().sum()) for gradient in one[2].values())
    difference = sum(float((gradient - other[2][name]).square().sum()) for name, gradient in one[2].items())
    assert size > 0
    assert (difference / size) ** 0.5 < 1e-5


def _packed(assembly: Assembly) -> bool:
    config = TrainConfig.model_validate({"packing": True})
    return packs(config, assembly.method, assembly.head, assembly.backbone.roles)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("method", "head"), [*((name, "generate") for name in METHOD_NAMES), ("lora", "words")])
def test_a_packed_batch_gives_the_loss_and_the_gradients_of_a_padded_one(
    decoder: Find, encoded_for: Callable[..., list[Encoded]], method: str, family: str, head: str
) -> None:
    assembly = _assembled(decoder(family), method, head)
    if assembly.method.adds_positions:
        with pytest.raises(Unsupported, match=f"train.packing is true, and method '{method}' puts positions in front"):
            _packed(assembly)
        return
    assert _packed(assembly)
    encoded = encoded_for(assembly, rows=9)
    padded = collate(encoded, assembly.backbone.tokenizer.pad_token_id)
    assert len({len(one.ids) for one in encoded}) > 3
    _equal(_learned(assembly, joined(encoded)), _learned(assembly, padded))


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_and_attention_within_each_sequence_give_the_same(
    decoder: Find, encoded_for: Callable[..., list[Encoded]], monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    assembly = _assembled(decoder(family), "lora")
    packed = joined(encoded_for(assembly, rows=9))
    assert is_ragged(assembly.trunk)
    within = _learned(assembly, packed)
    monkeypatch.setattr(assembly_module, "is_ragged", lambda trunk: False)
    _equal(within, _learned(assembly, packed))
    assert is_ragged(assembly.trunk), "a packed pass leaves the trunk as it was"


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_that_are_computed_anew_stay_apart_too(
    decoder: Find, encoded_for: Callable[..., list[Encoded]], family: str
) -> None:
    assembly = _assembled(decoder(family), "lora")
    encoded = encoded_for(assembly, rows=9)
    padded = collate(encoded, assembly.backbone.tokenizer.pad_token_id)
    expected = _learned(assembly, padded)
    assembly.recomputes = True
    _equal(_learned(assembly, joined(encoded)), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_sequence_reads_another(decoder: Find, encoded_for: Callable[..., list[Encoded]], family: str) -> None:
    assembly = _assembled(decoder(family), "lora").eval()
    encoded = encoded_for(assembly, rows=4)
    with torch.inference_mode():
        together = assembly.hidden(joined(encoded))[0]
        start = 0
        for one in encoded:
            alone = assembly.hidden(collate([one], 0))[0]
            assert torch.allclose(together[start : start + len(one.ids)], alone, atol=1e-5)
            start += len(one.ids)


REFUSED: list[tuple[dict[str, Any], str, str, str]] = [
    ({"name": "lora"}, "generate", "t5", "models of the family 't5' are no decoders of one stack"),
    ({"name": "lora"}, "words", "bert", "models of the family 'bert' are no decoders of one stack"),
    ({"name": "lora"}, "tag", "llama", "head 'tag' does not learn the tokens of texts"),
    ({"name": "ptuning"}, "generate", "llama", "method 'ptuning' puts positions in front of every sequence"),
]


@pytest.mark.parametrize(("method", "head", "family", "why"), REFUSED)
def test_what_cannot_be_packed_is_refused_by_name_and_left_alone_by_auto(
    backbone_of: Callable[..., Backbone], method: dict[str, Any], head: str, family: str, why: str
) -> None:
    parts = METHODS.make(method), HEADS.make({"name": head}), backbone_of(family).roles
    with pytest.raises(Unsupported, match=f"train.packing is true, and {why}.*; set train.packing=auto"):
        packs(TrainConfig(packing=True), *parts)
    assert not packs(TrainConfig(), *parts)


def test_auto_packs_where_attention_leaves_out_what_lies_between_sequences(
    backbone_of: Callable[..., Backbone],
) -> None:
    parts = METHODS.make({"name": "lora"}), HEADS.make({"name": "generate"}), backbone_of("llama").roles
    assert packs(TrainConfig(), *parts)
    assert not packs(TrainConfig(packing=False), *parts)
    assert not packs(TrainConfig(), *parts, ragged=False)
    assert packs(TrainConfig(packing=True), *parts, ragged=False)
    assert not packs(TrainConfig(gradient_checkpointing=True), *parts)
