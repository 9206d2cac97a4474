"""Gradient checkpointing: layers that keep their inputs alone and compute anew in the backward pass. Knows no method.

Chen et al. (2016), Training deep nets with sublinear memory cost. By torch's own checkpoint and not by transformers'
`gradient_checkpointing_enable`, which does so only for layers in training mode: frozen ones are not, so that their
dropout is off, and it would silently do nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from adaptune.core.backbone import Roles
from adaptune.models.forwards import replaced


def recomputing(trunk: nn.Module, roles: Roles) -> AbstractContextManager[None]:
    """Let the layers of passes within be computed anew in their backward passes, which may come later.

    Not re-entrant: no input needs to ask for a gradient, which behind frozen embeddings none does.
    """
    layers = [layer for stack in roles.stacks for layer in trunk.get_submodule(stack.layers).children()]
    return replaced(layers, lambda forward: partial(_checkpointed, forward))


def _checkpointed(forward: Callable[..., Any], *given: Any, **named: Any) -> Any:
    return checkpoint(forward, *given, use_reentrant=False, **named)
