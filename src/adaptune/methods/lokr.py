"""LoKr on peft: a Kronecker product of two small matrices."""

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


class Lokr(OnPeft):
    """Beside each chosen matrix W learns (alpha / rank) C (x) (B A), a Kronecker product.

    Where the rank is at least half of the larger side of B A, one full matrix learns in its place.
    """

    paper: ClassVar[str] = (
        "Edalati et al. (2022), KronA; Yeh et al. (2024), Navigating text-to-image customization, ICLR"
    )
    learning_rate: ClassVar[float] = 3e-3
    searched: ClassVar[Mapping[str, Values]] = {"rank": Among((2, 4, 8, 16)), "targets": Among(("attention", "all"))}
    peft_type: ClassVar[str | None] = "LOKR"
    peft_fields: ClassVar[Mapping[str, str]] = {"rank": "r", "alpha": "alpha", "factor": "decompose_factor"}
    peft_silent: ClassVar[frozenset[str]] = frozenset({"use_effective_conv2d", "rank_dropout_scale"})

    rank: int = Field(default=8, ge=1)
    """r, the rank of the second factor."""
    alpha: float = Field(default=16, gt=0)
    """Scale: the change is multiplied by alpha / rank."""
    factor: int | None = Field(default=None, ge=2)
    """Most rows and columns of C, where they divide those of W; none: as near as possible to their square roots."""
    targets: Targets = "attention"
    """Which matrices: a role (attention, query_value, mlp, all) or names of modules within a layer."""

    def check(self, roles: Roles, layers: int) -> None:
        super().check(roles, layers)
        refuse_transposed(self.name, roles)

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        refuse_transposed(self.name, roles)
        config = peft.LoKrConfig(
            r=self.rank,
            alpha=self.alpha,
            decompose_factor=self.factor or -1,
            target_modules=self.target_modules(trunk, roles, self.targets),
        )
        return inject(trunk, config)

    def changes(self, trunk: torch.nn.Module, state: State) -> dict[str, Change]:
        """As one product: C (x) (B A) = (C (x) B) (I (x) A)."""
        changes = {}
        for path, t in by_layer(state).items():
            c = t["lokr_w1"]
            b, a = (
                (t["lokr_w2_a"], t["lokr_w2_b"])
                if "lokr_w2_a" in t
                else (t["lokr_w2"], torch.eye(t["lokr_w2"].shape[1]))
            )
            down = torch.kron(torch.eye(c.shape[1]).to(a), a.to(c))
            changes[path] = Change(down=down, up=self.alpha / self.rank * torch.kron(c, b))
        return changes
