"""What methods on the library peft have in common: targets by role, injection, merging. Knows no one method."""

from __future__ import annotations

from typing import Any

from adaptune.core.backbone import Roles, Stack
from adaptune.core.errors import Unsupported, nearest
from adaptune.core.lazy import peft, torch

ROLES = ("attention", "query_value", "mlp", "all")


def check_targets(targets: str | list[str]) -> str | list[str]:
    """Raises ValueError for a text that is no role; names are checked against the model, once it is there."""
    if isinstance(targets, str) and targets not in ROLES:
        raise ValueError(
            f"{targets!r} is no role{nearest(targets, ROLES)} (there are: {', '.join(ROLES)}; "
            "or give a list of module names within a layer)"
        )
    return targets


def target_modules(trunk: torch.nn.Module, roles: Roles, targets: str | list[str]) -> list[str]:
    """The chosen matrices of every layer as peft names them. Raises Unsupported for a name that no layer has.

    peft changes whatever ends with a name, so names within a layer (`attention.self.query`) are given only where they
    mean no other matrix: BERT's `output.dense` is also the end of `attention.output.dense`.
    """
    if not isinstance(targets, str):
        _check_names(trunk, roles, targets)
    names = [(stack.layers, path) for stack in roles.stacks for path in _paths(trunk, stack, targets)]
    chosen = [f"{layers}.{index}.{path}" for layers, path in names for index in range(_depth(trunk, layers))]
    short = list(dict.fromkeys(path for _, path in names))
    meant = {name for name, _ in trunk.named_modules() if any(name.endswith(f".{path}") for path in short)}
    return short if meant == set(chosen) else chosen


def inject(trunk: torch.nn.Module, config: Any) -> torch.nn.Module:
    """Put peft's layers into a frozen trunk, in place; they alone learn, in fp32. No tensor of the trunk is changed."""
    peft.inject_adapter_in_model(config, trunk)
    for parameter in trunk.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return trunk


def merge(trunk: torch.nn.Module) -> torch.nn.Module:
    """Fold every peft layer into a copy of the matrix below it, in place; the shared tensors stay as they are."""
    tuner_layer = peft.tuners.tuners_utils.BaseTunerLayer
    layers: dict[str, Any] = {name: module for name, module in trunk.named_modules() if isinstance(module, tuner_layer)}
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


def _paths(trunk: torch.nn.Module, stack: Stack, targets: str | list[str]) -> list[str]:
    """Paths within a layer of one stack."""
    if isinstance(targets, str):
        return list(dict.fromkeys(_of_role(stack, targets)))
    return [path for path in _matrices(trunk, stack) if any(f".{path}".endswith(f".{target}") for target in targets)]


def _of_role(stack: Stack, role: str) -> tuple[str, ...]:
    attention = (stack.query, stack.key, stack.value, stack.attention_output)
    return {
        "attention": attention,
        "query_value": (stack.query, stack.value),
        "mlp": stack.feed_forward,
        "all": attention + stack.feed_forward,
    }[role]


def _check_names(trunk: torch.nn.Module, roles: Roles, targets: list[str]) -> None:
    inside = list(dict.fromkeys(path for stack in roles.stacks for path in _matrices(trunk, stack)))
    for target in targets:
        if not any(f".{path}".endswith(f".{target}") for path in inside):
            raise Unsupported(
                f"method.targets names {target!r}, which no layer of this {roles.family} model has"
                f"{nearest(target, inside)} (there are: {', '.join(inside)})"
            )


def _matrices(trunk: torch.nn.Module, stack: Stack) -> list[str]:
    """Paths within a layer of everything that multiplies by a matrix."""
    layer = trunk.get_submodule(f"{stack.layers}.0")
    return [name for name, module in layer.named_modules() if _is_matrix(module)]


def _is_matrix(module: torch.nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, torch.Tensor) and weight.dim() == 2 and not isinstance(module, torch.nn.Embedding)


def _depth(trunk: torch.nn.Module, layers: str) -> int:
    return len(trunk.get_submodule(layers))  # type: ignore[arg-type]  # a ModuleList
