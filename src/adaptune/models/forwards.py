"""Layers that compute otherwise for a while. Knows no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from torch import nn

Forward: TypeAlias = Callable[..., Any]


@contextmanager
def replaced(layers: Sequence[nn.Module], make: Callable[[Forward], Forward]) -> Iterator[None]:
    """Within, each layer's forward is what `make` makes of it."""
    own = [layer.__dict__.get("forward") for layer in layers]  # some libraries put one on a single module
    for layer in layers:
        layer.forward = make(layer.forward)
    try:
        yield
    finally:
        for layer, forward in zip(layers, own, strict=True):
            del layer.forward
            if forward is not None:
                layer.forward = forward
