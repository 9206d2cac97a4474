"""Attention in a packed row: each of its sequences reads itself alone, and nothing else is computed. Knows no method.

transformers keeps the sequences of a packed row apart by a mask over all pairs of its tokens. Here the pairs of two
different sequences are never computed; the numbers are those of each sequence in a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

_FUNCTION = "adaptune_ragged"
"""Under this name transformers makes no mask."""


def is_ragged(trunk: nn.Module) -> bool:
    """Whether passes within `ragged` are exact: attention is plain scaled dot product attention everywhere."""
    return all(config._attn_implementation == "sdpa" for config in configs_of(trunk))


@contextmanager
def ragged(trunk: nn.Module) -> Iterator[None]:
    """Let every attention of passes within be that of the sequences whose `lengths` they are called with.

    Layers must not run again after it, as those do that are computed anew in the backward pass.
    """
    with attending(trunk, _FUNCTION, _attend):
        yield


@contextmanager
def attending(trunk: nn.Module, name: str, attend: Callable[..., Any]) -> Iterator[None]:
    """Let every attention of passes within be this function, of a name for which transformers makes no mask."""
    AttentionInterface.register(name, attend)
    configs = configs_of(trunk)
    for config in configs:
        config._attn_implementation = name
    try:
        yield
    finally:
        for config in configs:
            config._attn_implementation = "sdpa"


def configs_of(trunk: nn.Module) -> list[Any]:
    """Those that say how attention is computed, each once."""
    return list({id(module.config): module.config for module in trunk.modules() if hasattr(module, "config")}.values())


def _attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    lengths: tuple[int, ...],
    sliding_window: int | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """(1, H, T, d) queries, keys and values -> (1, T, H, d), one sequence after another."""
    assert attention_mask is None
    parts = zip(*(torch.split(one, list(lengths), dim=2) for one in (query, key, value)), strict=True)
    found = [
        sdpa_attention_forward(module, *part, _window(length, sliding_window, query.device), **more)[0]
        for part, length in zip(parts, lengths, strict=True)
    ]
    return torch.cat(found, dim=1), None


def _window(length: int, size: int | None, device: torch.device) -> torch.Tensor | None:
    """(T, T) which tokens each one reads where it reads `size` at most; None: all up to itself."""
    if size is None or length <= size:
        return None
    return torch.ones(length, length, dtype=torch.bool, device=device).tril().triu(1 - size)
