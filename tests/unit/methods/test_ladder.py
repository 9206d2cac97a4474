"""The side network against its formula, and that nothing of the trunk has a gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adaptune.core.errors import Unsupported
from adaptune.models.families import FAMILIES

Make = Callable[..., Any]
STACKS = {"bert": "encoder.layer", "llama": "layers", "gpt2": "h", "t5": "decoder.block", "bart": "decoder.layers"}


def _linear(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def _norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    normal = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    return normal * state[f"{name}.weight"] + state[f"{name}.bias"]


@pytest.mark.parametrize("family", STACKS)
def test_a_ladder_adds_its_last_state_to_what_the_trunk_gives(tiny: Make, make: Make, moved: Make, family: str) -> None:
    model, method = tiny(family), make("ladder", reduction_factor=4)
    trunk = model.changed(method)
    state = moved(method, trunk)
    read: list[Tensor] = []
    layers = model.base.get_submodule(STACKS[family])
    hooks = [
        layers[0].register_forward_pre_hook(lambda _, given, named: read.append(_first(given, named)), with_kwargs=True)
    ]
    hooks += [layer.register_forward_hook(lambda *seen: read.append(_first(seen[2]))) for layer in layers]
    with torch.no_grad():
        mask = (model.hidden(model.base) != 0).any(dim=-1, keepdim=True)
    plain = model.hidden(model.base)
    for hook in hooks:
        hook.remove()
    h = read[-3:]
    s = _linear(h[0], state, "ladder.down.0")
    for layer in (0, 1):
        gate = torch.sigmoid(state[f"ladder.gates.{layer}"] / 0.1)
        s = gate * _linear(h[layer + 1], state, f"ladder.down.{layer + 1}") + (1 - gate) * s
        inside = _linear(_norm(s, state, f"ladder.blocks.{layer}.0"), state, f"ladder.blocks.{layer}.1")
        s = s + _linear(nn.functional.gelu(inside), state, f"ladder.blocks.{layer}.3")
    expected = plain + _linear(_norm(s, state, "ladder.norm"), state, "ladder.up") * mask
    assert torch.allclose(model.hidden(trunk), expected, atol=1e-5)


def _first(given: Any, named: dict[str, Any] | None = None) -> Tensor:
    if isinstance(given, tuple):
        return given[0] if given else named["hidden_states"]  # type: ignore[index,no-any-return]
    return given  # type: ignore[no-any-return]


@pytest.mark.parametrize("family", STACKS)
def test_no_gradient_passes_through_the_trunk(tiny: Make, make: Make, moved: Make, family: str) -> None:
    model, method = tiny(family), make("ladder")
    trunk = model.changed(method)
    moved(method, trunk)
    asked: dict[str, bool] = {}

    def note(name: str) -> Callable[..., None]:
        def see(_module: Any, _given: Any, output: Any) -> None:
            asked[name] = any(part.requires_grad for part in _tensors(output))

        return see

    for name, module in trunk.named_modules():
        if name and not name.startswith("ladder"):
            module.register_forward_hook(note(name))
    model.hidden(trunk).sum().backward()
    assert len(asked) > 20
    assert [name for name, needs in asked.items() if needs] == []
    learns = {name for name, parameter in trunk.named_parameters() if parameter.requires_grad}
    assert {name for name, parameter in trunk.named_parameters() if parameter.grad is not None} == learns
    assert learns == method.state(trunk).keys()


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    parts = list(output.values()) if isinstance(output, dict) else output if isinstance(output, tuple) else []
    return [tensor for part in parts for tensor in _tensors(part)]


def test_a_side_network_narrower_than_one_is_refused(tiny: Make, make: Make) -> None:
    with pytest.raises(Unsupported, match=r"method.reduction_factor is 64, more than the hidden size 32"):
        tiny("bert").changed(make("ladder", reduction_factor=64))


def test_a_model_that_uses_its_layer_again_and_again_is_refused(make: Make) -> None:
    with pytest.raises(
        Unsupported, match=r"'ladder' stands beside layers of their own, .*'albert'.* use adapter or lora"
    ):
        make("ladder").check(FAMILIES["albert"], 12)
