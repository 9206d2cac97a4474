"""A matrix and its low-rank change as one product in training: same numbers, fewer passes. Knows no one method.

Beside each other, W x + s B (A x) costs two thin products, a scaling and a sum over all tokens, forward and backward.
Here W + s B A is computed first, in each pass anew, and y = (W + s B A) x is one product, as if nothing were changed:

    dL/dx = (W + s B A)^T dL/dy        dL/dB = s (dL/dy) (A x)^T        dL/dA = s (B^T dL/dy) x^T

That pays where tokens are many beside a matrix's rows and columns; the numbers differ by rounding alone.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from adaptune.core.lazy import torch


class _OneProduct:
    """Before peft's own class in the order of base classes: its `forward`, where one product does."""

    def forward(self, x: torch.Tensor, *others: Any, **more: Any) -> torch.Tensor:
        layer: Any = self
        if others or more or not _does(layer, x):
            return super().forward(x, *others, **more)  # type: ignore[misc, no-any-return]
        (name,) = layer.active_adapters
        a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
        frozen = (layer.base_layer.weight, layer.base_layer.bias, layer.scaling[name])
        return _product().apply(x, frozen, a, b)  # type: ignore[no-any-return]


def one_product(layers: dict[str, Any]) -> None:
    """Let peft's LoRA layers over plain matrices compute one product where it pays; others stay as they are."""
    for layer in layers.values():
        if type(layer.base_layer) is torch.nn.Linear and not layer.lora_variant and not layer.fan_in_fan_out:
            kind: Any = type(layer)
            layer.__class__ = _kind(kind)


@cache
def _kind(of_peft: type) -> type:
    return type(of_peft.__name__, (_OneProduct, of_peft), {})


def _does(layer: Any, x: torch.Tensor) -> bool:
    """Where it is the same and pays: fp32 on a processor (elsewhere unmeasured), a gradient asked for, no dropout."""
    weight = layer.base_layer.weight
    plain = len(layer.active_adapters) == 1 and not layer.merged and not layer.disable_adapters
    if not plain or not torch.is_grad_enabled() or x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return False
    if not x.dtype == weight.dtype == torch.float32 or weight.requires_grad:
        return False
    wide, high = weight.shape
    pays = x.numel() // high * (wide + high) >= wide * high
    (name,) = layer.active_adapters
    return pays and not (layer.training and isinstance(layer.lora_dropout[name], torch.nn.Dropout))


@cache
def _product() -> Any:
    """The function with its gradients; made here, since torch is there only now."""

    class Product(torch.autograd.Function):
        """(..., I); (O, I), (O,) and s, which are frozen; (r, I), (O, r) -> (..., O)"""

        @staticmethod
        def forward(ctx: Any, x: Any, frozen: tuple[Any, Any, float], a: Any, b: Any) -> Any:
            weight, bias, scale = frozen
            ctx.save_for_backward(x, weight, a, b)
            ctx.scale = scale
            return torch.nn.functional.linear(x, torch.addmm(weight, b, a, alpha=scale), bias)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: Any) -> Any:
            x, weight, a, b = ctx.saved_tensors
            of_x = gradient @ torch.addmm(weight, b, a, alpha=ctx.scale) if ctx.needs_input_grad[0] else None
            flat, inputs = gradient.flatten(0, -2), x.flatten(0, -2)
            of_a = ctx.scale * ((flat @ b).t() @ inputs)
            of_b = ctx.scale * (flat.t() @ (inputs @ a.t()))
            return of_x, None, of_a, of_b

    return Product
