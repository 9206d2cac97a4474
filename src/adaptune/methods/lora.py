"""LoRA on peft: a low-rank change beside frozen matrices."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from adaptune.core.backbone import Roles
from adaptune.core.lazy import peft, torch
from adaptune.core.method import Method
from adaptune.methods._peft import inject, is_transposed, merge, targets_by_role


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
    targets: str | list[str] = "attention"
    """Which matrices: a role (attention, query_value, mlp, all) or names of modules within a layer."""

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        config = peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # peft scales by any number
            lora_dropout=self.dropout,
            target_modules=targets_by_role(trunk, roles, self.targets),
            fan_in_fan_out=is_transposed(trunk, roles),
        )
        return inject(trunk, config)

    def merged(self, trunk: torch.nn.Module) -> torch.nn.Module:
        return merge(trunk)

    def first_layer(self, trunk: torch.nn.Module, roles: Roles) -> int | None:
        return 0
