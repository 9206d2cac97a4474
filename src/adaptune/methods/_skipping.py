"""Methods that may leave the first layers of each stack as they are. Knows no one method."""

from __future__ import annotations

from pydantic import Field

from adaptune.core.backbone import Roles
from adaptune.core.errors import Unsupported
from adaptune.core.lazy import torch
from adaptune.core.method import Method


class SkipsLayers(Method):
    """A method whose new weights stand within layers, in all of them or from some layer up."""

    skip_layers: int = Field(default=0, ge=0)
    """The first layers of each stack that go without. What they compute never changes, so that training computes it
    once and keeps it (train.trunk_cache): the last layers of six learn with skip_layers 3 or 4."""

    def check(self, roles: Roles, layers: int) -> None:
        if self.skip_layers and roles.shares_layers:
            raise Unsupported(
                f"method.skip_layers is {self.skip_layers}, and models of the family {roles.family!r} use one set of "
                "weights at every depth; use skip_layers 0"
            )
        if self.skip_layers >= layers:
            raise Unsupported(
                f"method.skip_layers is {self.skip_layers}, the model has {layers} layers, and nothing would learn; "
                f"use at most {layers - 1}"
            )

    def check_stacks(self, trunk: torch.nn.Module, roles: Roles) -> None:
        """`check` for every stack of a trunk that is there."""
        for stack in roles.stacks:
            self.check(roles, len(list(trunk.get_submodule(stack.layers).children())))

    def first_layer(self, trunk: torch.nn.Module, roles: Roles) -> int | None:
        # The input of a decoder's first layer is not all that it reads: the encoder's output changes too.
        return None if len(roles.stacks) > 1 or roles.shares_layers else self.skip_layers
