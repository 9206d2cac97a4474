"""Tensors that a network computes while they learn, and that a state holds without it. Knows no one method.

A tensor is offset + (network - anchor). Loading puts it into the offset and what the network gives into the anchor: the
difference is exactly zero, and then what the network learns from here on.
"""

from __future__ import annotations

from typing import Any

from adaptune.core.lazy import torch
from adaptune.core.method import State


def prepare_fold(module: torch.nn.Module, name: str, *shape: int) -> None:
    """Room beside a network within `module` for a tensor of this name and shape."""
    for part in ("offset", "anchor"):
        module.register_buffer(f"{name}_{part}", torch.zeros(shape), persistent=False)


def unfolded(module: Any, name: str, computed: torch.Tensor) -> torch.Tensor:
    """The tensor, given what the network computes now."""
    offset: torch.Tensor = getattr(module, f"{name}_offset")
    anchor: torch.Tensor = getattr(module, f"{name}_anchor")
    return offset + (computed - anchor)


def go_on_from(module: Any, name: str, tensor: torch.Tensor, computed: torch.Tensor) -> None:
    """Let the tensor be this one. Raises ValueError for a shape that differs."""
    old = getattr(module, f"{name}_offset")
    if old.shape != tensor.shape:
        raise ValueError(f"a {name} has shape {tuple(tensor.shape)}, expected {tuple(old.shape)}")
    setattr(module, f"{name}_offset", tensor.to(old.device, old.dtype, copy=True))
    setattr(module, f"{name}_anchor", computed.detach())


def memory_of(trunk: torch.nn.Module, name: str) -> State:
    """The networks, of which a state holds only the result: for a training that goes on exactly."""
    return {key: tensor.detach() for key, tensor in _networks(trunk, name).items()}


def recall_into(trunk: torch.nn.Module, name: str, memory: State) -> None:
    """Put a memory back into the tensors that the optimizer holds."""
    with torch.no_grad():
        for key, tensor in _networks(trunk, name).items():
            tensor.copy_(memory[key])


def _networks(trunk: torch.nn.Module, name: str) -> dict[str, torch.Tensor]:
    learns = {key: parameter for key, parameter in trunk.named_parameters() if parameter.requires_grad}
    ends = (f"{name}_offset", f"{name}_anchor")
    return learns | {key: buffer for key, buffer in trunk.named_buffers() if key.endswith(ends)}
