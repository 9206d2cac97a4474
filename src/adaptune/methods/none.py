"""Nothing learns by steps, neither in the trunk nor in the head."""

from __future__ import annotations

from typing import ClassVar

from adaptune.core.backbone import Roles
from adaptune.core.lazy import torch
from adaptune.core.method import Method


class Nothing(Method):
    """The model as it comes, for zero-shot answers and baselines; takes no step: train.epochs must be 0.

    A head with weights of its own is warm-started, or stays as initialised with train.warm_start=false. With head_only
    the head goes on to learn by steps.
    """

    paper: ClassVar[str] = ""
    learning_rate: ClassVar[float] = 1e-3
    steps: ClassVar[bool] = False
    changes_trunk: ClassVar[bool] = False

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        return trunk

    def merged(self, trunk: torch.nn.Module) -> torch.nn.Module:
        return trunk
