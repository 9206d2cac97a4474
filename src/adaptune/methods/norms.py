"""The layer norms of the trunk learn, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from adaptune.core.backbone import Roles
from adaptune.core.errors import Unsupported
from adaptune.core.lazy import torch
from adaptune.core.method import Member, Method, Rows, own_copies
from adaptune.methods._mixed_norms import mix_norms


class Norms(Method):
    """Gain and bias of every norm, gamma * (x - mu) / sigma + beta, learn on copies of their own.

    Equation 1; norms that only scale (RMSNorm) have no beta.
    """

    paper: ClassVar[str] = (
        "Qi et al. (2022), Parameter-efficient tuning on layer normalization for pre-trained language models"
    )
    learning_rate: ClassVar[float] = 2e-3
    touches_base: ClassVar[bool] = True

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        norms = [(path, module) for path, module in trunk.named_modules() if _is_norm(module)]
        if not norms:
            raise Unsupported(
                f"method 'norms' trains layer norms, and this {roles.family} model has none with weights; use lora, "
                "top_layers or full instead"
            )
        own_copies(trunk, (f"{path}.{name}" for path, norm in norms for name, _ in norm.named_parameters()))
        return trunk

    def merged(self, trunk: torch.nn.Module) -> torch.nn.Module:
        return trunk

    def mixed(self, trunk: torch.nn.Module, members: Sequence[Member], rows: Rows) -> torch.nn.Module:
        for method, _ in members:
            if not isinstance(method, Norms):
                raise Unsupported(
                    f"a bundle of method {method.name!r} does not mix with bundles of method 'norms' in one batch; "
                    "serve them in groups"
                )
        return mix_norms(trunk, [state for _, state in members], rows)


def _is_norm(module: torch.nn.Module) -> bool:
    """Every family has a class of its own for norms that only scale; all are named so."""
    named = isinstance(module, torch.nn.LayerNorm) or type(module).__name__.endswith("Norm")
    return named and any(True for _ in module.parameters(recurse=False))
