"""BitFit: the bias terms of the trunk learn, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from adaptune.core.backbone import Roles
from adaptune.core.errors import Unsupported
from adaptune.core.lazy import torch, transformers
from adaptune.core.method import Member, Method, Rows, State, own_copies
from adaptune.methods._stacked import Change, mix


class Bitfit(Method):
    """Every bias of the trunk learns, on a copy of its own."""

    paper: ClassVar[str] = "Ben Zaken, Ravfogel and Goldberg (2022), BitFit, ACL"
    learning_rate: ClassVar[float] = 2e-3
    touches_base: ClassVar[bool] = True

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        biases = [name for name, _ in trunk.named_parameters() if name.rpartition(".")[2] == "bias"]
        if not biases:
            raise Unsupported(
                f"method 'bitfit' trains bias terms, and this {roles.family} model has none; use lora, top_layers or "
                "full instead"
            )
        own_copies(trunk, biases)
        return trunk

    def merged(self, trunk: torch.nn.Module) -> torch.nn.Module:
        return trunk

    def mixed(self, trunk: torch.nn.Module, members: Sequence[Member], rows: Rows) -> torch.nn.Module:
        for method, _ in members:
            if not isinstance(method, Bitfit):
                raise Unsupported(
                    f"a bundle of method {method.name!r} does not mix with bundles of method 'bitfit' in one batch; "
                    "serve them in groups"
                )
        return mix(trunk, [_shifts(trunk, state) for _, state in members], rows)


def _shifts(trunk: torch.nn.Module, state: State) -> dict[str, Change]:
    """How far every bias is from the base's, by path of its owner: added to what the owner gives."""
    changes = {}
    for name, bias in state.items():
        path = name.rpartition(".")[0]
        owner = trunk.get_submodule(path)
        if not isinstance(owner, torch.nn.Linear | torch.nn.LayerNorm | transformers.pytorch_utils.Conv1D):
            raise Unsupported(
                f"bundles of method 'bitfit' do not mix in one batch on this model: {path!r} is a "
                f"{type(owner).__name__}, whose bias cannot differ by row; serve them in groups"
            )
        own = owner.bias.detach()
        changes[path] = Change(shift=bias.to(own.device, torch.float32) - own.float())
    return changes
