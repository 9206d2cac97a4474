"""full, top_layers, bitfit, head_only, none: methods that train copies of base weights, or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from adaptune.core.errors import Unsupported
from adaptune.core.method import Member, Rows, learning
from adaptune.models.families import FAMILIES
from adaptune.models.share import share

Make = Callable[..., Any]


def _learns(trunk: nn.Module) -> set[str]:
    return {name for name, parameter in trunk.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("name", ["full", "top_layers", "bitfit"])
def test_what_learns_has_storage_of_its_own_and_all_else_is_shared(tiny: Make, make: Make, name: str) -> None:
    model = tiny("bert")
    trunk = model.changed(make(name))
    for path, parameter in trunk.named_parameters():
        shared = parameter.data_ptr() == model.base.get_parameter(path).data_ptr()
        assert shared != parameter.requires_grad, path


def test_full_trains_every_weight(tiny: Make, make: Make) -> None:
    trunk = tiny("gpt2").changed(make("full"))
    assert _learns(trunk) == {path for path, _ in trunk.named_parameters()}


def test_tied_weights_stay_tied_when_they_are_copied_and_when_they_are_loaded(tiny: Make, make: Make) -> None:
    model, method = tiny("t5"), make("full")
    trunk = model.changed(method)
    trunk.shared.weight.data.add_(1.0)
    assert torch.equal(trunk.encoder.embed_tokens.weight, trunk.shared.weight)
    fresh = model.changed(method)
    method.load(fresh, method.state(trunk))
    for embedding in (fresh.shared, fresh.encoder.embed_tokens, fresh.decoder.embed_tokens):
        assert torch.equal(embedding.weight, trunk.shared.weight)
    assert fresh.encoder.embed_tokens.weight is fresh.shared.weight
    assert learning(fresh.parameters()) == sum(parameter.numel() for parameter in model.base.parameters())


def test_a_loaded_state_must_have_the_right_shapes_and_names(tiny: Make, make: Make) -> None:
    model, method = tiny("bert"), make("bitfit")
    trunk = model.changed(method)
    name = "encoder.layer.0.output.dense.bias"
    with pytest.raises(ValueError, match=rf"{name} has shape \(5,\), expected \(32,\)"):
        method.load(trunk, {name: torch.zeros(5)})
    with pytest.raises(KeyError, match=r"no\.such\.weight"):
        method.load(trunk, {"no.such.weight": torch.zeros(5)})


@pytest.mark.parametrize(("family", "layer"), [("bert", "encoder.layer.1"), ("llama", "layers.1"), ("gpt2", "h.1")])
def test_top_layers_train_the_last_ones_and_the_norm_behind_them(
    tiny: Make, make: Make, family: str, layer: str
) -> None:
    model, method = tiny(family), make("top_layers", layers=1)
    trunk = model.changed(method)
    behind = {"bert": set(), "llama": {"norm.weight"}, "gpt2": {"ln_f.weight", "ln_f.bias"}}[family]
    inside = {path for path, _ in trunk.named_parameters() if path.startswith(f"{layer}.")}
    assert _learns(trunk) == inside | behind
    assert method.first_layer(trunk, model.roles) == 1


def test_more_layers_than_the_model_has_are_refused(tiny: Make, make: Make) -> None:
    with pytest.raises(Unsupported, match=r"method.layers is 3, the model has 2 layers; use at most 2"):
        tiny("bert").changed(make("top_layers", layers=3))
    with pytest.raises(Unsupported, match="use at most 12"):
        make("top_layers", layers=13).check(FAMILIES["bert"], 12)


def test_top_layers_refuse_a_model_whose_layers_are_one(make: Make) -> None:
    with pytest.raises(Unsupported, match=r"'top_layers' needs layers of their own, .*'albert'.*use lora or full"):
        make("top_layers").check(FAMILIES["albert"], 12)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_bitfit_refuses_a_model_without_biases(tiny: Make, make: Make, family: str) -> None:
    with pytest.raises(Unsupported, match=rf"'bitfit' trains bias terms, and this {family} model has none; use lora"):
        tiny(family).changed(make("bitfit"))


def test_bitfit_trains_every_bias_and_nothing_else(tiny: Make, make: Make) -> None:
    trunk = tiny("bart").changed(make("bitfit"))
    assert _learns(trunk) == {path for path, _ in trunk.named_parameters() if path.endswith("bias")}


def test_bitfit_mixes_with_bitfit_alone(tiny: Make, make: Make) -> None:
    with pytest.raises(Unsupported, match="'full' does not mix with bundles of method 'bitfit'"):
        make("bitfit").mixed(share(tiny("bert").base), [Member(make("full"), {})], Rows())


def test_a_bias_that_cannot_differ_by_row_is_named(make: Make) -> None:
    trunk, method = torch.nn.Sequential(torch.nn.Conv1d(2, 2, 1)), make("bitfit")
    with pytest.raises(Unsupported, match="'0' is a Conv1d, whose bias cannot differ by row; serve them in groups"):
        method.mixed(trunk, [Member(method, {"0.bias": torch.ones(2)})], Rows())


def test_head_only_leaves_the_trunk_as_it_is(tiny: Make, make: Make) -> None:
    model, method = tiny("bert"), make("head_only")
    trunk = model.changed(method)
    assert _learns(trunk) == set()
    assert method.state(trunk) == {}
    assert method.first_layer(trunk, model.roles) == 2


def test_none_leaves_the_trunk_as_it_is(tiny: Make, make: Make) -> None:
    model, method = tiny("bert"), make("none")
    trunk = model.changed(method)
    assert _learns(trunk) == set()
    assert method.state(trunk) == {}
    assert torch.equal(model.hidden(trunk), model.hidden(model.base))


@pytest.mark.parametrize("name", ["full", "top_layers", "bitfit"])
def test_nothing_below_what_learns_is_taken_for_frozen_in_two_stacks(tiny: Make, make: Make, name: str) -> None:
    model, method = tiny("bart"), make(name)
    assert method.first_layer(model.changed(method), model.roles) is None
