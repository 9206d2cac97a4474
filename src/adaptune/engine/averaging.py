"""Running averages of the weights that learn, which are judged and kept instead of the last ones. Knows no metric.

Polynomial-decay averaging (Shamir and Zhang 2013): at any step the average stands for about the last part of the way,
without knowing where the way ends. What steps at a high learning rate throw about is averaged out, so that evaluations
long before the end see what a falling rate would come to. Here that part falls with the rate: where steps are small
already, older weights would only lag behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from adaptune.core.errors import Unsupported
from adaptune.core.method import Method
from adaptune.engine.config import TrainConfig
from adaptune.models.joint import Learner

USUAL = 0.2
"""Share of the steps so far that `auto` averages over (STS-B, LoRA at 4e-3, Pearson on validation rows after each half
epoch, this part at any rate: 63.5, 76.0, 78.3, 79.7, 81.6, 83.2 instead of 68.9, 69.5, 76.1, 75.5, 80.5, 82.6)."""
FEW = 0.1
"""Of all weights: where more learn, a copy of them and its upkeep are no small matter, and `auto` does without."""


def averaged_share(assembly: Learner, config: TrainConfig) -> float:
    """What part of the steps so far is averaged over at the peak learning rate; 0: none.

    Raises Unsupported where it is asked for and would be wrong.
    """
    against = _against(assembly, config)
    if config.average != "auto":
        if config.average and against is not None:
            raise Unsupported(f"train.average is {config.average:g}, and {against}; set train.average=0 or auto")
        return config.average
    if against is not None:
        return 0.0
    learned, all_of_them = assembly.count_parameters()
    return USUAL if learned <= FEW * all_of_them else 0.0


def _against(assembly: Learner, config: TrainConfig) -> str | None:
    if type(assembly.method).after_step is not Method.after_step:
        return f"method {assembly.method.name!r} decides at steps which weights there are, which averages would undo"
    if config.settle:
        return (
            f"train.settle is {config.settle:g}: what layers gave when they came to learn no more is kept, which is "
            "not what averages of their weights would give"
        )
    return None


class Averaging:
    """Averages beside the weights of an assembly that learn."""

    def __init__(self, assembly: Learner, config: TrainConfig) -> None:
        """Raises Unsupported where averages are asked for and would be wrong."""
        self.share, self.steps = averaged_share(assembly, config), 0
        self._weights = [weight for weight in assembly.parameters() if weight.requires_grad]
        self._averages: list[Tensor] = []

    def add(self, rate: float) -> None:
        """An optimizer step is done, at this part of the peak learning rate."""
        if not self.share:
            return
        last = [weight.detach() for weight in self._weights]
        self.steps += 1
        if self.steps == 1:
            self._averages = [weight.clone() for weight in last]
        else:
            torch._foreach_lerp_(self._averages, last, 1 / (1 + rate * self.share * (self.steps - 1)))

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Within, the averages, once there are any, stand where the weights do."""
        if not self.steps:
            yield
            return
        last = [weight.data for weight in self._weights]
        try:
            self._put(self._averages)
            yield
        finally:
            self._put(last)

    def state(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"steps": self.steps, "averages": self._averages}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.steps = state["steps"]
        if self.steps:
            pairs = zip(self._weights, state["averages"], strict=True)
            self._averages = [average.to(weight.device) for weight, average in pairs]

    def _put(self, tensors: list[Tensor]) -> None:
        for weight, tensor in zip(self._weights, tensors, strict=True):
            weight.data = tensor
