"""Dropout whose masks cost little on a processor: the law of PyTorch's, other random numbers. Knows no model.

PyTorch draws each number of a mask by itself, which takes longer there than most matrix products around it. Here 64
bits are drawn at once, by SFC64, and serve four numbers: 16 bits each, compared with round(p * 65536).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

STEPS = 65536
"""A number is dropped with a probability of a whole number of these parts; the scale is that of just this one."""


class QuickDropout(nn.Dropout):
    """A Dropout with masks of its own where it trains on a processor; elsewhere PyTorch's."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # its name in PyTorch
        dropped = round(self.p * STEPS)
        quick = self.training and not self.inplace and input.device.type == "cpu" and 0 < dropped < STEPS
        if not quick or not input.is_floating_point():
            return super().forward(input)
        mask, scale = _mask(input.numel(), dropped), STEPS / (STEPS - dropped)
        found: Tensor = _Dropped.apply(input, mask, scale)  # type: ignore[no-untyped-call]  # of torch
        return found


def quicken(model: nn.Module) -> None:
    """Let a model's Dropout modules be quick ones, in place. Dropout that is called as a function stays PyTorch's."""
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = QuickDropout


def _mask(count: int, dropped: int) -> Tensor:
    """(count,) bool, False with probability `dropped` / STEPS, as PyTorch's random state at this call decides."""
    seed = int(torch.randint(2**63 - 1, ()))
    drawn = np.random.SFC64(seed).random_raw(-(-count // 4)).view(np.uint16)[:count]
    return torch.from_numpy(drawn >= dropped)


class _Dropped(torch.autograd.Function):
    """y = x * mask * scale; what is kept for the gradient is one byte a number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return _masked(x, mask, scale)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return _masked(gradient, mask, ctx.scale), None, None


def _masked(x: Tensor, mask: Tensor, scale: float) -> Tensor:
    """By way of NumPy, which makes numbers of truth values several times as fast as PyTorch."""
    factors = torch.from_numpy(np.multiply(mask.numpy(), np.float32(scale), dtype=np.float32))
    return x * factors.view(x.shape).to(x.dtype)
