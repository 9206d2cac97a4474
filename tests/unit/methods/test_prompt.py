"""Embeddings in front of the input: read like words, invisible in what the trunk gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from adaptune.core.errors import Unsupported
from adaptune.core.types import Example, Labels, OfSequence, Row, Sequence
from adaptune.data.batches import collate
from adaptune.data.encode import encode
from adaptune.heads import HEADS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone

Make = Callable[..., Any]
FRONT = torch.tensor([7, 3, 9])
TEXTS = torch.tensor([[11, 12, 13, 14], [21, 22, 23, 24]])
ALONE = ("bert", "llama", "gpt2")


def _inputs(family: str, ids: Tensor, mask: Tensor, text: Tensor, text_mask: Tensor) -> dict[str, Tensor]:
    inputs = {"input_ids": ids, "attention_mask": mask}
    if family in ("t5", "bart"):
        inputs |= {"decoder_input_ids": text, "decoder_attention_mask": text_mask}
    return inputs


@pytest.mark.parametrize("family", ["bert", "llama", "gpt2", "t5", "bart"])
def test_a_prompt_of_words_is_read_as_these_words(tiny: Make, make: Make, family: str) -> None:
    model, method = tiny(family), make("prompt", length=3)
    trunk = model.changed(method)
    method.load(trunk, {"prompt": model.base.get_input_embeddings()(FRONT)})
    ones = torch.ones_like(TEXTS)
    whole = torch.cat([FRONT.expand(2, 3), TEXTS], dim=1)
    expected = model.base(**_inputs(family, whole, torch.ones_like(whole), TEXTS, ones)).last_hidden_state
    found = trunk(**_inputs(family, TEXTS, ones, TEXTS, ones)).last_hidden_state
    assert torch.allclose(found, expected[:, 3:] if family in ALONE else expected, atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "llama", "gpt2", "t5", "bart"])
def test_padding_does_not_change_a_text_behind_a_prompt(tiny: Make, make: Make, family: str) -> None:
    trunk = tiny(family).changed(make("prompt", length=3))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    ids = torch.cat([TEXTS, TEXTS[:, :1]], dim=1) * mask
    padded = trunk(**_inputs(family, ids, mask, ids, mask)).last_hidden_state
    short, ones = ids[1:, :3], mask[1:, :3]
    alone = trunk(**_inputs(family, short, ones, short, ones)).last_hidden_state
    assert padded.shape == (2, 5, 32)
    assert torch.allclose(padded[1, :3], alone[0], atol=1e-5)


def test_types_of_tokens_are_kept_for_the_text(tiny: Make, make: Make) -> None:
    model, method = tiny("bert"), make("prompt", length=3)
    trunk = model.changed(method)
    method.load(trunk, {"prompt": model.base.get_input_embeddings()(FRONT)})
    types = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]])
    whole = torch.cat([FRONT.expand(2, 3), TEXTS], dim=1)
    long_types = torch.cat([torch.zeros(2, 3, dtype=torch.long), types], dim=1)
    expected = model.base(input_ids=whole, token_type_ids=long_types).last_hidden_state[:, 3:]
    assert torch.allclose(trunk(input_ids=TEXTS, token_type_ids=types).last_hidden_state, expected, atol=1e-6)


def test_embeddings_may_stand_in_for_the_tokens(tiny: Make, make: Make) -> None:
    model = tiny("bert")
    trunk = model.changed(make("prompt", length=3))
    embedded = model.base.get_input_embeddings()(TEXTS)
    expected = trunk(input_ids=TEXTS).last_hidden_state
    assert torch.allclose(trunk(inputs_embeds=embedded).last_hidden_state, expected, atol=1e-6)


def test_the_seed_draws_the_words_that_a_prompt_starts_from(tiny: Make, make: Make) -> None:
    model, method = tiny("bert"), make("prompt", length=4)
    one, same, other = (method.state(model.changed(method, seed=seed))["prompt"] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    table = model.base.get_input_embeddings().weight
    assert all((table == row).all(dim=1).any() for row in one)


def test_a_random_prompt_lies_within_half_of_zero(tiny: Make, make: Make) -> None:
    prompt = tiny("bert").changed(make("prompt", initialisation="random", length=50)).prompt.detach()
    assert -0.5 <= float(prompt.min()) < -0.4
    assert 0.4 < float(prompt.max()) <= 0.5


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_behind_a_cache_the_prompt_is_read_once(tiny: Make, make: Make, family: str) -> None:
    trunk = tiny(family).changed(make("prompt", length=3))
    whole = trunk(input_ids=TEXTS, use_cache=False).last_hidden_state
    first = trunk(input_ids=TEXTS[:, :2], past_key_values=DynamicCache(), use_cache=True)
    assert first.last_hidden_state.shape[1] == 2
    rest = trunk(
        input_ids=TEXTS[:, 2:],
        attention_mask=torch.ones_like(TEXTS),
        position_ids=torch.arange(2, TEXTS.shape[1])[None],
        past_key_values=first.past_key_values,
        use_cache=True,
    )
    found = torch.cat([first.last_hidden_state, rest.last_hidden_state], dim=1)
    assert torch.allclose(found, whole, atol=1e-5)


def test_inputs_without_names_are_refused(tiny: Make, make: Make) -> None:
    trunk = tiny("gpt2").changed(make("prompt"))
    with pytest.raises(Unsupported, match="takes its inputs by name"):
        trunk(TEXTS, None)


def test_a_prompt_says_how_many_positions_it_adds(make: Make) -> None:
    assert make("prompt", length=7).positions == 7
    assert make("lora").positions == 0


def test_a_text_is_cut_so_that_a_prompt_has_room(tiny_bert: Path, make: Make) -> None:
    backbone = load_backbone(ModelConfig(name=str(tiny_bert)))
    labels = Labels(("no", "yes"))
    assembly = Assembly(backbone, make("prompt", length=20), HEADS.make({"name": "classify"}), labels, seed=0)
    assert (backbone.max_length, assembly.max_length) == (128, 108)
    example = Example(Row("rows.csv", 1, {}), (Sequence("word " * 300, target=OfSequence("no")),), "no")
    encoded = encode([example], backbone.tokenizer, labels, max_length=assembly.max_length, segments=True)
    assert assembly.eval().hidden(collate(encoded, backbone.tokenizer.pad_token_id)).shape == (1, 108, 32)
    assert Assembly(backbone, make("lora"), HEADS.make({"name": "classify"}), labels, seed=0).max_length == 128


def test_a_prompt_that_leaves_no_room_is_refused(tiny_bert: Path, make: Make) -> None:
    backbone = load_backbone(ModelConfig(name=str(tiny_bert)))
    with pytest.raises(
        Unsupported, match=r"'prompt' adds 121 positions, and the model reads 128 tokens; .* at least 8"
    ):
        Assembly(backbone, make("prompt", length=121), HEADS.make({"name": "classify"}), Labels(("no", "yes")), seed=0)
