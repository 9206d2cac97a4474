"""LoHa on peft: the product, entry by entry, of two low-rank changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from adaptune.core.backbone import Roles
from adaptune.core.lazy import peft, torch
from adaptune.core.method import State
from adaptune.core.space import Among, Values
from adaptune.methods._peft import OnPeft, Targets, by_layer, inject, refuse_transposed
from adaptune.methods._stacked import Change


class Loha(OnPeft):
    """Beside each chosen matrix W learns (alpha / rank) (B1 A1) * (B2 A2), of rank up to rank^2: proposition 1."""

    paper: ClassVar[str] = "Hyeon-Woo, Ye-Bin and Oh (2022), FedPara, ICLR; Yeh et al. (2024), LyCORIS, ICLR"
    learning_rate: ClassVar[float] = 4e-3
    searched: ClassVar[Mapping[str, Values]] = {"rank": Among((2, 4, 8, 16)), "targets": Among(("attention", "all"))}
    peft_type: ClassVar[str | None] = "LOHA"
    peft_fields: ClassVar[Mapping[str, str]] = {"rank": "r", "alpha": "alpha"}
    peft_silent: ClassVar[frozenset[str]] = frozenset({"use_effective_conv2d"})

    rank: int = Field(default=8, ge=1)
    """r, the rank of each factor."""
    alpha: float = Field(default=16, gt=0)
    """Scale: the change is multiplied by alpha / rank."""
    targets: Targets = "attention"
    """Which matrices: a role (attention, query_value, mlp, all) or names of modules within a layer."""

    def check(self, roles: Roles, layers: int) -> None:
        super().check(roles, layers)
        refuse_transposed(self.name, roles)

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        refuse_transposed(self.name, roles)
        paths = self.target_modules(trunk, roles, self.targets)
        return inject(trunk, peft.LoHaConfig(r=self.rank, alpha=self.alpha, target_modules=paths))

    def changes(self, trunk: torch.nn.Module, state: State) -> dict[str, Change]:
        """As one product of rank r^2: (B1 A1) * (B2 A2) = sum over i, j of (B1_i B2_j) (A1_i A2_j)."""
        changes = {}
        for path, t in by_layer(state).items():
            up = (t["hada_w1_a"][:, :, None] * t["hada_w2_a"][:, None, :]).flatten(1)
            down = (t["hada_w1_b"][:, None, :] * t["hada_w2_b"][None, :, :]).flatten(0, 1)
            changes[path] = Change(down=down, up=self.alpha / self.rank * up)
        return changes
