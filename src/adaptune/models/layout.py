"""What files make a model: a folder in transformers layout with safetensors, or a GGUF file. Loads nothing."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adaptune.core.errors import MissingExtra, ModelError, nearest
from adaptune.models.config import Weights

WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")
_TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
_SAFE = """convert them once, in an environment that you trust with this file:
    python -c "from transformers import AutoModel as M; M.from_pretrained('{folder}').save_pretrained('{folder}')\""""


@dataclass(frozen=True, slots=True)
class Located:
    """A model on this machine's disk."""

    folder: Path
    gguf: str | None
    """Name of the GGUF file within the folder that holds everything; None for a folder in transformers layout."""
    revision: str | None
    """Commit on the hub, where it came from one."""
    source: str
    """Where it was found, in words."""


def read_config(located: Located) -> dict[str, Any]:
    """What config.json of a folder in transformers layout says. Raises ModelError."""
    file = located.folder / "config.json"
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(file)!r} cannot be read ({error}); expected a transformers config") from None
    if not isinstance(settings, dict):
        raise ModelError(f"{str(file)!r} holds no JSON object; expected a transformers config")
    return settings


def check_library(weights: Weights) -> None:
    """Raises MissingExtra where the library that quantises is needed and not installed."""
    if weights != "float" and find_spec("bitsandbytes") is None:
        raise MissingExtra("bitsandbytes", "quantised", f"model.weights={weights}")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers would read: one, or the shards that an index names."""
    if (whole := folder / "model.safetensors").is_file():
        return [whole]
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return []
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{str(index)!r} is not an index of weights ({error!r}); download the model again") from None
    return sorted(folder / name for name in names)


def fault(located: Located, name: str, weights: bool) -> str | None:
    """Why the files at hand are no model that can be loaded, with the remedy; None where they are one."""
    held = sorted(file.name for file in located.folder.iterdir())
    if located.gguf is not None:
        if not (located.folder / located.gguf).is_file():
            return f"there is no file {located.gguf!r} in its folder{nearest(located.gguf, held)}"
        if find_spec("gguf") is None:
            raise MissingExtra("gguf", "gguf", f"the model {name!r} ({located.gguf})")
        return None
    if "config.json" not in held or (weights and not weight_files(located.folder)):
        return lacking(held, located.folder)
    missing = [file.name for file in weight_files(located.folder) if not file.is_file()] if weights else []
    if missing:
        return f"the files {', '.join(missing)} are missing, which its index names; download it again"
    if weights and not any(name in held for name in _TOKENIZERS):
        return f"its folder holds no tokenizer; add tokenizer.json (or one of {', '.join(_TOKENIZERS[1:])})"
    return None


def lacking(held: list[str], folder: Path | None = None) -> str:
    """Why a set of file names is no model in transformers layout with safe weights."""
    if "adapter_config.json" in held and "config.json" not in held:
        return "it is an adapter of peft, not a base model; name the base that its adapter_config.json names"
    ggufs = [name for name in held if name.endswith(".gguf")]
    if ggufs and not any(WEIGHTS.fullmatch(name) for name in held):
        return f"it holds GGUF files and no other weights; choose one by model.gguf_file ({', '.join(ggufs)})"
    if "config.json" not in held:
        return "it holds no config.json; expected a transformers folder: config.json, model.safetensors, tokenizer.json"
    if others := [name for name in held if name.endswith(".safetensors")]:
        return f"its weights are named {', '.join(others)}; expected model.safetensors, or shards with their index"
    if pickles := [name for name in held if name.endswith(_PICKLES)]:
        remedy = _SAFE.format(folder=folder) if folder else "look for a revision or a copy of it with model.safetensors"
        return (
            f"its weights ({', '.join(pickles)}) can run code when they are read, only safetensors are loaded; {remedy}"
        )
    return "it holds no weights; expected model.safetensors"
