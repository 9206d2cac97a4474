"""The matrices of a frozen trunk in 8 or 4 bits, by the library bitsandbytes. Knows no method.

Only what is stored is small: a matrix is dequantised for each product and multiplied in the model's own type. Inputs
are not rounded, as LLM.int8 does beside the weights, so the neighbours of a text in a batch change no answer.
bitsandbytes' own layers are not used: on some processors they rewrite the weights that other adapters share, and round
them once more, when the first text is read without gradients.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from adaptune.core.backbone import Roles, Stack
from adaptune.models.config import Weights
from adaptune.models.layout import check_library

BLOCK = 64
"""Weights that share one scale in nf4, as in the paper."""


class Quantised(nn.Linear):
    """A frozen matrix; its bias stays as it was."""

    def __init__(self, matrix: nn.Linear | Conv1D) -> None:
        nn.Module.__init__(self)  # nn.Linear's own would make a matrix of full size
        self.transposed = isinstance(matrix, Conv1D)
        weight = matrix.weight.detach()
        full = weight.T.contiguous() if self.transposed else weight
        self.out_features, self.in_features = full.shape
        self.dtype = full.dtype
        self.bias = matrix.bias
        self.packed = nn.Parameter(self.pack(full), requires_grad=False)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """(out, in) of one zero, for those who ask a matrix for its shape and device: peft's layers.

        Of int8, which T5 knows; any other type it would take for that of its hidden states.
        """
        return torch.zeros((), dtype=torch.int8, device=self.packed.device).expand(self.out_features, self.in_features)

    def pack(self, full: Tensor) -> Tensor:
        """(out, in) -> bytes in any shape; what else is needed becomes buffers."""
        raise NotImplementedError

    def dequantize(self) -> Tensor:
        """(out, in) in the type that the matrix came in. The name is the one that peft asks for."""
        raise NotImplementedError

    @property
    def W_q(self) -> nn.Parameter:  # noqa: N802  # peft calls `dequantize` on what has this
        """The packed matrix."""
        return self.packed

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out) in the type of x, or of autocast."""
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            x = x.to(torch.get_autocast_dtype(kind))
        with torch.autocast(kind, enabled=False):
            y: Tensor = _Product.apply(x, self)  # type: ignore[no-untyped-call]
        return y if self.bias is None else y + self.bias.to(y.dtype)


class Int8(Quantised):
    """Each row is divided by its largest absolute value and rounded to 127 steps.

    Dettmers et al. (2022), LLM.int8(), NeurIPS, section 2.1, absmax quantisation, a scale for each row.
    """

    scale: Tensor
    """(out,) the largest absolute value of each row."""

    def pack(self, full: Tensor) -> Tensor:
        packed, scale, _ = _bitsandbytes().functional.int8_vectorwise_quant(full.to(torch.float16))
        self.register_buffer("scale", scale)
        found: Tensor = packed
        return found

    def dequantize(self) -> Tensor:
        full: Tensor = _bitsandbytes().functional.int8_vectorwise_dequant(self.packed.detach(), self.scale)
        return full.to(self.dtype)


class Nf4(Quantised):
    """Blocks of 64 weights, each the nearest of 16 quantiles of a normal distribution; the scales are quantised too.

    Dettmers et al. (2023), QLoRA, NeurIPS, section 3, equations 4 to 6: NormalFloat and double quantisation.
    """

    BUFFERS: ClassVar = ("absmax", "code", "offset", "nested_absmax", "nested_code")

    def pack(self, full: Tensor) -> Tensor:
        packed, state = _bitsandbytes().functional.quantize_4bit(
            full, blocksize=BLOCK, compress_statistics=True, quant_type="nf4"
        )
        nested = state.state2
        self.nested_blocksize = nested.blocksize
        found = (state.absmax, state.code, state.offset, nested.absmax, nested.code)
        for name, tensor in zip(self.BUFFERS, found, strict=True):
            self.register_buffer(name, tensor)
        filled: Tensor = packed
        return filled

    def dequantize(self) -> Tensor:
        functional = _bitsandbytes().functional
        absmax, code, offset, nested_absmax, nested_code = (self.get_buffer(name) for name in self.BUFFERS)
        nested = functional.QuantState(
            absmax=nested_absmax, code=nested_code, blocksize=self.nested_blocksize, dtype=torch.float32
        )
        state = functional.QuantState(
            absmax=absmax,
            shape=torch.Size((self.out_features, self.in_features)),
            code=code,
            blocksize=BLOCK,
            quant_type="nf4",
            dtype=self.dtype,
            offset=offset,
            state2=nested,
        )
        full: Tensor = functional.dequantize_4bit(self.packed.detach(), state)
        return full


_KINDS: dict[str, type[Quantised]] = {"int8": Int8, "nf4": Nf4}


def quantise(trunk: nn.Module, roles: Roles, weights: Weights) -> None:
    """Hold the matrices of every layer so, in place; embeddings, norms and what is outside of layers stay as they are.

    Raises MissingExtra.
    """
    check_library(weights)
    for stack in roles.stacks:
        for index, layer in trunk.get_submodule(stack.layers).named_children():
            for path in _matrices(stack):
                matrix = layer.get_submodule(path)
                if isinstance(matrix, nn.Linear | Conv1D) and not isinstance(matrix, Quantised):
                    trunk.set_submodule(f"{stack.layers}.{index}.{path}", _KINDS[weights](matrix))


def dequantised(trunk: nn.Module) -> nn.Module:
    """The trunk with plain matrices of its own in the place of quantised ones, in place; the shared ones stay."""
    for path, module in list(trunk.named_modules()):
        if isinstance(module, Quantised):
            trunk.set_submodule(path, _plain(module))
    return trunk


def as_family(trunk: nn.Module) -> nn.Module:
    """Dequantised matrices in the layout of their family, in place: GPT-2's are stored (in, out)."""
    for path, module in list(trunk.named_modules()):
        if isinstance(module, _Transposed):
            stored = Conv1D(module.out_features, module.in_features)
            stored.weight = nn.Parameter(module.weight.detach().T.contiguous(), requires_grad=False)
            stored.bias = module.bias
            trunk.set_submodule(path, stored)
    return trunk


def numbers(trunk: nn.Module) -> int:
    """How many weights there are, however many a byte holds."""
    packed = [module for module in trunk.modules() if isinstance(module, Quantised)]
    hidden = sum(module.in_features * module.out_features - module.packed.numel() for module in packed)
    return hidden + sum(parameter.numel() for parameter in trunk.parameters())


class _Transposed(nn.Linear):
    """A dequantised matrix whose family stores it (in, out)."""


class _Product(torch.autograd.Function):
    """x W^T; the backward pass dequantises W anew, so that nothing large is kept between the two."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Quantised) -> Tensor:
        ctx.layer = layer
        return nn.functional.linear(x, layer.dequantize().to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return gradient @ ctx.layer.dequantize().to(gradient.dtype), None


def _plain(module: Quantised) -> nn.Linear:
    kind = _Transposed if module.transposed else nn.Linear
    plain = kind(module.in_features, module.out_features, bias=False, device="meta")
    plain.weight = nn.Parameter(module.dequantize(), requires_grad=False)
    plain.bias = module.bias
    return plain


def _matrices(stack: Stack) -> list[str]:
    """Paths within a layer, each once."""
    attention = (stack.query, stack.key, stack.value, stack.attention_output, *stack.cross)
    return list(dict.fromkeys(attention + stack.feed_forward))


def _bitsandbytes() -> Any:
    return import_module("bitsandbytes")
