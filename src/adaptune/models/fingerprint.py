"""Which weights these are: a SHA-256 over a trunk's tensors as they are stored. Loads no model, needs no torch."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptune.core.backbone import Roles
from adaptune.core.errors import ModelError
from adaptune.core.files import cache_folder, write_json
from adaptune.models.layout import Located, weight_files

SCHEME = 1
"""Counts up when the same tensors would get another fingerprint, so that no cached one of before is believed."""

_BUFFERS = re.compile(r"(position_ids|token_type_ids|inv_freq|\.attn\.bias|\.attn\.masked_bias)$")
"""What older versions of transformers stored beside the weights."""
_OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor in a file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: NDArray[np.uint8]
    """Its bytes, mapped, not read."""


def fingerprint(located: Located, roles: Roles) -> str:
    """SHA-256 in hexadecimal over name, type, shape and bytes of the trunk's tensors.

    Heads, poolers, the prefix of the base model's names and the cut into shards do not count. A GGUF file is hashed by
    its own names and quantised blocks, so that it never equals the model it was made from. Remembered by path, size and
    time of the files. Raises ModelError.
    """
    files = [located.folder / located.gguf] if located.gguf else weight_files(located.folder)
    key, stamp = str(files[0].absolute()), [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    memory = cache_folder() / "fingerprints.json"
    known = _remembered(memory)
    entry = known.get(key)
    if isinstance(entry, dict) and entry.get("scheme") == SCHEME and entry.get("files") == stamp:
        return str(entry["sha256"])
    tensors = _of_gguf(files[0]) if located.gguf else trunk_tensors(files, roles)
    digest = _digest(tensors)
    # A cache that cannot be written costs time, nothing else.
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_json(memory, _remembered(memory) | {key: {"scheme": SCHEME, "files": stamp, "sha256": digest}})
    return digest


def trunk_tensors(files: Iterable[Path], roles: Roles) -> list[Stored]:
    """The trunk's tensors in safetensors files, under their names within the trunk. Raises ModelError."""
    stored = [tensor for file in files for tensor in _read(file)]
    prefix = prefix_of([tensor.name for tensor in stored], roles)
    paths = {path for stack in roles.stacks for path in (stack.layers, *stack.embeddings, stack.final_norm)} - {None}
    start = tuple(f"{prefix}{path}." for path in paths)
    return [
        Stored(_modern(tensor.name.removeprefix(prefix)), tensor.dtype, tensor.shape, tensor.data)
        for tensor in stored
        if tensor.name.startswith(start) and not _BUFFERS.search(tensor.name)
    ]


def others(files: Iterable[Path], roles: Roles) -> list[Stored]:
    """The tensors that stand beside the base model in safetensors files: heads. Raises ModelError."""
    stored = [tensor for file in files for tensor in _read(file)]
    prefix = prefix_of([tensor.name for tensor in stored], roles)
    return [tensor for tensor in stored if not tensor.name.startswith(prefix)]


def prefix_of(names: Iterable[str], roles: Roles) -> str:
    """What stands before the trunk's names in a file: `bert.`, or nothing. Raises ModelError."""
    first = re.compile(rf"(|.*\.){re.escape(roles.main.layers)}\.0\.")
    found = {match[1] for name in names if (match := first.match(name))}
    if len(found) != 1:
        where = f"under {sorted(found)}" if found else "nowhere"
        raise ModelError(
            f"the layers of a {roles.family} model are named {roles.main.layers}.0, .1, ...; "
            f"these weights hold them {where}: its config.json belongs to another model, or its weights are incomplete"
        )
    return found.pop()


def _modern(name: str) -> str:
    return next((name.removesuffix(old) + new for old, new in _OLD_NAMES.items() if name.endswith(old)), name)


def _read(file: Path) -> Iterator[Stored]:
    """The layout of a safetensors file: 8 bytes of length, a JSON header of that length, the tensors' bytes."""
    try:
        data = np.memmap(file, dtype=np.uint8, mode="r")
        length = int.from_bytes(data[:8].tobytes(), "little")
        header: dict[str, Any] = json.loads(data[8 : 8 + length].tobytes())
        header.pop("__metadata__", None)
        if 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0) != len(data):
            raise ValueError("its size differs from what its header says")
    except (ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0][:80]
        raise ModelError(
            f"{str(file)!r} is no whole safetensors file ({reason}); download it again (with git: git lfs pull)"
        ) from None
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        yield Stored(name, entry["dtype"], tuple(entry["shape"]), data[start:end])


def _of_gguf(file: Path) -> list[Stored]:
    """All but the output layer over words, which is a head."""
    reader = import_module("gguf").GGUFReader(file)
    return [
        Stored(
            tensor.name, tensor.tensor_type.name, tuple(map(int, tensor.shape)), tensor.data.reshape(-1).view(np.uint8)
        )
        for tensor in reader.tensors
        if not tensor.name.startswith(("output.", "cls"))
    ]


def _digest(tensors: list[Stored]) -> str:
    """Tensors are hashed side by side, then a list of one line a tensor, in the order of names."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = pool.map(lambda tensor: hashlib.sha256(tensor.data).hexdigest(), tensors)
        lines = [
            f"{tensor.name} {tensor.dtype} {list(tensor.shape)} {digest}\n"
            for tensor, digest in zip(tensors, digests, strict=True)
        ]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _remembered(memory: Path) -> dict[str, Any]:
    """A cache that is damaged is as good as none."""
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
