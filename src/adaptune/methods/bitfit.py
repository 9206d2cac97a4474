"""BitFit: the bias terms of the trunk learn, nothing else."""

from __future__ import annotations

from typing import ClassVar

from adaptune.core.backbone import Roles
from adaptune.core.errors import Unsupported
from adaptune.core.lazy import torch
from adaptune.core.method import Method, own_copies


class Bitfit(Method):
    """Every bias of the trunk learns, on a copy of its own."""

    paper: ClassVar[str] = "Ben Zaken, Ravfogel and Goldberg (2022), BitFit, ACL"
    learning_rate: ClassVar[float] = 1e-3
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
