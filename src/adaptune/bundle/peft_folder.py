"""The files by which the library peft loads a bundle's trunk: onto AutoModel, or onto AutoModelForCausalLM."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from torch import nn

from adaptune.bundle.weights import write_tensors
from adaptune.core.errors import Unsupported
from adaptune.models.assembly import Assembly

Onto = Literal["base", "causal-lm"]
"""Which model of transformers stands below the adapter: AutoModel's, or AutoModelForCausalLM's."""
_WITHIN = "base_model.model."


def usual_onto(assembly: Assembly) -> Onto:
    """A decoder whose head is its own output layer over words is loaded with that layer; all others without."""
    return "causal-lm" if assembly.head.reads_words and _is_decoder(assembly) else "base"


def write_peft(assembly: Assembly, folder: Path, *, onto: Onto | None = None) -> bool:
    """adapter_config.json and adapter_model.safetensors, for `PeftModel.from_pretrained`. Raises Unsupported.

    False, and no files, where peft has no such method for this model, or the trunk reads tokens of the head's own.
    """
    if assembly.head.own_tokens:
        return False
    onto = onto or usual_onto(assembly)
    files = assembly.method.peft_files(assembly.trunk)
    if files is None:
        return False
    config, tensors = files.config, files.tensors
    config.base_model_name_or_path = assembly.backbone.name
    config.revision = assembly.backbone.revision
    if onto == "causal-lm":
        _check_decoder(assembly)
        trunk: Any = assembly.trunk
        config.task_type = "CAUSAL_LM"
        inside = f"{_WITHIN}{trunk.base_model_prefix}."
        tensors = {
            inside + name.removeprefix(_WITHIN) if name.startswith(_WITHIN) else name: tensor
            for name, tensor in tensors.items()
        }
        if hasattr(config, "target_modules") and not hasattr(config, "feedforward_modules"):
            config.target_modules = _leaves(list(config.target_modules), trunk)
    if isinstance(getattr(config, "target_modules", None), set):
        config.target_modules = sorted(config.target_modules)  # a set is written in any order
    write_tensors(tensors, folder / "adapter_model.safetensors")
    config.save_pretrained(str(folder))
    return True


def check_plain(assembly: Assembly) -> None:
    """Raises Unsupported for a trunk that reads what no vocabulary has, or rows that are put to it otherwise."""
    if assembly.approach.rewrites:
        raise Unsupported(
            f"the approach {assembly.approach.name!r} rewrites every text before the model reads it, which no model of "
            "transformers or peft does by itself; serve the bundle as it is"
        )
    if own := assembly.head.own_tokens:
        raise Unsupported(
            f"the model reads {', '.join(own)}, own tokens of the head {assembly.head.name!r}, which no model of "
            "transformers or peft has; serve the bundle as it is, or train it without them (head.markers=signs)"
        )


def _check_decoder(assembly: Assembly) -> None:
    """Raises Unsupported for a model that AutoModelForCausalLM would load otherwise, or not at all."""
    if not _is_decoder(assembly):
        raise Unsupported(
            f"the family {assembly.backbone.roles.family!r} is no decoder, and AutoModelForCausalLM loads decoders; "
            "write the adapter for the base: --for base"
        )


def _is_decoder(assembly: Assembly) -> bool:
    roles = assembly.backbone.roles
    return len(roles.stacks) == 1 and roles.main.causal


def _leaves(targets: list[str], trunk: nn.Module) -> list[str]:
    """Targets by their last names (`q_proj`), as servers of LoRA expect them, where these mean the same matrices."""
    paths = [name.removesuffix(".base_layer") for name, _ in trunk.named_modules()]
    leaves = sorted({target.rpartition(".")[2] for target in targets})
    return leaves if _meant(leaves, paths) == _meant(targets, paths) else targets


def _meant(targets: list[str], paths: list[str]) -> set[str]:
    return {path for path in paths if path in targets or path.endswith(tuple(f".{target}" for target in targets))}
