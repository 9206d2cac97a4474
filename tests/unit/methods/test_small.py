"""IA3, VeRA, LoHa and LoKr against their papers' formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from adaptune.methods._peft import matrix, tuner_layers

Make = Callable[..., Any]
VALUE = "layers.1.self_attn.v_proj"
DOWN = "layers.1.mlp.down_proj"


def _changed_matrix(trunk: torch.nn.Module, path: str) -> Tensor:
    """(out, in) of a layer without bias, by putting the unit vectors through it."""
    layer = trunk.get_submodule(path)
    with torch.no_grad():
        found: Tensor = layer(torch.eye(matrix(layer).shape[1])).T
    return found


def test_ia3_multiplies_keys_values_and_the_inside_of_the_feed_forward_part(
    tiny: Make, make: Make, moved: Make
) -> None:
    model, method = tiny("llama"), make("ia3")
    trunk = model.changed(method)
    state = moved(method, trunk)
    assert {path.split(".", 2)[2] for path in tuner_layers(trunk)} == {
        "self_attn.k_proj",
        "self_attn.v_proj",
        "mlp.down_proj",
    }
    value, down = (matrix(model.base.get_submodule(path)) for path in (VALUE, DOWN))
    of_value, of_down = state[f"{VALUE}.ia3_l.default"].flatten(), state[f"{DOWN}.ia3_l.default"].flatten()
    assert torch.allclose(_changed_matrix(trunk, VALUE), of_value[:, None] * value, atol=1e-6)
    assert torch.allclose(_changed_matrix(trunk, DOWN), down * of_down, atol=1e-6)


def test_ia3s_vectors_do_not_decay_towards_zero(tiny: Make, make: Make) -> None:
    method = make("ia3")
    assert [group["weight_decay"] for group in method.groups(tiny("bert").changed(method), 0.01)] == [0.0]


def test_vera_scales_one_random_pair_by_learned_vectors(tiny: Make, make: Make, moved: Make) -> None:
    model, method = tiny("llama"), make("vera", rank=5, targets="all")
    trunk = model.changed(method)
    state = moved(method, trunk)
    a, b = state["vera_A"], state["vera_B"]
    assert (a.shape, b.shape) == ((5, 64), (64, 5))
    for path in (VALUE, DOWN):
        weight = matrix(model.base.get_submodule(path))
        outside, inside = state[f"{path}.vera_lambda_b.default"], state[f"{path}.vera_lambda_d.default"]
        expected = weight + torch.diag(outside) @ b[: len(weight)] @ torch.diag(inside) @ a[:, : weight.shape[1]]
        assert torch.allclose(_changed_matrix(trunk, path), expected, atol=1e-5)


def test_veras_random_pair_comes_from_the_seed_and_travels_with_the_state(tiny: Make, make: Make) -> None:
    model, method = tiny("bert"), make("vera", rank=5)
    one, same, other = (method.state(model.changed(method, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one["vera_A"], same["vera_A"])
    assert not torch.allclose(one["vera_A"], other["vera_A"], atol=0.1)
    trunk = model.changed(method, seed=2)
    method.load(trunk, one)
    layers = list(tuner_layers(trunk).values())
    assert all(torch.equal(layer.vera_B["default"], one["vera_B"]) for layer in layers)
    assert method.state(trunk)["vera_A"].data_ptr() != one["vera_A"].data_ptr()


def test_a_random_pair_of_another_rank_is_refused(tiny: Make, make: Make) -> None:
    model = tiny("bert")
    narrow, wide = make("vera", rank=5), make("vera", rank=6)
    state = wide.state(model.changed(wide)) | {
        name: tensor for name, tensor in narrow.state(model.changed(narrow)).items() if "lambda" in name
    }
    with pytest.raises(ValueError, match=r"vera_A has shape \(6, 32\), expected \(5, 32\)"):
        narrow.load(model.changed(narrow), state)


def test_loha_multiplies_two_low_rank_products_entry_by_entry(tiny: Make, make: Make, moved: Make) -> None:
    model, method = tiny("llama"), make("loha", rank=3, alpha=6)
    trunk = model.changed(method)
    state = moved(method, trunk)
    one_a, one_b, two_a, two_b = (state[f"{VALUE}.hada_{part}.default"] for part in ("w1_a", "w1_b", "w2_a", "w2_b"))
    expected = matrix(model.base.get_submodule(VALUE)) + 6 / 3 * (one_a @ one_b) * (two_a @ two_b)
    assert torch.allclose(_changed_matrix(trunk, VALUE), expected, atol=1e-5)


def test_lokr_multiplies_every_entry_of_one_matrix_by_the_other(tiny: Make, make: Make, moved: Make) -> None:
    model, method = tiny("llama"), make("lokr", rank=2, alpha=6, targets="mlp", factor=2)
    trunk = model.changed(method)
    state = moved(method, trunk)
    c, b, a = (state[f"{DOWN}.lokr_{part}.default"] for part in ("w1", "w2_a", "w2_b"))
    assert (c.shape, b.shape, a.shape) == ((2, 2), (16, 2), (2, 32))
    blocks = torch.cat([torch.cat([entry * (b @ a) for entry in row], dim=1) for row in c], dim=0)
    expected = matrix(model.base.get_submodule(DOWN)) + 6 / 2 * blocks
    assert torch.allclose(_changed_matrix(trunk, DOWN), expected, atol=1e-5)
