"""Many trunks on one set of frozen tensors. Knows no method."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from torch import nn

_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)
_HOOKED = "_output_capturing_hooks_installed"
"""transformers' mark on a model whose layers it has hooked to collect hidden states."""


def share(trunk: nn.Module) -> nn.Module:
    """New modules over the storage of the same tensors, frozen and without hooks; tied weights stay tied.

    Parameters are new objects: their gradients and requires_grad are the copy's own. Who trains one replaces it first.
    """
    memo: dict[int, Any] = {id(parameter): _view(parameter) for parameter in trunk.parameters()}
    memo |= {id(buffer): buffer for buffer in trunk.buffers()}
    copy = deepcopy(trunk, memo)
    for module in copy.modules():
        for hooks in _HOOKS:
            getattr(module, hooks).clear()
        module.__dict__.pop(_HOOKED, None)
    return copy


def _view(parameter: nn.Parameter) -> nn.Parameter:
    """Subclasses hold more than a tensor (quantised weights): they are shared as they are."""
    if type(parameter) is not nn.Parameter:
        return parameter
    return nn.Parameter(parameter.detach(), requires_grad=False)
