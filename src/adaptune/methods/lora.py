"""LoRA on peft: a low-rank change beside frozen matrices."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from adaptune.core.backbone import Roles
from adaptune.core.lazy import peft, torch
from adaptune.core.method import Method
from adaptune.methods._peft import check_targets, inject, is_transposed, merge, target_modules


class Lora(Method):
    """Beside each chosen matrix W learns a low-rank change: W x + (alpha / rank) B A x."""

    paper: ClassVar[str] = "Hu et al. (2022), LoRA: low-rank adaptation of large language models, ICLR"
    learning_rate: ClassVar[float] = 1e-3
    peft_format: ClassVar[bool] = True

    rank: int = Field(default=8, ge=1)
    """r, the rank of the change."""
    alpha: float = Field(default=16, gt=0)
    """Scale: the change is multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the input of A, in training."""
    targets: str | list[str] = Field(default="attention", min_length=1)
    """Which matrices: a role (attention, query_value, mlp, all) or names of modules within a layer."""

    _check_targets = field_validator("targets")(check_targets)

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        config = peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=target_modules(trunk, roles, self.targets),
            fan_in_fan_out=is_transposed(trunk, roles),
        )
        return inject(trunk, config)

    def merged(self, trunk: torch.nn.Module) -> torch.nn.Module:
        return merge(trunk)

    def first_layer(self, trunk: torch.nn.Module, roles: Roles) -> int | None:
        return 0 if len(roles.stacks) == 1 else None
