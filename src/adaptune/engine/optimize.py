"""The optimizer and the schedule of learning rates, by name. Knows no data."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from adaptune.engine.config import TrainConfig

_CLASSES: dict[str, type[torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "adamax": torch.optim.Adamax,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "sgd": torch.optim.SGD,
}


def make_optimizer(groups: list[dict[str, Any]], config: TrainConfig) -> torch.optim.Optimizer:
    """An optimizer over parameter groups, each split into what decays (matrices) and what does not."""
    options: dict[str, Any] = {"momentum": config.momentum} if config.optimizer in ("sgd", "rmsprop") else {}
    if config.optimizer in ("adamw", "adam"):
        options["fused"] = True
    split = [part for group in groups for part in _split(group, config.weight_decay)]
    return _CLASSES[config.optimizer](split or groups, **options)


def scale(config: TrainConfig, step: int, total: int) -> float:
    """What the peak learning rates are multiplied by in a step, counted from 0: rises over the warm-up, then falls."""
    rising = math.ceil(config.warmup * total)
    if step < rising:
        return (step + 1) / rising
    if config.schedule == "constant":
        return 1.0
    done = (step - rising) / max(1, total - rising)
    return max(0.0, 1 - done) if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _split(group: dict[str, Any], decay: float) -> list[dict[str, Any]]:
    """Biases, norms and other vectors are not decayed; a group with a decay of its own keeps it."""
    parameters: list[nn.Parameter] = list(group["params"])
    matrices = [p for p in parameters if p.dim() > 1]
    vectors = [p for p in parameters if p.dim() <= 1]
    parts = ((matrices, decay), (vectors, 0.0))
    return [{"weight_decay": rate, **group, "params": part} for part, rate in parts if part]
