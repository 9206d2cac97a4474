"""Prefix tuning: keys and values in front of every layer's attention learn, the trunk stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from adaptune.core.backbone import Roles, Stack
from adaptune.core.errors import Unsupported
from adaptune.core.lazy import torch
from adaptune.core.method import Method, PeftFiles, State
from adaptune.core.space import Among, Values
from adaptune.methods import _past
from adaptune.methods._folded import memory_of, recall_into
from adaptune.methods._in_front import PROMPT_SHAPE

_OWN_ATTENTION = ("deberta-v2", "mpnet", "gemma2")
"""Families that compute attention in a way of their own, which takes no further keys."""


class Prefix(Method):
    """Every self-attention reads [P_k; K] and [P_v; V]: P_k and P_v, (length, keys), learn in each layer of each stack.

    Sections 4.2 and 4.3; on encoders these are the deep prompts of P-tuning v2 (Liu et al. 2022). Unlike theirs, a
    prefix takes no positions: the text keeps its own, and all of its room.
    """

    paper: ClassVar[str] = "Li and Liang (2021), Prefix-tuning: optimizing continuous prompts for generation, ACL"
    learning_rate: ClassVar[float] = 1e-2
    searched: ClassVar[Mapping[str, Values]] = {"length": Among((5, 10, 20, 40))}
    identity: ClassVar[bool] = False
    peft_format: ClassVar[bool] = True
    peft_type: ClassVar[str | None] = "PREFIX_TUNING"
    peft_fields: ClassVar[Mapping[str, str]] = {"length": "num_virtual_tokens"}
    peft_silent: ClassVar[frozenset[str]] = PROMPT_SHAPE | {"encoder_hidden_size", "prefix_projection"}

    length: int = Field(default=20, ge=1)
    """How many keys and values stand in front in every layer."""
    reparameterised: bool = False
    """Learn P[i] = MLP(P'[i]), section 4.3, instead of P itself; a bundle holds P alone."""
    bottleneck: int = Field(default=512, ge=1)
    """Width of the MLP, where there is one."""

    def check(self, roles: Roles, layers: int) -> None:
        if roles.family in _OWN_ATTENTION:
            raise Unsupported(
                f"method 'prefix' adds keys and values to attention, and models of the family {roles.family!r} compute "
                "theirs in a way that takes none; use prompt, lora or adapter instead"
            )

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        self.check(roles, 0)
        _past.let_attention_read(trunk)
        shared = self._shared(trunk) if self.reparameterised else None
        for stack in roles.stacks:
            for layer in trunk.get_submodule(stack.layers).children():
                attention, width = layer.get_submodule(stack.attention), _width(layer, stack)
                if shared is None:
                    first = 0.02 * torch.randn(2, self.length, width)
                    attention.register_parameter(_past.NAME, torch.nn.Parameter(first))
                else:
                    _past.reparameterise(attention, shared, width)
        return trunk

    def state(self, trunk: torch.nn.Module) -> State:
        return {
            f"{path}.{_past.NAME}": pairs.detach()
            for path, module in trunk.named_modules()
            if (pairs := _past.pairs_of(module)) is not None
        }

    def load(self, trunk: torch.nn.Module, state: State) -> None:
        if not self.reparameterised:
            super().load(trunk, state)
            return
        for name, pairs in state.items():
            _past.replace_pairs(trunk.get_submodule(name.rpartition(".")[0]), pairs)

    def memory(self, trunk: torch.nn.Module) -> State:
        return memory_of(trunk, _past.NAME) if self.reparameterised else {}

    def recall(self, trunk: torch.nn.Module, memory: State) -> None:
        if self.reparameterised:
            recall_into(trunk, _past.NAME, memory)

    def peft_files(self, trunk: Any) -> PeftFiles | None:
        return _past.peft_prefix(trunk, list(self.state(trunk).values()))

    def from_peft(self, trunk: torch.nn.Module, settings: Mapping[str, Any], tensors: State) -> State:
        return _past.from_peft_prefix(trunk, tensors, self.state(trunk))

    def _shared(self, trunk: Any) -> torch.nn.Module:
        """P' and the part of the MLP that all layers share."""
        size = int(trunk.config.hidden_size)
        shared = torch.nn.ModuleDict(
            {"rows": torch.nn.Embedding(self.length, size), "down": torch.nn.Linear(size, self.bottleneck)}
        )
        trunk.add_module(_past.SHARED, shared)
        return shared


def _width(layer: torch.nn.Module, stack: Stack) -> int:
    """How many numbers a key of one token has, over all heads."""
    matrix: Any = layer.get_submodule(stack.key)
    width = int(matrix.nf if hasattr(matrix, "nf") else matrix.out_features)
    return width // 3 if stack.key == stack.query else width
