"""Ladder side tuning: a small network beside a frozen trunk that no gradient passes through."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from pydantic import Field

from adaptune.core.backbone import Roles
from adaptune.core.errors import Unsupported
from adaptune.core.lazy import torch
from adaptune.core.method import Method
from adaptune.core.space import Among, Values

PART = "ladder"
"""Name within the trunk of the side network."""
TEMPERATURE = 0.1
"""T of the gates."""


class Ladder(Method):
    """s_l = f_l(m_l d_l(h_l) + (1 - m_l) s_(l-1)), m_l = sigmoid(a_l / T): section 3.1; the output is h_L + u(s_L).

    h_l is what layer l of the trunk gives, s_0 = d_0(h_0) of its embeddings; d projects down to the side's width, u up
    again, and is zero at the start. Every f_l is a feed-forward block, s + W_2 gelu(W_1 norm(s)); the paper has pruned
    copies of the trunk's own layers. The ladder stands beside the stack that heads read: of two stacks the decoder.
    """

    paper: ClassVar[str] = (
        "Sung, Cho and Bansal (2022), LST: ladder side-tuning for parameter and memory efficient transfer learning, "
        "NeurIPS"
    )
    learning_rate: ClassVar[float] = 1e-3
    searched: ClassVar[Mapping[str, Values]] = {"reduction_factor": Among((2, 4, 8, 16))}
    reads_layers: ClassVar[bool] = True

    reduction_factor: int = Field(default=8, ge=1)
    """Hidden size of the model divided by the width of the side network; the paper has 8."""
    expansion: int = Field(default=2, ge=1)
    """Width within a block divided by the width of the side network."""

    def check(self, roles: Roles, layers: int) -> None:
        if roles.shares_layers:
            raise Unsupported(
                f"method 'ladder' stands beside layers of their own, and models of the family {roles.family!r} use one "
                "set of weights at every depth; use adapter or lora instead"
            )

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        config: Any = trunk.config
        size = int(config.hidden_size)
        if self.reduction_factor > size:
            raise Unsupported(
                f"method.reduction_factor is {self.reduction_factor}, more than the hidden size {size} of the model; "
                "use a smaller one"
            )
        layers = list(trunk.get_submodule(roles.main.layers).children())
        self.check(roles, len(layers))
        side = _side(size, size // self.reduction_factor, len(layers), self.expansion)
        trunk.add_module(PART, side)
        read: list[torch.Tensor] = []
        layers[0].register_forward_pre_hook(partial(_start, read), with_kwargs=True)
        for layer in layers:
            layer.register_forward_hook(partial(_read, read))
        trunk.register_forward_hook(partial(_climb, read, side))
        return trunk


def _side(size: int, width: int, layers: int, expansion: int) -> Any:
    """Fresh weights of a ladder that at first adds nothing."""
    up = torch.nn.Linear(width, size)
    for zero in (up.weight, up.bias):
        torch.nn.init.zeros_(zero)
    return torch.nn.ModuleDict(
        {
            "down": torch.nn.ModuleList(torch.nn.Linear(size, width) for _ in range(layers + 1)),
            "gates": torch.nn.ParameterList(torch.nn.Parameter(torch.zeros(1)) for _ in range(layers)),
            "blocks": torch.nn.ModuleList(_block(width, expansion) for _ in range(layers)),
            "norm": torch.nn.LayerNorm(width),
            "up": up,
        }
    )


def _block(width: int, expansion: int) -> Any:
    return torch.nn.Sequential(
        torch.nn.LayerNorm(width),
        torch.nn.Linear(width, expansion * width),
        torch.nn.GELU(),
        torch.nn.Linear(expansion * width, width),
    )


def _start(read: list[torch.Tensor], _layer: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
    """A pass begins: h_0 is what the first layer reads."""
    read[:] = [given[0] if given else named["hidden_states"]]


def _read(read: list[torch.Tensor], _layer: Any, _given: Any, output: Any) -> None:
    read.append(output[0] if isinstance(output, tuple) else output)


def _climb(read: list[torch.Tensor], side: Any, _trunk: Any, _given: Any, output: Any) -> Any:
    """The trunk's last hidden states with what the side network makes of all of them."""
    dtype = side["up"].weight.dtype
    first, *states = [down(hidden.to(dtype)) for down, hidden in zip(side["down"], read, strict=True)]
    read.clear()
    climbed = first
    for gate, block, state in zip(side["gates"], side["blocks"], states, strict=True):
        share = torch.sigmoid(gate / TEMPERATURE)
        mixed = share * state + (1 - share) * climbed
        climbed = mixed + block(mixed)
    last = output.last_hidden_state
    output.last_hidden_state = last + side["up"](side["norm"](climbed)).to(last.dtype)
    return output
