"""Full fine-tuning: every weight of the trunk learns."""

from __future__ import annotations

from typing import ClassVar

from adaptune.core.backbone import Roles
from adaptune.core.lazy import torch
from adaptune.core.method import Method, own_copies


class Full(Method):
    """Every weight of the trunk learns, on a copy of its own."""

    paper: ClassVar[str] = "Howard and Ruder (2018), Universal language model fine-tuning for text classification"
    learning_rate: ClassVar[float] = 5e-5
    touches_base: ClassVar[bool] = True
    trains_matrices: ClassVar[bool] = True

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        own_copies(trunk, (name for name, _ in trunk.named_parameters(remove_duplicate=False)))
        return trunk

    def merged(self, trunk: torch.nn.Module) -> torch.nn.Module:
        return trunk
