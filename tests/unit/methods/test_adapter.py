"""Bottleneck adapters: where they stand, what they compute, several in one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adaptune.core.errors import Unsupported
from adaptune.core.method import Member, Rows
from adaptune.models.families import FAMILIES
from adaptune.models.share import share

Make = Callable[..., Any]


def _places(trunk: nn.Module) -> list[str]:
    return [
        name.removesuffix(".adapter.up.weight")
        for name, _ in trunk.named_parameters()
        if name.endswith("up.weight") and "adapter" in name
    ]


def test_houlsby_stands_behind_attention_and_feed_forward_of_every_layer(tiny: Make, make: Make) -> None:
    assert _places(tiny("bert").changed(make("adapter", variant="houlsby"))) == [
        "encoder.layer.0.attention.output.dense",
        "encoder.layer.0.output.dense",
        "encoder.layer.1.attention.output.dense",
        "encoder.layer.1.output.dense",
    ]


def test_houlsby_stands_behind_what_reads_the_encoder_too(tiny: Make, make: Make) -> None:
    found = _places(tiny("t5").changed(make("adapter", variant="houlsby")))
    assert [name for name in found if name.startswith("decoder.block.1.")] == [
        "decoder.block.1.layer.0.SelfAttention.o",
        "decoder.block.1.layer.1.EncDecAttention.o",
        "decoder.block.1.layer.2.DenseReluDense.wo",
    ]


def test_the_first_layers_of_every_stack_go_without(tiny: Make, make: Make) -> None:
    found = _places(tiny("bart").changed(make("adapter", skip_layers=1)))
    assert found == ["encoder.layers.1.fc2", "decoder.layers.1.fc2"]
    assert make("adapter", skip_layers=1).first_layer(tiny("bert").base, tiny("bert").roles) == 1
    assert make("adapter", skip_layers=1).first_layer(tiny("bart").base, tiny("bart").roles) is None


def test_an_adapter_behind_a_matrix_reads_what_it_gives(tiny: Make, make: Make, moved: Make) -> None:
    model, method = tiny("gpt2"), make("adapter", variant="pfeiffer", reduction_factor=4, activation="gelu", scaling=3)
    trunk = model.changed(method)
    state = moved(method, trunk)
    x = torch.randn(2, 5, 128)
    with torch.no_grad():
        h = model.base.get_submodule("h.1.mlp.c_proj")(x)
        down, bias, up, shift = (state[f"h.1.mlp.c_proj.adapter.{leaf}"] for leaf in LEAVES)
        expected = h + 3 * (nn.functional.gelu(h @ down.T + bias) @ up.T + shift)
        assert torch.allclose(trunk.get_submodule("h.1.mlp.c_proj")(x), expected, atol=1e-5)


def test_a_parallel_adapter_reads_what_the_feed_forward_part_reads(tiny: Make, make: Make, moved: Make) -> None:
    model, method = tiny("llama"), make("adapter", variant="parallel", reduction_factor=4, scaling=4)
    trunk = model.changed(method)
    state = moved(method, trunk)
    x = torch.randn(2, 5, 32)
    down, bias = (state[f"layers.1.mlp.gate_proj.adapter.{leaf}"] for leaf in LEAVES[:2])
    up, shift = (state[f"layers.1.mlp.down_proj.adapter.{leaf}"] for leaf in LEAVES[2:])
    with torch.no_grad():
        expected = model.base.layers[1].mlp(x) + 4 * (torch.relu(x @ down.T + bias) @ up.T + shift)
        assert torch.allclose(trunk.get_submodule("layers.1.mlp")(x), expected, atol=1e-5)


LEAVES = ("down.weight", "down.bias", "up.weight", "up.bias")


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_adapters_of_every_kind_mix_in_one_batch(tiny: Make, make: Make, moved: Make, family: str) -> None:
    model = tiny(family)
    methods = [
        make("adapter", reduction_factor=4),
        make("adapter", variant="houlsby", reduction_factor=8, scaling=2),
        make("adapter", variant="parallel", reduction_factor=2, skip_layers=1),
        make("adapter", activation="tanh"),
    ]
    trunks = [model.changed(method) for method in methods]
    members = [Member(method, moved(method, trunk)) for method, trunk in zip(methods, trunks, strict=True)]
    # As a bundle gives it back: sorted by name.
    members = [Member(method, dict(sorted(state.items()))) for method, state in members]
    rows = Rows(torch.tensor([3, 2, 1, 0]))
    mixed = methods[0].mixed(share(model.base), members, rows)
    expected = torch.stack([model.hidden(trunks[member])[row] for row, member in enumerate([3, 2, 1, 0])])
    assert torch.allclose(model.hidden(mixed), expected, atol=1e-5)


def test_an_adapter_learns_in_fp32_on_a_bfloat16_base(tiny: Make, make: Make) -> None:
    model = tiny("bert", torch.bfloat16)
    trunk = model.changed(make("adapter", variant="parallel"))
    hidden: Tensor = model.hidden(trunk)
    assert hidden.dtype == torch.bfloat16
    assert torch.equal(hidden, model.hidden(model.base))
    hidden.float().square().mean().backward()
    learns = [parameter for parameter in trunk.parameters() if parameter.requires_grad]
    assert {parameter.dtype for parameter in learns} == {torch.float32}
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in learns)


def test_to_skip_every_layer_is_refused_before_weights_are_loaded(make: Make) -> None:
    with pytest.raises(Unsupported, match=r"skip_layers is 12, the model has 12 layers, .* use at most 11"):
        make("adapter", skip_layers=12).check(FAMILIES["bert"], 12)


def test_to_skip_layers_that_are_one_set_of_weights_is_refused(make: Make) -> None:
    with pytest.raises(Unsupported, match="'albert' use one set of weights at every depth; use skip_layers 0"):
        make("adapter", skip_layers=2).check(FAMILIES["albert"], 12)


def test_a_reduction_to_nothing_is_refused(tiny: Make, make: Make) -> None:
    with pytest.raises(Unsupported, match="reduction_factor is 64, more than the hidden size 32"):
        tiny("bert").changed(make("adapter", reduction_factor=64))


def test_adapters_mix_with_adapters_alone(tiny: Make, make: Make) -> None:
    with pytest.raises(Unsupported, match="'lora' does not mix with bundles of method 'adapter'"):
        make("adapter").mixed(share(tiny("bert").base), [Member(make("lora"), {})], Rows())
