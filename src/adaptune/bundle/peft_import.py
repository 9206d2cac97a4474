"""A folder that peft alone wrote becomes a method, its state and the layers of a head. Knows no recipe and no data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import peft
from pydantic import ValidationError
from torch import Tensor, nn

from adaptune.bundle.weights import read_tensors
from adaptune.core.backbone import Backbone
from adaptune.core.errors import BundleError, Unsupported
from adaptune.core.method import Method, State
from adaptune.methods import METHODS
from adaptune.methods._peft import targets_of
from adaptune.models.share import share

CONFIG, TENSORS, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
HARMLESS_STARTS = (None, True, False, "gaussian", "orthogonal", "eva", "lycoris")
"""Initialisations that leave the base as it is; PiSSA and its like change it, and so what an adapter means."""
_SILENT = frozenset(
    {
        *("auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version", "revision"),
        *("task_type", "runtime_config", "megatron_core"),
        # What these choose is seen by the names of the tensors.
        *("exclude_modules", "fan_in_fan_out", "layers_pattern", "layers_to_transform", "modules_to_save"),
        "target_modules",
    }
)
"""Fields of every configuration that change nothing which a trained adapter computes, beside its tensors."""


@dataclass(frozen=True, slots=True)
class PeftFolder:
    """adapter_config.json and adapter_model.safetensors as they were read."""

    folder: Path
    settings: Mapping[str, Any]
    tensors: State

    @property
    def base(self) -> str | None:
        """The model that the adapter was made on, as peft recorded it."""
        return self.settings.get("base_model_name_or_path") or None

    @property
    def task_type(self) -> str | None:
        """`SEQ_CLS`, `TOKEN_CLS`, `CAUSAL_LM`, ..."""
        return self.settings.get("task_type")


@dataclass(frozen=True, slots=True)
class Adopted:
    """What a PEFT folder means here."""

    method: Method
    state: State
    """The method's."""
    head: State
    """Layers on top of the trunk, by the names that the transformers class gives them: `classifier.weight`."""


def read_peft(folder: Path) -> PeftFolder:
    """The two files of a PEFT folder. Raises BundleError; nothing is unpickled."""
    config, tensors = folder / CONFIG, folder / TENSORS
    if not config.is_file():
        what = "no such folder" if not folder.is_dir() else f"it has no {CONFIG}"
        raise BundleError(
            f"{str(folder)!r} is no PEFT folder: {what}; expected one that `save_pretrained` of peft wrote"
        )
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{config} is damaged: {error}; copy the folder again") from error
    if not isinstance(settings, dict):
        raise BundleError(f"{config} holds no settings but {type(settings).__name__}; copy the folder again")
    if not tensors.is_file() and (folder / PICKLED).is_file():
        raise BundleError(
            f"{folder / PICKLED} can run code when it is read, only safetensors are loaded; where you trust it, load "
            "it with peft and save it again: model.save_pretrained(FOLDER)"
        )
    if not tensors.is_file():
        raise BundleError(f"{tensors} is missing; copy the whole folder again")
    return PeftFolder(folder, settings, read_tensors(tensors))


def check_same_base(found: PeftFolder, model: str) -> None:
    """Refuse an adapter whose configuration names another model; peft records a name alone. Raises BundleError."""
    if found.base is not None and _last(found.base) != _last(model):
        raise BundleError(
            f"the adapter in {str(found.folder)!r} was made on {found.base!r}, and the recipe's model is {model!r}; "
            "name that model in the recipe, or say --same-base if it is the same one under another name"
        )


def adopt(found: PeftFolder, backbone: Backbone) -> Adopted:
    """The method and its state. Raises Unsupported for whatever would be ignored, by its name."""
    kind = _method_of(found)
    below, above = _parted(found, backbone)
    settings = _settings(found, kind)
    if "targets" in kind.model_fields:
        trunk = share(backbone.trunk)
        settings["targets"], settings["skip_layers"] = targets_of(trunk, backbone.roles, _matrices(trunk, below))
    try:
        method = kind.model_validate(settings)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise Unsupported(f"{found.folder / CONFIG} does not fit method {kind.name!r}: {told}") from error
    trunk = method.apply(share(backbone.trunk), backbone.roles)
    return Adopted(method, method.from_peft(trunk, found.settings, below), above)


def _method_of(found: PeftFolder) -> type[Method]:
    known = {kind.peft_type: kind for kind in map(METHODS.get, METHODS.names()) if kind.peft_type is not None}
    kind = known.get(str(found.settings.get("peft_type")))
    if kind is None:
        raise Unsupported(
            f"{found.folder / CONFIG} is of peft's type {found.settings.get('peft_type')!r}; imported are "
            f"{', '.join(sorted(known))}"
        )
    return kind


def _settings(found: PeftFolder, kind: type[Method]) -> dict[str, Any]:
    """The method's fields. Raises Unsupported where the configuration says something that it has no field for."""
    usual = {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(peft.PEFT_TYPE_TO_CONFIG_MAPPING[kind.peft_type])
    }
    silent = _SILENT | kind.peft_silent | set(kind.peft_fields.values())
    for name, value in found.settings.items():
        if name.startswith("init_") and name.endswith("weights"):
            if value not in HARMLESS_STARTS:
                raise Unsupported(
                    f"{CONFIG} says {name}: {value!r}, which changed the base below the adapter; convert it with "
                    "peft first (save_pretrained with path_initial_model_for_weight_conversion) and import that"
                )
        elif name not in silent and (value or None) != (usual.get(name) or None):
            raise Unsupported(
                f"{CONFIG} says {name}: {value!r}, which method {kind.name!r} would ignore; merge the adapter with "
                "peft and use the merged model as the base"
            )
    given = {ours: found.settings.get(theirs, usual[theirs]) for ours, theirs in kind.peft_fields.items()}
    return {ours: _value(value) for ours, value in given.items()}


def _value(value: Any) -> Any:
    """peft's names are in capitals, and its -1 means that there is no limit."""
    if isinstance(value, str):
        return value.lower()
    return None if value == -1 else value


def _parted(found: PeftFolder, backbone: Backbone) -> tuple[State, State]:
    """Tensors of the trunk by their names within it, and those above it by theirs in the whole model."""
    trunk: Any = backbone.trunk
    below, above = {}, {}
    for name, tensor in found.tensors.items():
        whole = name.removeprefix("base_model.").removeprefix("model.") if name.startswith("base_model.") else name
        inside = next((path for path in _within(whole, trunk) if path.partition(".")[0] in trunk._modules), None)
        if inside is not None:
            below[inside] = tensor
        elif "." in whole:
            above[whole] = tensor
        else:  # a prompt, a projection that all matrices share
            below[whole] = tensor
    return below, above


def _within(whole: str, trunk: Any) -> tuple[str, ...]:
    prefix = f"{trunk.base_model_prefix}."
    return (whole, whole.removeprefix(prefix)) if whole.startswith(prefix) else (whole,)


def _matrices(trunk: nn.Module, tensors: Mapping[str, Tensor]) -> set[str]:
    """The modules that tensors belong to, by their paths."""
    known = {name for name, _ in trunk.named_modules() if name}
    found = set()
    for name in tensors:
        path = name
        while path and path not in known:
            path = path.rpartition(".")[0]
        if path:
            found.add(path)
    return found


def _last(name: str) -> str:
    """Of a folder or a hub id the last part."""
    return name.replace("\\", "/").rstrip("/").split("/")[-1].lower()
