"""Bottleneck adapters: a small network behind or beside a part of every layer learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from adaptune.core.backbone import Roles, Stack
from adaptune.core.errors import Unsupported
from adaptune.core.lazy import torch
from adaptune.core.method import Member, Rows
from adaptune.core.space import Among, Values
from adaptune.methods._bottleneck import Place, from_state, mix, put
from adaptune.methods._skipping import SkipsLayers


class Adapter(SkipsLayers):
    """h + s (W_up f(W_down h + b_down) + b_up), W_up zero at the start: the layer first computes what it did.

    Houlsby et al., section 2.1, figure 2: h is what a part of the layer gives, before the residual is added. Layers
    that go without adapters (`skip_layers`): AdapterDrop, Rücklé et al. (2021).
    """

    paper: ClassVar[str] = "Houlsby et al. (2019), Parameter-efficient transfer learning for NLP, ICML"
    learning_rate: ClassVar[float] = 2e-3
    searched: ClassVar[Mapping[str, Values]] = {"reduction_factor": Among((2, 4, 8, 16, 32))}

    variant: Literal["houlsby", "pfeiffer", "parallel"] = "parallel"
    """Where adapters stand. houlsby: behind every attention and feed-forward part. pfeiffer (Pfeiffer et al. 2021):
    behind the feed-forward part. parallel (He et al. 2022, table 1): beside it, reading what it reads, which they found
    to learn best of the three (WNUT17, entity F1 on validation rows after one epoch of two: 0.50, 0.48, 0.53; after the
    second all three are near 0.53)."""
    reduction_factor: int = Field(default=16, ge=1)
    """Hidden size of the model divided by the width of the adapter."""
    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    """f"""
    scaling: float = Field(default=4.0, gt=0)
    """s; He et al. (2022) use 4 beside feed-forward parts, the others 1."""

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        config: Any = trunk.config
        size = int(config.hidden_size)
        if self.reduction_factor > size:
            raise Unsupported(
                f"method.reduction_factor is {self.reduction_factor}, more than the hidden size {size} of the model; "
                "use a smaller one"
            )
        width, scale = size // self.reduction_factor, self.scaling
        self.check_stacks(trunk, roles)
        for stack in roles.stacks:
            for layer in list(trunk.get_submodule(stack.layers).children())[self.skip_layers :]:
                for place in self._places(stack):
                    put(layer, place, size=size, width=width, activation=self.activation, scale=scale)
        return trunk

    def mixed(self, trunk: torch.nn.Module, members: Sequence[Member], rows: Rows) -> torch.nn.Module:
        networks = []
        for method, state in members:
            if not isinstance(method, Adapter):
                raise Unsupported(
                    f"a bundle of method {method.name!r} does not mix with bundles of method 'adapter' in one batch; "
                    "serve them in groups"
                )
            networks.append(from_state(state, method.activation, method.scaling))
        return mix(trunk, networks, rows)

    def _places(self, stack: Stack) -> list[Place]:
        """Within a layer of this stack: paths of the matrix that is read and of the one that is added to."""
        feed_forward = stack.feed_forward
        if self.variant == "parallel":
            return [Place(feed_forward[0], feed_forward[-1])]
        attention = (stack.attention_output, *stack.cross[3:]) if self.variant == "houlsby" else ()
        return [Place(matrix, matrix) for matrix in (*attention, feed_forward[-1])]
