"""Adaptive depth: the lowest layers learn no more once they hardly move. Knows no task, and keeps no states.

As AutoFreeze (Liu et al. 2021) and Egeria (Wang et al. 2023) do; what is compared here is how far a layer went in the
last epoch with how far it has come in all, which needs no further pass and has no unit: of weights that start at zero
and of those of a pretrained model it means the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from adaptune.core.backbone import Roles
from adaptune.core.errors import Unsupported
from adaptune.core.method import Method
from adaptune.engine.config import TrainConfig
from adaptune.models.joint import Learner

FEWEST_PASSES = 1.0
"""Over the rows, that must be left: to compute once what more layers give would cost more than it saves."""


@dataclass(frozen=True, slots=True)
class Settled:
    """From now on more of the first layers learn no more: what they give may be kept."""

    step: int
    epoch: float
    layers: int
    of: int
    """Layers of the trunk."""
    shares: tuple[float, ...]
    """Of each layer from the lowest one that still learned: the last epoch's part of its way."""

    def __str__(self) -> str:
        shares = ", ".join(f"{100 * share:.0f} %" for share in self.shares)
        return (
            f"{self.layers} of {self.of} layers learn no more after step {self.step} (epoch {self.epoch:g}); of their "
            f"way since the start, those that learned went in the last epoch, from the lowest up: {shares}"
        )


class Settling:
    """Which of the first layers of an assembly learn no more."""

    def __init__(self, assembly: Learner, config: TrainConfig) -> None:
        """Raises Unsupported where none could be kept."""
        check_settling(assembly, config)
        self.assembly, self.limit = assembly, config.settle
        self.layers = 0
        """So many."""
        self.history: list[tuple[int, int]] = []
        """(step, layers) each time they became more."""
        self._start: list[Tensor] = []
        self._before: list[Tensor] = []

    def begin(self) -> None:
        """Ways are measured from here."""
        self._start = [_joined(weights) for weights in self._weights()]
        self._before = self._start

    def observe(self, step: int, epoch: float) -> Settled | None:
        """An epoch has ended: from the lowest layer up, those settle that went at most the limit's part of their way.

        Never one above a layer that still moves, and never the last one that learns.
        """
        now = [_joined(weights) for weights in self._weights()]
        shares = [_share(*three) for three in zip(now, self._before, self._start, strict=True)]
        self._before = now
        learns = [index for index, weights in enumerate(now) if weights.numel() and index >= self.layers]
        layers = self.layers
        for index, above in pairwise(learns):
            if shares[index] > self.limit:
                break
            layers = above
        if layers == self.layers:
            return None
        self._settle(layers)
        self.history.append((step, layers))
        return Settled(step, epoch, layers, len(now), tuple(shares[index] for index in learns))

    def end(self) -> None:
        """Training is over, and other weights may come: what was kept is of no use."""
        self._settle(0)
        for part in self.assembly.parts:
            part.below = None

    def state(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"layers": self.layers, "history": self.history, "start": self._start, "before": self._before}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.history, self._start, self._before = state["history"], state["start"], state["before"]
        self._settle(state["layers"])

    def _settle(self, layers: int) -> None:
        self.layers = layers
        for part in self.assembly.parts:
            part.still = layers
            part.train(part.training)

    def _weights(self) -> list[list[nn.Parameter]]:
        return learned_by_layer(self.assembly.trunk, self.assembly.backbone.roles)


def check_settling(assembly: Learner, config: TrainConfig) -> None:
    """Raises Unsupported where layers that learn no more would not be right, or of no use."""
    asked, method = f"train.settle is {config.settle:g}", assembly.method
    if type(method).after_step is not Method.after_step:
        raise Unsupported(
            f"{asked}, and method {method.name!r} judges its weights by their gradients, and those that learn no more "
            "have none; set train.settle=0"
        )
    try:
        for part in assembly.parts:
            part.frozen_with(1)
    except Unsupported as reason:
        raise Unsupported(f"{asked}, and {reason}; set train.settle=0") from None
    learning = sum(bool(weights) for weights in learned_by_layer(assembly.trunk, assembly.backbone.roles))
    if learning < 2:
        raise Unsupported(
            f"{asked}, and method {method.name!r} trains weights of {learning} layers, of which the last never "
            "settles; set train.settle=0"
        )


def learned_by_layer(trunk: nn.Module, roles: Roles) -> list[list[nn.Parameter]]:
    """Of each layer of a trunk of one stack, the lowest first, the weights that learn."""
    layers = trunk.get_submodule(roles.main.layers).children()
    return [[weight for weight in layer.parameters() if weight.requires_grad] for layer in layers]


def _joined(weights: Sequence[nn.Parameter]) -> Tensor:
    """(N,) a copy of all numbers."""
    return torch.cat([weight.detach().flatten().cpu() for weight in weights]) if weights else torch.empty(0)


def _share(now: Tensor, before: Tensor, start: Tensor) -> float:
    """|w - w_before| / |w - w_start|; 0 for what has never moved."""
    way = float(torch.linalg.vector_norm(now - start))
    return float(torch.linalg.vector_norm(now - before)) / way if way else 0.0
