"""Tensors on disk, as safetensors: nothing is ever unpickled. Knows no bundle."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from adaptune.bundle.check import sha256_of
from adaptune.core.errors import BundleError


def write_tensors(state: dict[str, Tensor], file: Path) -> str:
    """Write tensors and return the file's SHA-256; tensors that share memory are written apart."""
    save_file({name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}, file)
    # safetensors lets only the owner read its files; a server run by another user must read them like the rest.
    file.chmod(file.parent.stat().st_mode & 0o666)
    return sha256_of(file)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU. Raises BundleError for a file of another format."""
    try:
        return load_file(file)
    except SafetensorError as error:
        raise BundleError(f"{file} is no safetensors file: {error}; other formats are not read") from error
