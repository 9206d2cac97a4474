"""The last layers of the trunk learn, those below stay frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from adaptune.core.backbone import Roles
from adaptune.core.errors import Unsupported
from adaptune.core.lazy import torch
from adaptune.core.method import Method, own_copies
from adaptune.core.space import Among, Values


class TopLayers(Method):
    """The last `layers` layers learn, on copies of their own, and the norm after them."""

    paper: ClassVar[str] = (
        "Lee, Tang and Lin (2019), What would Elsa do? Freezing layers during transformer fine-tuning"
    )
    learning_rate: ClassVar[float] = 1e-4
    searched: ClassVar[Mapping[str, Values]] = {"layers": Among((1, 2, 3))}
    touches_base: ClassVar[bool] = True
    trains_matrices: ClassVar[bool] = True

    layers: int = Field(default=2, ge=1)
    """How many of the last layers learn."""

    def check(self, roles: Roles, layers: int) -> None:
        if roles.shares_layers:
            raise Unsupported(
                f"method 'top_layers' needs layers of their own, and models of the family {roles.family!r} use one "
                "set of weights at every depth; use lora or full instead"
            )
        if self.layers > layers:
            raise Unsupported(f"method.layers is {self.layers}, the model has {layers} layers; use at most {layers}")

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        stack = roles.main
        count = len(trunk.get_submodule(stack.layers))  # type: ignore[arg-type]  # a ModuleList
        self.check(roles, count)
        tops = [f"{stack.layers}.{index}" for index in range(count - self.layers, count)]
        if stack.final_norm is not None:
            tops.append(stack.final_norm)
        names = [f"{top}.{name}" for top in tops for name, _ in trunk.get_submodule(top).named_parameters()]
        own_copies(trunk, names)
        return trunk

    def merged(self, trunk: torch.nn.Module) -> torch.nn.Module:
        return trunk

    def first_layer(self, trunk: torch.nn.Module, roles: Roles) -> int | None:
        if len(roles.stacks) > 1:
            return None
        return len(trunk.get_submodule(roles.main.layers)) - self.layers  # type: ignore[arg-type]  # a ModuleList
