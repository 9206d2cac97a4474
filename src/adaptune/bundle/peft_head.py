"""The classifier that peft saved beside an adapter becomes a head of ours with the same answers. Knows no files."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from adaptune.bundle.peft_import import Adopted, PeftFolder
from adaptune.core.backbone import Backbone
from adaptune.core.errors import Unsupported
from adaptune.core.head import Head
from adaptune.core.method import State
from adaptune.core.types import Labels
from adaptune.heads import HEADS
from adaptune.heads.as_transformers import last_linear

OF_TASK_TYPE = {"SEQ_CLS": "as_transformers", "TOKEN_CLS": "tag"}
"""peft's task type -> the head whose layers are those of transformers' class for it."""


def head_of(found: PeftFolder, adopted: Adopted, backbone: Backbone) -> Head | None:
    """The head that a folder holds, or None. Raises Unsupported for layers that no head has."""
    if not adopted.head:
        return None
    name = OF_TASK_TYPE.get(str(found.task_type))
    if name is None:
        raise Unsupported(
            f"the adapter also holds {min(adopted.head)!r}, a layer above the trunk, and its task type is "
            f"{found.task_type!r}; heads are imported from {' and '.join(OF_TASK_TYPE)} alone: train the adapter "
            "without modules_to_save, or merge it with peft and use the merged model as the base"
        )
    if adopted.method.adds_positions and name == "as_transformers" and not backbone.roles.main.causal:
        raise Unsupported(
            f"the adapter's classifier reads the first position, which is {adopted.method.name!r}'s own with peft and "
            "the text's with adaptune; train it again with adaptune, or import an adapter of another method"
        )
    return HEADS.make({"name": name})


def known_labels(given: tuple[str, ...], backbone: Backbone, classes: int) -> tuple[str, ...] | None:
    """The names of the classifier's rows: those given, else those that the base's configuration tells; None: neither.

    Raises Unsupported where the number differs.
    """
    if given and len(given) != classes:
        raise Unsupported(f"--labels names {len(given)} labels, and the adapter's classifier has {classes} rows")
    if given:
        return given
    config: Any = backbone.whole.config
    told = getattr(config, "id2label", None) or {}
    names = tuple(str(told[index]) for index in sorted(told))
    default = tuple(f"LABEL_{index}" for index in range(len(names)))
    return names if len(names) == classes and names != default else None


def classes_of(head: Head, adopted: Adopted, backbone: Backbone) -> int:
    """How many labels the classifier tells apart. Raises Unsupported where it is built otherwise."""
    layer = head.build(backbone, Labels(("a", "b")))
    name = "weight" if isinstance(layer, nn.Linear) else f"{last_linear(layer)}.weight"
    return int(_own_names(layer, adopted)[name].shape[0])


def load_head(head: Head, layer: nn.Module, adopted: Adopted, backbone: Backbone, labels: Labels) -> None:
    """Put the classifier's tensors into a head's fresh layer. Raises Unsupported for what is missing or differs."""
    tensors = _own_names(layer, adopted)
    own = layer.state_dict()
    pooler = {name for name in own if backbone.pooler and f"{backbone.roles.pooler}." in name}
    if missing := own.keys() - tensors.keys() - pooler:
        raise Unsupported(
            f"the classifier also reads {min(missing)!r}, which neither the adapter nor the base holds: peft makes it "
            "up anew at every loading; save it with the adapter (modules_to_save), or train the head with adaptune"
        )
    if isinstance(layer, nn.Linear) and head.whole(layer, backbone.trunk, labels) is None:
        raise Unsupported(
            f"the token classifier of the family {backbone.roles.family!r} is more than one linear layer, and head "
            f"{head.name!r} is one; train the head with adaptune"
        )
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise Unsupported(
                f"the classifier's {name!r} has shape {tuple(tensor.shape)}, expected {tuple(own[name].shape)}; "
                "name the model that the adapter was made on"
            )
    layer.load_state_dict({name: tensors.get(name, tensor).to(torch.float32) for name, tensor in own.items()})


def _own_names(layer: nn.Module, adopted: Adopted) -> State:
    """The tensors by the layer's own names. Raises Unsupported for one that has no place in it."""
    own = layer.state_dict().keys()
    alone = isinstance(layer, nn.Linear)
    tensors = {name.rpartition(".")[2] if alone else name: tensor for name, tensor in adopted.head.items()}
    strange = [name for name in adopted.head if (name.rpartition(".")[2] if alone else name) not in own]
    if strange or len(tensors) < len(adopted.head):
        raise Unsupported(
            f"the adapter holds {(strange or sorted(adopted.head))[0]!r}, which has no place in the classifier; "
            "merge the adapter with peft and use the merged model as the base"
        )
    return tensors
