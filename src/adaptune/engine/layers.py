"""How far from the top each weight that learns stands: rates by layer, and layers that join in one after another."""

from __future__ import annotations

from typing import Any

from torch import nn

from adaptune.core.backbone import Roles
from adaptune.core.errors import Unsupported
from adaptune.core.method import Method
from adaptune.engine.config import TrainConfig
from adaptune.models.joint import Learner


def rates_by_layer(groups: list[dict[str, Any]], assembly: Learner, decay: float) -> list[dict[str, Any]]:
    """Parameter groups split so that layer l of L has rate * decay^(L - l); embeddings are layer 0.

    Clark et al. (2020), ELECTRA, section 3.1. What stands in no layer has the whole rate. Raises Unsupported where
    nothing stands in one.
    """
    if decay == 1:
        return groups
    heights = _heights(assembly, f"train.layer_decay is {decay:g}", "train.layer_decay=1")
    return [part for group in groups for part in _split(group, heights, decay)]


def first_steps(assembly: Learner, config: TrainConfig, total: int) -> dict[int, int]:
    """By id of a parameter, the step, counted from 0, in which it begins to learn; others learn from the start.

    Gradual unfreezing, Howard and Ruder (2018), section 3.3: the highest layer first, then one more at equal distances,
    the lowest after `train.unfreeze` of all steps. Raises Unsupported for methods that it does not suit.
    """
    if not config.unfreeze:
        return {}
    asked = f"train.unfreeze is {config.unfreeze:g}"
    heights = _heights(assembly, asked, "train.unfreeze=0")
    places = sorted(set(heights.values()))
    if len(places) == 1:
        raise Unsupported(
            f"{asked}, and method {assembly.method.name!r} trains weights of one layer alone; set train.unfreeze=0"
        )
    if type(assembly.method).after_step is not Method.after_step:
        raise Unsupported(
            f"{asked}, and method {assembly.method.name!r} judges its weights by their gradients, and those that "
            "wait have none; set train.unfreeze=0"
        )
    distance = config.unfreeze * total / (len(places) - 1)
    return {key: round(places.index(height) * distance) for key, height in heights.items()}


def _heights(assembly: Learner, asked: str, remedy: str) -> dict[int, int]:
    """By id of each parameter that learns in a layer, how many layers stand above it. Raises Unsupported for none."""
    heights = _layers_above(assembly.trunk, assembly.backbone.roles)
    if not heights:
        raise Unsupported(
            f"{asked}, and method {assembly.method.name!r} trains no weights that stand in layers of their own of this "
            f"{assembly.backbone.roles.family} model; set {remedy}"
        )
    return heights


def _layers_above(trunk: nn.Module, roles: Roles) -> dict[int, int]:
    """By id of each parameter that learns; embeddings have all layers above them. Layers that are one have no place."""
    found: dict[int, int] = {}
    if roles.shares_layers:
        return found
    for stack in roles.stacks:
        layers = list(trunk.get_submodule(stack.layers).children())
        for index, layer in enumerate(layers):
            found |= {id(p): len(layers) - 1 - index for p in layer.parameters() if p.requires_grad}
        for path in stack.embeddings:
            found |= {id(p): len(layers) for p in trunk.get_submodule(path).parameters() if p.requires_grad}
    return found


def _split(group: dict[str, Any], heights: dict[int, int], decay: float) -> list[dict[str, Any]]:
    """One group for each height, the highest first."""
    by_height: dict[int, list[nn.Parameter]] = {}
    for parameter in group["params"]:
        by_height.setdefault(heights.get(id(parameter), 0), []).append(parameter)
    return [
        {**group, "params": parameters, "lr": group["lr"] * decay**height}
        for height, parameters in sorted(by_height.items())
    ]
