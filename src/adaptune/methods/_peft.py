"""What methods that stand on the library peft have in common: targets by role, injection, merging. Knows no one method."""

from __future__ import annotations

from typing import Any

from adaptune.core.backbone import Roles, Stack
from adaptune.core.errors import Unsupported, nearest
from adaptune.core.lazy import peft, torch

ROLES = ("attention", "query_value", "mlp", "all")


def targets_by_role(trunk: torch.nn.Module, roles: Roles, targets: str | list[str]) -> list[str]:
    """Paths within a layer of the matrices to change, over all stacks. Raises Unsupported for a name no layer has."""
    if isinstance(targets, str):
        if targets not in ROLES:
            raise Unsupported(
                f"method.targets is {targets!r}{nearest(targets, ROLES)} expected one of {', '.join(ROLES)}, "
                "or a list of module names within a layer"
            )
        return list(dict.fromkeys(path for stack in roles.stacks for path in _of_role(stack, targets)))
    for target in targets:
        inside = [name for stack in roles.stacks for name in _matrices(trunk, stack)]
        if not any(name == target or name.endswith(f".{target}") for name in inside):
            known = list(dict.fromkeys(inside))
            raise Unsupported(
                f"method.targets names {target!r}, which no layer has{nearest(target, known)} (there are: {', '.join(known)})"
            )
    return targets


def inject(trunk: torch.nn.Module, config: Any) -> torch.nn.Module:
    """Put peft's layers into a frozen trunk, in place; only they learn. No tensor of the trunk is written to."""
    peft.inject_adapter_in_model(config, trunk)
    return trunk


def merge(trunk: torch.nn.Module) -> torch.nn.Module:
    """Fold every peft layer into a copy of the matrix below it, in place; the shared tensors stay as they are."""
    layers = {name: module for name, module in trunk.named_modules() if isinstance(module, _tuner_layer())}
    for name, layer in layers.items():
        base = layer.get_base_layer()
        base.weight = torch.nn.Parameter(base.weight.detach().clone(), requires_grad=False)
        layer.merge()
        trunk.set_submodule(name, base)
    return trunk


def is_transposed(trunk: torch.nn.Module, roles: Roles) -> bool:
    """Whether the matrices of a family are stored (in, out), as GPT-2's Conv1D are."""
    first = trunk.get_submodule(f"{roles.main.layers}.0.{roles.main.query}")
    return not isinstance(first, torch.nn.Linear)


def _of_role(stack: Stack, role: str) -> tuple[str, ...]:
    attention = (stack.query, stack.key, stack.value, stack.attention_output)
    return {
        "attention": attention,
        "query_value": (stack.query, stack.value),
        "mlp": stack.feed_forward,
        "all": attention + stack.feed_forward,
    }[role]


def _matrices(trunk: torch.nn.Module, stack: Stack) -> list[str]:
    layer = trunk.get_submodule(f"{stack.layers}.0")
    return [name for name, module in layer.named_modules() if getattr(module, "weight", torch.empty(0)).dim() == 2]


def _tuner_layer() -> type:
    return peft.tuners.tuners_utils.BaseTunerLayer
