"""LoRA's variants against plain formulas, and where peft alone goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from math import sqrt
from typing import Any

import peft
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.methods._one_product import _does, _OneProduct
from adaptune.methods._peft import matrix, tuner_layers

Make = Callable[..., Any]
QUERY = "encoder.layer.0.attention.self.query"


def _batches(*lengths: int) -> list[Batch]:
    """One batch a length; its second row is one token long."""
    batches = []
    for length in lengths:
        ids = (torch.arange(2 * length).reshape(2, length) * 7 + length) % 47 + 1
        mask = torch.ones_like(ids)
        mask[1, 1:] = 0
        batches.append(Batch(rows=torch.arange(2), mask=mask, ids=ids))
    return batches


def _seen(trunk: torch.nn.Module, path: str, batches: list[Batch]) -> Tensor:
    """(N, in) what a layer reads of the real tokens of batches."""
    found: list[Tensor] = []
    layer = trunk.get_submodule(path)
    handle = layer.register_forward_pre_hook(lambda _, given: found.append(given[0]))
    for batch in batches:
        trunk(input_ids=batch.ids, attention_mask=batch.mask)
    handle.remove()
    return torch.cat([x[batch.mask.bool()] for x, batch in zip(found, batches, strict=True)])


def _changed_matrix(trunk: torch.nn.Module, path: str) -> Tensor:
    """(out, in) by putting the unit vectors through the layer."""
    layer = trunk.get_submodule(path)
    inside = matrix(layer).shape[1]
    with torch.no_grad():
        found: Tensor = layer(torch.eye(inside)) - layer(torch.zeros(1, inside))
    return found.T


def test_the_change_is_b_a_by_alpha_over_the_rank(tiny: Make, make: Make, moved: Make) -> None:
    model, method = tiny("bert"), make("lora", rank=4, alpha=6)
    trunk = model.changed(method)
    state = moved(method, trunk)
    a, b = state[f"{QUERY}.lora_A.default.weight"], state[f"{QUERY}.lora_B.default.weight"]
    expected = matrix(model.base.get_submodule(QUERY)) + 6 / 4 * b @ a
    assert torch.allclose(_changed_matrix(trunk, QUERY), expected, atol=1e-5)


def _gradients(trunk: torch.nn.Module, hidden: Tensor) -> dict[str, Tensor]:
    """Of a sum with weights: that of squares behind a layer norm is the same whatever comes before it."""
    learned = {name: p for name, p in trunk.named_parameters() if p.requires_grad}
    weights = torch.arange(hidden.numel()).reshape(hidden.shape).mul(0.7).sin()
    return dict(zip(learned, torch.autograd.grad((hidden * weights).sum(), learned.values()), strict=True))


def test_one_product_gives_the_numbers_and_the_gradients_of_two(tiny: Make, make: Make, moved: Make) -> None:
    model, method = tiny("bert"), make("lora", rank=4, alpha=6, targets="all")
    trunk = model.changed(method)
    moved(method, trunk)
    layers = tuner_layers(trunk).values()
    assert all(_does(layer, torch.zeros(36, layer.in_features)) for layer in layers)
    hidden = model.hidden(trunk)
    ours = _gradients(trunk, hidden)
    for layer in layers:
        layer.__class__ = type(layer).__bases__[1]
    assert {type(layer) for layer in layers} == {peft.tuners.lora.Linear}
    expected = model.hidden(trunk)
    assert torch.allclose(hidden, expected, atol=1e-5)
    theirs = _gradients(trunk, expected)
    assert ours.keys() == theirs.keys()
    assert min(float(gradient.abs().max()) for gradient in theirs.values()) > 0.01
    assert all(torch.allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-4) for name in theirs)


def test_one_product_is_for_many_tokens_in_fp32_with_a_gradient_and_without_dropout(tiny: Make, make: Make) -> None:
    many, few = torch.zeros(36, 32), torch.zeros(15, 32)

    def does(given: Tensor, dtype: torch.dtype = torch.float32, **settings: Any) -> bool:
        trunk = tiny("bert", dtype).changed(make("lora", rank=4, **settings)).train()
        layer = tuner_layers(trunk)[QUERY]
        return isinstance(layer, _OneProduct) and _does(layer, given)

    assert does(many)
    assert not does(few)
    assert not does(many, dropout=0.1)
    assert not does(many, dora=True)
    assert not does(many, initialisation="pissa")
    assert not does(many.bfloat16(), torch.bfloat16)
    with torch.no_grad():
        assert not does(many)
    with torch.autocast("cpu", torch.bfloat16):
        assert not does(many)


def test_rank_stabilised_divides_by_the_root_of_the_rank(tiny: Make, make: Make, moved: Make) -> None:
    model, method = tiny("bert"), make("lora", rank=9, alpha=6, rank_stabilised=True)
    trunk = model.changed(method)
    state = moved(method, trunk)
    a, b = state[f"{QUERY}.lora_A.default.weight"], state[f"{QUERY}.lora_B.default.weight"]
    expected = matrix(model.base.get_submodule(QUERY)) + 6 / sqrt(9) * b @ a
    assert torch.allclose(_changed_matrix(trunk, QUERY), expected, atol=1e-5)


@pytest.mark.parametrize(("family", "path"), [("bert", QUERY), ("gpt2", "h.1.attn.c_attn")])
def test_dora_gives_every_row_the_length_that_was_learned(
    tiny: Make, make: Make, moved: Make, family: str, path: str
) -> None:
    model, method = tiny(family), make("lora", rank=4, alpha=8, dora=True)
    trunk = model.changed(method)
    state = moved(method, trunk)
    a, b = state[f"{path}.lora_A.default.weight"], state[f"{path}.lora_B.default.weight"]
    changed = matrix(model.base.get_submodule(path)) + 8 / 4 * b @ a
    length = state[f"{path}.lora_magnitude_vector.default.weight"]
    expected = length[:, None] * changed / changed.norm(dim=1, keepdim=True)
    assert torch.allclose(_changed_matrix(trunk, path), expected, atol=1e-5)


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_first_values_and_the_rest_of_the_matrix_are_those_of_peft(tiny: Make, make: Make, start: str) -> None:
    model = tiny("bert")
    ours = model.changed(make("lora", rank=4, initialisation=start))
    make("lora", rank=4, initialisation=start).prepare(ours, [], 10)
    config = peft.LoraConfig(r=4, lora_alpha=16, init_lora_weights=start, target_modules=["query"])
    # A deep copy, because peft's OLoRA writes into the storage of the weights, which trunks share.
    theirs = tuner_layers(peft.inject_adapter_in_model(config, deepcopy(model.base)))[QUERY]
    layer = tuner_layers(ours)[QUERY]
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    product = theirs.lora_B["default"].weight @ theirs.lora_A["default"].weight
    assert torch.allclose(b @ a, product, atol=1e-5)
    assert torch.allclose(matrix(model.base.get_submodule(QUERY)) - 16 / 4 * b @ a, theirs.base_layer.weight, atol=1e-5)


def test_pissa_starts_with_the_largest_singular_components(tiny: Make, make: Make) -> None:
    model, method = tiny("bert"), make("lora", rank=4, alpha=2, initialisation="pissa")
    trunk = model.changed(method)
    method.prepare(trunk, [], 10)
    layer = tuner_layers(trunk)[QUERY]
    product = 2 / 4 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    values = torch.linalg.svdvals(matrix(model.base.get_submodule(QUERY)))
    assert torch.allclose(torch.linalg.svdvals(product)[:4], values[:4], atol=1e-5)
    assert torch.linalg.svdvals(product)[4] < 1e-5


def test_olora_reads_transposed_matrices_that_are_not_square(tiny: Make, make: Make) -> None:
    """peft decomposes GPT-2's (in, out) matrices as they lie, and its layers then have the wrong shapes."""
    model, method = tiny("gpt2"), make("lora", rank=4, targets="mlp", initialisation="olora")
    trunk = model.changed(method)
    method.prepare(trunk, [], 10)
    layer = tuner_layers(trunk)["h.0.mlp.c_fc"]
    assert layer.lora_A["default"].weight.shape == (4, 32)
    b = layer.lora_B["default"].weight
    assert b.shape == (128, 4)
    assert torch.allclose(b.T @ b, torch.eye(4), atol=1e-5)


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_the_state_is_an_ordinary_lora_of_twice_the_rank_on_the_untouched_base(
    tiny: Make, make: Make, moved: Make, start: str
) -> None:
    model, method = tiny("bert"), make("lora", rank=4, alpha=16, initialisation=start)
    trunk = model.changed(method)
    method.prepare(trunk, [], 10)
    state = moved(method, trunk)
    plain = make("lora", rank=8, alpha=32)
    other = model.changed(plain)
    plain.load(other, state)
    assert torch.allclose(model.hidden(other), model.hidden(trunk), atol=1e-5)


def test_preparing_leaves_what_was_resumed_or_started_from_a_bundle(tiny: Make, make: Make, moved: Make) -> None:
    for start in ("pissa", "olora", "eva"):
        method = make("lora", rank=4, initialisation=start)
        trunk = tiny("bert").changed(method)
        state = moved(method, trunk)
        method.prepare(trunk, _batches(9), 10)
        assert all(torch.equal(tensor, state[name]) for name, tensor in method.state(trunk).items())


def test_dropout_leaves_what_is_taken_off_again_untouched(tiny: Make, make: Make) -> None:
    """Or else the largest components of every matrix would be noise."""
    method = make("lora", rank=4, initialisation="pissa", dropout=0.5)
    layer = tuner_layers(tiny("bert").changed(method))[QUERY]
    assert isinstance(layer.lora_dropout["default"], torch.nn.Dropout)
    assert isinstance(layer.lora_dropout["origin"], torch.nn.Identity)


def test_eva_starts_with_the_directions_in_which_real_tokens_vary_most(tiny: Make, make: Make) -> None:
    model, method, batches = tiny("bert"), make("lora", rank=3, initialisation="eva"), _batches(13)
    trunk = model.changed(method)
    method.prepare(trunk, batches, 10)
    seen = _seen(model.base, QUERY, batches)
    _, _, directions = torch.linalg.svd(seen - seen.mean(dim=0), full_matrices=False)
    found = tuner_layers(trunk)[QUERY].lora_A["default"].weight
    assert torch.allclose((found @ directions[:3].T).abs(), torch.eye(3), atol=1e-2)


def test_eva_gives_layers_that_read_the_same_the_same_directions(tiny: Make, make: Make) -> None:
    method = make("lora", rank=3, initialisation="eva")
    trunk = tiny("bert").changed(method)
    method.prepare(trunk, _batches(13, 12, 11), 10)
    first = {name: layer.lora_A["default"].weight for name, layer in tuner_layers(trunk).items()}
    query, key = first[QUERY], first[QUERY.replace("query", "key")]
    output = first["encoder.layer.0.attention.output.dense"]
    assert torch.equal(query, key)
    assert not torch.allclose(query, output, atol=0.1)


def test_eva_without_enough_tokens_says_how_many_it_needs(tiny: Make, make: Make) -> None:
    method = make("lora", rank=8, initialisation="eva")
    with pytest.raises(Unsupported, match="needs batches of at least 16 tokens for rank 8"):
        method.prepare(tiny("bert").changed(method), _batches(5), 10)


@pytest.mark.parametrize("start", ["pissa", "olora", "eva"])
def test_more_directions_than_a_matrix_has_are_refused(tiny: Make, make: Make, start: str) -> None:
    with pytest.raises(Unsupported, match=rf"rank is 33, and initialisation '{start}' finds at most 32 directions"):
        tiny("bert").changed(make("lora", rank=33, initialisation=start))


def test_gaussian_draws_a_with_a_deviation_of_one_over_the_rank(tiny: Make, make: Make) -> None:
    layers = tuner_layers(tiny("bert").changed(make("lora", rank=16, initialisation="gaussian")))
    drawn = torch.cat([layer.lora_A["default"].weight.flatten() for layer in layers.values()])
    assert float(drawn.detach().std()) == pytest.approx(1 / 16, rel=0.05)


def test_lora_plus_lets_b_learn_faster(tiny: Make, make: Make) -> None:
    method = make("lora", learning_rate_ratio=16)
    trunk = tiny("bert").changed(method)
    slow, fast = method.groups(trunk, 0.001)
    names = {id(parameter): name for name, parameter in trunk.named_parameters()}
    assert (slow["lr"], fast["lr"]) == (0.001, 0.016)
    assert {names[id(parameter)].split(".")[-3] for parameter in slow["params"]} == {"lora_A"}
    assert {names[id(parameter)].split(".")[-3] for parameter in fast["params"]} == {"lora_B"}
    assert len(slow["params"]) == len(fast["params"]) == 8


def test_first_values_that_are_taken_off_again_do_not_decay(tiny: Make, make: Make) -> None:
    """They would fade while what is taken off stays, and the base's largest components with them."""
    for start, expected in [("default", [None, None]), ("pissa", [0.0, 0.0]), ("olora", [0.0, 0.0])]:
        method = make("lora", rank=4, initialisation=start)
        groups = method.groups(tiny("bert").changed(method), 0.001)
        assert [group.get("weight_decay") for group in groups] == expected


def test_dora_with_a_start_that_is_not_zero_is_refused(make: Make) -> None:
    with pytest.raises(
        ValidationError, match="dora needs a change that starts from zero, which initialisation 'pissa'"
    ):
        make("lora", dora=True, initialisation="pissa")
