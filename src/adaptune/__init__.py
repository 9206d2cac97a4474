"""Labelled data in, a small servable adapter out: `train` and `load`, and nothing heavy before they are asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adaptune.bundle.several import load
    from adaptune.run import train

__version__ = "0.1.0"
__all__ = ["load", "train"]

_PUBLIC = {"load": ("adaptune.bundle.several", "load"), "train": ("adaptune.run", "train")}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'adaptune' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)
