"""The norms that learn, and several sets of them in one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import GemmaConfig, GemmaModel, Qwen3Config, Qwen3Model

from adaptune.core.errors import Unsupported
from adaptune.core.method import Member, Rows
from adaptune.methods.norms import Norms
from adaptune.models.families import fitted, roles_of
from adaptune.models.share import share

Make = Callable[..., Any]
SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 64,
}


def _learns(trunk: nn.Module) -> set[str]:
    return {name for name, parameter in trunk.named_parameters() if parameter.requires_grad}


def test_gains_and_biases_of_all_norms_learn_and_nothing_else(tiny: Make, make: Make) -> None:
    parts = ["embeddings.LayerNorm"]
    for layer in range(2):
        parts += [f"encoder.layer.{layer}.attention.output.LayerNorm", f"encoder.layer.{layer}.output.LayerNorm"]
    expected = {f"{part}.{leaf}" for part in parts for leaf in ("weight", "bias")}
    assert _learns(tiny("bert").changed(make("norms"))) == expected


def test_norms_of_queries_and_keys_learn_too() -> None:
    base = Qwen3Model(Qwen3Config(**SMALL)).requires_grad_(False)
    assert {"layers.0.self_attn.q_norm.weight", "layers.0.self_attn.k_norm.weight"} <= _learns(_with_norms(base))


@pytest.mark.parametrize(
    "build",
    [lambda: GemmaModel(GemmaConfig(**SMALL)), lambda: Qwen3Model(Qwen3Config(**SMALL))],
    ids=["gemma", "qwen3"],
)
def test_rows_with_other_norms_keep_the_familys_own_formula(
    make: Make, moved: Make, build: Callable[[], nn.Module]
) -> None:
    base = build().eval().requires_grad_(False)
    trunks = [_with_norms(base), _with_norms(base)]
    method, rows = make("norms"), Rows(torch.tensor([1, 0]))
    members = [Member(method, moved(method, trunk, seed)) for seed, trunk in enumerate(trunks)]
    mixed = method.mixed(share(base), members, rows)
    ids = torch.arange(10).reshape(2, 5)
    one, two = (trunk(input_ids=ids).last_hidden_state for trunk in trunks)
    assert torch.allclose(mixed(input_ids=ids).last_hidden_state, torch.stack([two[0], one[1]]), atol=1e-5)


def test_a_model_without_norms_is_refused(tiny: Make, make: Make) -> None:
    with pytest.raises(Unsupported, match=r"'norms' trains layer norms, and this bert model has none .* use lora"):
        make("norms").apply(nn.Linear(2, 2), tiny("bert").roles)


def test_norms_mix_with_norms_alone(tiny: Make, make: Make) -> None:
    with pytest.raises(Unsupported, match="'full' does not mix with bundles of method 'norms'"):
        make("norms").mixed(share(tiny("bert").base), [Member(make("full"), {})], Rows())


def _with_norms(base: Any) -> nn.Module:
    return Norms().apply(share(base), fitted(roles_of(base.config.to_dict()), base)).eval()
