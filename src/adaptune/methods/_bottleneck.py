"""Small networks of two matrices that read and add within a layer, alone or one a row. Knows no one method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple

from adaptune.core.lazy import torch
from adaptune.core.method import Rows, State
from adaptune.methods._stacked import members_of, used

PART = "adapter"
"""Name of the new part of a matrix."""

Network = Callable[["torch.Tensor"], "torch.Tensor"]


class Place(NamedTuple):
    """Paths of two matrices. Equal ones: what the matrix gives is read. Else: what the first one reads is read."""

    reads: str
    adds: str


class Bottleneck(NamedTuple):
    """One network as tensors, or several with a leading dimension of members; R is its width."""

    down: torch.Tensor
    """(R, D)"""
    down_bias: torch.Tensor
    """(R,)"""
    up: torch.Tensor
    """(D, R)"""
    up_bias: torch.Tensor
    """(D,)"""


Kind = tuple[Place, str]
"""Where a network stands, and the name of its activation."""


def put(module: torch.nn.Module, place: Place, *, size: int, width: int, activation: str, scale: float) -> None:
    """Add a fresh network that learns, its second matrix zero; the paths are from `module`."""
    down, up = torch.nn.Linear(size, width), torch.nn.Linear(width, size)
    for zero in (down.bias, up.weight, up.bias):
        torch.nn.init.zeros_(zero)
    first, last = module.get_submodule(place.reads), module.get_submodule(place.adds)
    if first is last:
        first.add_module(PART, torch.nn.ModuleDict({"down": down, "up": up}))
    else:
        first.add_module(PART, torch.nn.ModuleDict({"down": down}))
        last.add_module(PART, torch.nn.ModuleDict({"up": up}))
    _hook(module, place, partial(_inside, down, activation), partial(_scaled, up, scale))


def from_state(state: State, activation: str, scale: float) -> dict[Kind, Bottleneck]:
    """The networks that a state holds, the scale within their second matrix."""
    tensors: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in state.items():
        path, _, leaf = name.partition(f".{PART}.")
        tensors.setdefault(path, {})[leaf] = tensor
    found = {}
    for adds, last in tensors.items():
        if "up.weight" in last:
            reads = adds if "down.weight" in last else _nearest(adds, tensors)
            first = tensors[reads]
            found[Place(reads, adds), activation] = Bottleneck(
                first["down.weight"], first["down.bias"], scale * last["up.weight"], scale * last["up.bias"]
            )
    return found


def mix(trunk: torch.nn.Module, members: Sequence[Mapping[Kind, Bottleneck]], rows: Rows) -> torch.nn.Module:
    """Let row i of every batch have the networks of members[rows.of[i]], in place, by hooks.

    Members whose activation differs stand one behind another; all but one of them add zero to a row.
    """
    stacks = {}
    for kind in dict.fromkeys([*rows.stacks, *(kind for member in members for kind in member)]):
        networks = [*_standing(rows.stacks.get(kind), rows.keep), *(member.get(kind) for member in members)]
        if not any(networks):
            continue
        place, activation = kind
        device = next(trunk.get_submodule(place.adds).parameters()).device
        stacks[kind] = stacked = _stack(networks, device)
        _hook(trunk, place, partial(_inside_of_rows, stacked, activation, rows), partial(_out_of_rows, stacked, rows))
    rows.stacks = stacks
    return trunk


def _standing(stacked: Bottleneck | None, places: Sequence[int]) -> list[Bottleneck | None]:
    """Members out of a stack, as they were before they were filled up."""
    if stacked is None:
        return [None] * len(places)
    return [_bare(Bottleneck(*(tensor[place] for tensor in stacked))) for place in places]


def _bare(network: Bottleneck) -> Bottleneck | None:
    """Without what adds nothing."""
    down, down_bias, up, up_bias = network
    width = used(down.any(1) | down_bias.bool() | up.any(0))
    if not width and not bool(up_bias.any()):
        return None
    return Bottleneck(down[:width], down_bias[:width], up[:, :width], up_bias)


def _nearest(adds: str, paths: Iterable[str]) -> str:
    """Of the other paths the one that shares most of its parts: the matrix of the same layer."""

    def shared(path: str) -> int:
        pairs = zip(path.split("."), adds.split("."), strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    return max((path for path in paths if path != adds), key=shared)


def _hook(module: torch.nn.Module, place: Place, into: Network, out: Network) -> None:
    last = module.get_submodule(place.adds)
    if place.reads == place.adds:
        last.register_forward_hook(partial(_behind, into, out))
        return
    held: list[torch.Tensor] = []
    module.get_submodule(place.reads).register_forward_pre_hook(partial(_hold, into, held))
    last.register_forward_hook(partial(_beside, out, held))


def _behind(into: Network, out: Network, _matrix: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
    return output + out(into(output)).to(output.dtype)


def _hold(into: Network, held: list[torch.Tensor], _matrix: Any, inputs: tuple[Any, ...]) -> None:
    held[:] = [into(inputs[0])]


def _beside(out: Network, held: list[torch.Tensor], _matrix: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
    return output + out(held.pop()).to(output.dtype)


def _inside(down: torch.nn.Linear, activation: str, x: torch.Tensor) -> torch.Tensor:
    return _activated(activation, down(x.to(down.weight.dtype)))


def _scaled(up: torch.nn.Linear, scale: float, inside: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = scale * up(inside)
    return found


def _inside_of_rows(stacked: Bottleneck, activation: str, rows: Rows, x: torch.Tensor) -> torch.Tensor:
    of = members_of(rows, x)
    inside = torch.baddbmm(stacked.down_bias[of, None], x.to(stacked.down.dtype), stacked.down[of].mT)
    return _activated(activation, inside)


def _out_of_rows(stacked: Bottleneck, rows: Rows, inside: torch.Tensor) -> torch.Tensor:
    of = members_of(rows, inside)
    return torch.baddbmm(stacked.up_bias[of, None], inside, stacked.up[of].mT)


def _activated(activation: str, x: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = getattr(torch.nn.functional, activation)(x)
    return found


def _stack(given: Sequence[Bottleneck | None], device: torch.device) -> Bottleneck:
    """Smaller networks are filled up with zeros, absent ones are all zero."""
    there = [network for network in given if network is not None]
    widest = max(len(network.down) for network in there)
    nothing = Bottleneck(*(torch.zeros_like(tensor) for tensor in there[0]))
    filled = [_of_width(network or nothing, widest) for network in given]
    return Bottleneck(
        *(torch.stack(tensors).detach().to(device, torch.float32) for tensors in zip(*filled, strict=True))
    )


def _of_width(network: Bottleneck, width: int) -> Bottleneck:
    more, pad = width - len(network.down), torch.nn.functional.pad
    return Bottleneck(
        pad(network.down, (0, 0, 0, more)),
        pad(network.down_bias, (0, more)),
        pad(network.up, (0, more)),
        network.up_bias,
    )
