"""Nothing in the trunk learns; the head alone does."""

from __future__ import annotations

from typing import ClassVar

from adaptune.core.backbone import Roles
from adaptune.core.lazy import torch
from adaptune.core.method import Method


class HeadOnly(Method):
    """The trunk stays as it is: a linear probe."""

    paper: ClassVar[str] = "Alain and Bengio (2016), Understanding intermediate layers using linear classifier probes"
    learning_rate: ClassVar[float] = 1e-3
    changes_trunk: ClassVar[bool] = False

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        return trunk

    def merged(self, trunk: torch.nn.Module) -> torch.nn.Module:
        return trunk

    def first_layer(self, trunk: torch.nn.Module, roles: Roles) -> int | None:
        if roles.shares_layers:
            return None
        return len(trunk.get_submodule(roles.main.layers))  # type: ignore[arg-type]  # a ModuleList
