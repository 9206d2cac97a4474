"""A network that gives the embeddings in front of the input, and is not a part of what is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

Make = Callable[..., Any]


def _train(model: Any, trunk: nn.Module) -> None:
    optimizer = torch.optim.SGD([parameter for parameter in trunk.parameters() if parameter.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (model.hidden(trunk) * torch.linspace(-1, 1, 32)).mean().backward()
        optimizer.step()


def test_the_prompt_is_the_mlp_of_an_lstm_that_reads_in_both_directions(tiny: Make, make: Make) -> None:
    method = make("ptuning", length=4)
    trunk = tiny("bert").changed(method)
    network = trunk.get_submodule("prompt_network")
    lstm = network["lstm"]
    assert (lstm.bidirectional, lstm.num_layers, lstm.hidden_size) == (True, 2, 16)
    first, _, last = network["mlp"]
    with torch.no_grad():
        expected = last(torch.relu(first(lstm(network["rows"].weight)[0])))
    assert torch.allclose(method.state(trunk)["prompt"], expected, atol=1e-6)


@pytest.mark.parametrize("encoder", ["lstm", "mlp"])
@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_a_state_is_one_of_prompt_tuning_with_equal_outputs(tiny: Make, make: Make, family: str, encoder: str) -> None:
    model, method = tiny(family), make("ptuning", length=4, encoder=encoder)
    trunk = model.changed(method)
    _train(model, trunk)
    state = method.state(trunk)
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {"prompt": (4, 32)}
    plain = make("prompt", length=4)
    as_prompt = model.changed(plain)
    plain.load(as_prompt, state)
    fresh = model.changed(method, seed=1)
    method.load(fresh, state)
    with torch.no_grad():
        expected = model.hidden(trunk)
        assert torch.equal(model.hidden(fresh), expected)
        assert torch.equal(model.hidden(as_prompt), expected)


@pytest.mark.parametrize("encoder", ["lstm", "mlp"])
def test_training_goes_on_bit_for_bit_from_state_and_memory(tiny: Make, make: Make, encoder: str) -> None:
    model, method = tiny("bert"), make("ptuning", length=4, encoder=encoder)
    trunk = model.changed(method)
    _train(model, trunk)
    before = method.state(trunk)["prompt"].clone()
    memory = {name: tensor.clone() for name, tensor in method.memory(trunk).items()}
    _train(model, trunk)
    resumed = model.changed(method, seed=1)
    method.load(resumed, {"prompt": before})
    method.recall(resumed, memory)
    assert torch.equal(method.state(resumed)["prompt"], before)
    _train(model, resumed)
    assert torch.equal(method.state(resumed)["prompt"], method.state(trunk)["prompt"])
    assert not torch.equal(method.state(trunk)["prompt"], before)


def test_what_was_loaded_goes_on_learning(tiny: Make, make: Make) -> None:
    model, method = tiny("bert"), make("ptuning", length=4)
    trunk = model.changed(method)
    loaded = torch.linspace(-1, 1, 128).reshape(4, 32)
    method.load(trunk, {"prompt": loaded})
    assert torch.equal(method.state(trunk)["prompt"], loaded)
    _train(model, trunk)
    moved = method.state(trunk)["prompt"] - loaded
    assert 0 < float(moved.abs().max()) < 0.5


def test_a_prompt_of_another_length_is_refused(tiny: Make, make: Make) -> None:
    trunk = tiny("bert").changed(make("ptuning", length=4))
    with pytest.raises(ValueError, match=r"a prompt has shape \(5, 32\), expected \(4, 32\)"):
        make("ptuning", length=4).load(trunk, {"prompt": torch.zeros(5, 32)})


def test_a_ptuning_says_how_many_positions_it_adds(make: Make) -> None:
    assert make("ptuning", length=7).positions == 7
