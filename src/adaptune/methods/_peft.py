"""What methods that stand on the library peft have in common: targets, injection, merging. Knows no one method."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from adaptune.core.backbone import Roles, Stack
from adaptune.core.errors import Unsupported, nearest
from adaptune.core.lazy import peft, torch, transformers
from adaptune.core.method import Member, PeftFiles, Rows, State
from adaptune.methods._skipping import SkipsLayers
from adaptune.methods._stacked import Change, mix

ROLES = ("attention", "query_value", "mlp", "all")
ADAPTER = "default"
"""peft's name of the one adapter that learns."""


class OnPeft(SkipsLayers):
    """A method whose layers are peft's: each wraps one matrix of the trunk and computes its output and a change."""

    peft_format: ClassVar[bool] = True

    @abstractmethod
    def changes(self, trunk: torch.nn.Module, state: State) -> dict[str, Change]:
        """What a state makes of each matrix of an untouched trunk, by the matrix's path."""

    def merged(self, trunk: torch.nn.Module) -> torch.nn.Module:
        return merge(trunk)

    def mixed(self, trunk: torch.nn.Module, members: Sequence[Member], rows: Rows) -> torch.nn.Module:
        changes: list[dict[str, Change]] = []
        for method, state in members:
            if not state:  # a head on the untouched trunk
                changes.append({})
                continue
            if not isinstance(method, OnPeft):
                raise Unsupported(
                    f"a bundle of method {method.name!r} does not mix with bundles of method {self.name!r} "
                    "in one batch; serve them in groups"
                )
            changes.append(method.changes(trunk, state))
        return mix(trunk, changes, rows)

    def target_modules(self, trunk: torch.nn.Module, roles: Roles, targets: str | list[str]) -> list[str]:
        """The chosen matrices of the layers that do not go without, as peft names them. Raises Unsupported."""
        self.check_stacks(trunk, roles)
        return target_modules(trunk, roles, targets, self.skip_layers)

    def peft_files(self, trunk: torch.nn.Module) -> PeftFiles:
        return PeftFiles(peft_config(trunk), peft_tensors(self.state(trunk)))

    def from_peft(self, trunk: torch.nn.Module, settings: Mapping[str, Any], tensors: State) -> State:
        own = self.state(trunk)
        names = {_peft_name(name): name for name in own}
        check_same_names(tensors, names)
        for name, tensor in tensors.items():
            check_shape(name, tensor, own[names[name]].shape)
        return {names[name]: tensor for name, tensor in tensors.items()}


def check_same_names(tensors: State, expected: Collection[str]) -> None:
    """Refuse an adapter that changes other matrices. Raises Unsupported."""
    for what, names in (("lacks", expected - tensors.keys()), ("also has", tensors.keys() - set(expected))):
        if names:
            raise Unsupported(
                f"the adapter {what} the tensor {min(names)!r} ({len(names)} in all), so it changes other matrices "
                "than this method would; load it with peft, merge it there, and use the merged model as the base"
            )


def check_shape(name: str, tensor: torch.Tensor, expected: Collection[int]) -> None:
    """Refuse a tensor made for a model of another size. Raises Unsupported."""
    if tuple(tensor.shape) != tuple(expected):
        raise Unsupported(
            f"the adapter's tensor {name!r} has shape {tuple(tensor.shape)}, and this model calls for "
            f"{tuple(expected)}; name the model that the adapter was made on, in the recipe's model section"
        )


def targets_of(trunk: torch.nn.Module, roles: Roles, paths: Collection[str]) -> tuple[str | list[str], int]:
    """`targets` and `skip_layers` that mean just these matrices. Raises Unsupported where none do."""
    by_layer = matrices(trunk, roles, lambda _stack, inside: inside)
    changed = [(layer, name) for layer, name in by_layer if f"{layer}.{name}" in paths]
    skip = min((int(layer.rpartition(".")[2]) for layer, _ in changed), default=0)
    for role in ROLES:
        if _chosen(trunk, roles, role, skip) == set(paths):
            return role, skip
    names = list(dict.fromkeys(name for _, name in changed))
    outside = set(paths) - {f"{layer}.{name}" for layer, name in by_layer}
    if outside:
        raise Unsupported(
            f"the adapter changes {min(outside)!r}, which is no matrix of a layer ({len(outside)} such); "
            "adaptune's methods change layers alone: merge the adapter with peft and use the merged model as the base"
        )
    if missing := _chosen(trunk, roles, names, skip) - set(paths):
        raise Unsupported(
            f"the adapter leaves out {min(missing)!r} ({len(missing)} such) and changes the like of it in other layers "
            "(layers_to_transform, exclude_modules or a pattern); adaptune's methods change all layers from some layer "
            "up alike: merge the adapter with peft and use the merged model as the base"
        )
    return names, skip


def _chosen(trunk: torch.nn.Module, roles: Roles, targets: str | list[str], skip: int) -> set[str]:
    if isinstance(targets, str):
        found = matrices(trunk, roles, lambda stack, _inside: _of_role(stack, targets), skip)
    else:
        found = matrices(trunk, roles, lambda _stack, inside: _named(targets, inside), skip)
    return {f"{layer}.{name}" for layer, name in found}


def check_targets(targets: str | list[str]) -> str | list[str]:
    """Raises ValueError for a text that is no role; names are checked against the model, once it is there."""
    if isinstance(targets, str) and targets not in ROLES:
        raise ValueError(
            f"{targets!r} is no role{nearest(targets, ROLES)} (there are: {', '.join(ROLES)}; "
            "or give a list of module names within a layer)"
        )
    return targets


Targets = Annotated[str | list[str], Field(min_length=1), AfterValidator(check_targets)]


def target_modules(trunk: torch.nn.Module, roles: Roles, targets: str | list[str], skip: int = 0) -> list[str]:
    """The chosen matrices of every layer but the first `skip`, as peft names them.

    Raises Unsupported for a name that no layer has.

    peft changes whatever ends with a name, so names within a layer (`attention.self.query`) are given only where they
    mean no other matrix: BERT's `output.dense` is also the end of `attention.output.dense`.
    """
    if isinstance(targets, str):
        found = matrices(trunk, roles, lambda stack, _inside: _of_role(stack, targets), skip)
    else:
        found = matrices(trunk, roles, lambda _stack, inside: _named(targets, inside), skip)
        _check_names(trunk, roles, targets)
    chosen = {f"{layer}.{name}" for layer, name in found}
    short = tuple(dict.fromkeys(name for _, name in found))
    meant = {name for name, _ in trunk.named_modules() if name.endswith(tuple(f".{ending}" for ending in short))}
    return list(short) if meant == chosen else sorted(chosen)


def matrices(
    trunk: torch.nn.Module, roles: Roles, chosen: Callable[[Stack, list[str]], Collection[str]], skip: int = 0
) -> list[tuple[str, str]]:
    """Path of the layer and path within it of the matrices that `chosen` names, given a stack and all of a layer's.

    Of every stack the first `skip` layers are left out.
    """
    return [
        (layer, name)
        for stack in roles.stacks
        for layer, inside in _layers(trunk, stack)[skip:]
        for name in inside
        if name in chosen(stack, inside)
    ]


def inject(trunk: torch.nn.Module, config: Any) -> torch.nn.Module:
    """Put peft's layers into a frozen trunk, in place; only they learn, in fp32. No tensor of the trunk is changed."""
    given = config.target_modules
    peft.PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](trunk, config, adapter_name=ADAPTER)
    config.target_modules = given  # peft shortens long lists for this trunk; the base may have more matrices
    # peft gives adapters the type of the weights below them, in which small steps are lost.
    for layer in tuner_layers(trunk).values():
        for part in (part for name, part in layer.named_children() if name != "base_layer"):
            part.float()
    return trunk


def tuner_layers(trunk: torch.nn.Module) -> dict[str, Any]:
    """peft's layers by their path."""
    kind = peft.tuners.tuners_utils.BaseTunerLayer
    return {name: module for name, module in trunk.named_modules() if isinstance(module, kind)}


def merge(trunk: torch.nn.Module) -> torch.nn.Module:
    """Fold every peft layer into a copy of the matrix below it, in place; the shared tensors stay as they are."""
    for name, layer in tuner_layers(trunk).items():
        base = layer.get_base_layer()
        for leaf, parameter in list(base.named_parameters(recurse=False)):
            if not parameter.is_floating_point():
                raise Unsupported(
                    f"the matrix {name!r} is quantised, and nothing can be merged into it; "
                    "dequantise the trunk first, as `adaptune merge` does"
                )
            setattr(base, leaf, torch.nn.Parameter(parameter.detach().clone(), requires_grad=False))
        layer.merge()
        trunk.set_submodule(name, base)
    del trunk.peft_config
    return trunk


def matrix(layer: torch.nn.Module) -> torch.Tensor:
    """(out, in) the weights of a matrix in fp32, however its family stores them."""
    base = getattr(layer, "base_layer", layer)
    weight: torch.Tensor = peft.utils.integrations.dequantize_module_weight(base).detach().float()
    return weight.T if isinstance(base, transformers.pytorch_utils.Conv1D) else weight


def is_transposed(trunk: torch.nn.Module, roles: Roles) -> bool:
    """Whether the matrices of a family are stored (in, out), as GPT-2's Conv1D are."""
    first = trunk.get_submodule(f"{roles.main.layers}.0.{roles.main.query}")
    return isinstance(first, transformers.pytorch_utils.Conv1D)


def refuse_transposed(name: str, roles: Roles) -> None:
    """Refuse the family whose matrices some of peft's layers cannot read. Raises Unsupported."""
    if roles.family == "gpt2":
        raise Unsupported(
            f"method {name!r} cannot read the transposed matrices of the family {roles.family!r}; "
            "use lora, adalora, vera or ia3 instead"
        )


def by_layer(state: State) -> dict[str, dict[str, torch.Tensor]]:
    """A state as path of the matrix -> peft's name of the tensor (`lora_A`) -> tensor."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in state.items():
        path, kind, _ = name.removesuffix(".weight").rsplit(".", 2)
        found.setdefault(path, {})[kind] = tensor
    return found


def peft_config(trunk: torch.nn.Module) -> Any:
    """peft's configuration of what was put into this trunk."""
    settled: Any = trunk.peft_config
    config = copy(settled[ADAPTER])
    for name, value in vars(config).items():
        if isinstance(value, set):
            setattr(config, name, sorted(value))  # a set is written in any order
    config.inference_mode = True
    return config


def peft_tensors(state: State) -> State:
    """`encoder.layer.0.….lora_A.default.weight` -> `base_model.model.encoder.layer.0.….lora_A.weight`."""
    return {f"base_model.model.{_peft_name(name)}": tensor for name, tensor in state.items()}


def _peft_name(name: str) -> str:
    # DoRA's magnitude was once a plain parameter in peft, and its files still call it so.
    name = name.replace(f"lora_magnitude_vector.{ADAPTER}.weight", "lora_magnitude_vector")
    return name.removesuffix(f".{ADAPTER}").replace(f".{ADAPTER}.weight", ".weight")


def _of_role(stack: Stack, role: str) -> tuple[str, ...]:
    attention = (stack.query, stack.key, stack.value, stack.attention_output, *stack.cross)
    return {
        "attention": attention,
        "query_value": (stack.query, stack.value, *stack.cross[0::2]),
        "mlp": stack.feed_forward,
        "all": attention + stack.feed_forward,
    }[role]


def _layers(trunk: torch.nn.Module, stack: Stack) -> list[tuple[str, list[str]]]:
    """Path of each layer, and paths of the matrices within it."""
    kinds = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    layers = trunk.get_submodule(stack.layers)
    return [
        (f"{stack.layers}.{index}", [name for name, module in layer.named_modules() if isinstance(module, kinds)])
        for index, layer in layers.named_children()
    ]


def _check_names(trunk: torch.nn.Module, roles: Roles, targets: list[str]) -> None:
    known = list(
        dict.fromkeys(name for stack in roles.stacks for _, inside in _layers(trunk, stack) for name in inside)
    )
    for target in targets:
        if not _named([target], known):
            raise Unsupported(
                f"method.targets names {target!r}, which no layer of this {roles.family} model has"
                f"{nearest(target, known)} (there are: {', '.join(known)})"
            )


def _named(targets: list[str], inside: list[str]) -> set[str]:
    """A path means itself; what is no path means every path that ends with it."""
    endings = tuple(f".{target}" for target in targets if target not in inside)
    return {name for name in inside if name in targets or name.endswith(endings)}
