"""Log-probabilities of words, some positions at a time: logits of all are never held. Reach it by core.lazy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Words = Callable[[Tensor], Tensor]
"""(N, D) -> (N, V) logits"""

_LIFT = 1024.0
"""Gradients are computed of so many times the value: a power of two changes no digit, and in fp16 the probabilities of
a large vocabulary would else be too small for it."""


def log_probabilities_of(layer: Words, items: Tensor, labels: Tensor, *, at_once: int) -> Tensor:
    """(N, D), (N,) labels -> (N,) log-probabilities in fp32, `at_once` positions at a time.

    A frozen layer: of the value the gradient with respect to the items is known as soon as the value is, and kept
    instead of logits. So memory holds N x D numbers and the logits of one chunk, and nothing is computed twice.
    """
    if torch.is_grad_enabled() and items.requires_grad:
        found: Tensor = _Chunks.apply(layer, items, labels, at_once)  # type: ignore[no-untyped-call]
        return found
    pairs = zip(torch.split(items, at_once), torch.split(labels, at_once), strict=True)
    return torch.cat([_log_probability(layer, some, chosen) for some, chosen in pairs])


def _log_probability(layer: Words, items: Tensor, labels: Tensor) -> Tensor:
    return -torch.nn.functional.cross_entropy(layer(items).float(), labels, reduction="none")


class _Chunks(torch.autograd.Function):
    """Each value depends on its own item alone, so that one row of gradients a value says all."""

    @staticmethod
    def forward(ctx: Any, layer: Words, items: Tensor, labels: Tensor, at_once: int) -> Tensor:
        values, gradients = [], []
        for some, chosen in zip(torch.split(items, at_once), torch.split(labels, at_once), strict=True):
            with torch.enable_grad():
                some = some.detach().requires_grad_(True)
                value = _log_probability(layer, some, chosen)
                (gradient,) = torch.autograd.grad(value.sum() * _LIFT, some)
            values.append(value.detach())
            gradients.append(gradient.float() / _LIFT)
        ctx.save_for_backward(torch.cat(gradients))
        ctx.dtype = items.dtype
        return torch.cat(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[None, Tensor, None, None]:
        (gradients,) = ctx.saved_tensors
        return None, (upstream[:, None] * gradients).to(ctx.dtype), None, None
