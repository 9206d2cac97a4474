"""Tensors on disk as safetensors, checked by their SHA-256. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from adaptune.core.errors import BundleError


def write_tensors(state: dict[str, Tensor], file: Path) -> str:
    """Write tensors and return the file's SHA-256; tensors that share memory are written apart."""
    save_file({name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}, file)
    # safetensors lets only the owner read its files; a server run by another user must read them like the rest.
    file.chmod(file.parent.stat().st_mode & 0o666)
    return sha256_of(file)


def read_tensors(file: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU. Raises BundleError where it is missing or not the file that was written."""
    if not file.is_file():
        raise BundleError(f"{file} is missing; copy the whole bundle folder again from where it was made")
    found = sha256_of(file)
    if found != sha256:
        raise BundleError(
            f"{file} is damaged: its SHA-256 is {found[:16]}…, the manifest says {sha256[:16]}… "
            f"({file.stat().st_size} bytes); copy the bundle again from where it was made"
        )
    try:
        return load_file(file)
    except SafetensorError as error:
        raise BundleError(f"{file} is no safetensors file: {error}; other formats are not read") from error


def sha256_of(file: Path) -> str:
    """Of the file's bytes, as hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
