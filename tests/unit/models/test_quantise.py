"""Quantised matrices against the formulas of the papers, written out anew."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from scipy.stats import norm
from torch import nn
from transformers.pytorch_utils import Conv1D

from adaptune.core.errors import MissingExtra
from adaptune.core.types import Labels
from adaptune.heads import HEADS
from adaptune.methods.head_only import HeadOnly
from adaptune.models import layout
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.models.quantise import Int8, Nf4, Quantised, as_family, dequantised, numbers
from adaptune.models.share import share

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None,
    reason="bitsandbytes is not installed: pip install 'adaptune[quantised]'",
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _matrix(rows: int, columns: int, dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(columns, rows, dtype=dtype).requires_grad_(False)


def _normal_floats() -> torch.Tensor:
    """(16,) QLoRA, section 3 and appendix E: quantiles of N(0, 1), eight above zero, seven below and zero itself."""
    offset = 0.9677083
    above = norm.ppf(torch.linspace(offset, 0.5, 9)[:-1].double())
    below = -norm.ppf(torch.linspace(offset, 0.5, 8)[:-1].double())
    values = torch.tensor([*above, 0.0, *below]).sort().values
    return (values / values.max()).float()


@needs_library
def test_int8_rounds_each_row_to_127_steps_of_its_largest_weight() -> None:
    matrix = _matrix(6, 20)
    largest = matrix.weight.half().float().abs().amax(dim=1, keepdim=True)
    expected = (matrix.weight.half().float() * 127 / largest).round() * largest / 127
    torch.testing.assert_close(Int8(matrix).dequantize(), expected, rtol=1e-6, atol=1e-7)


@needs_library
def test_nf4_takes_the_nearest_normal_float_of_each_block_of_64() -> None:
    matrix = _matrix(40, 128)
    blocks = matrix.weight.reshape(-1, 64)
    scale = blocks.abs().amax(dim=1, keepdim=True)
    codes = _normal_floats()
    nearest = ((blocks / scale)[..., None] - codes).abs().argmin(dim=-1)
    expected = (codes[nearest] * scale).reshape(40, 128)
    # The scales themselves are rounded to 8 bits, and a weight between two steps may go to either.
    found = Nf4(matrix).dequantize()
    torch.testing.assert_close(found, expected, rtol=0.02, atol=1e-3)
    assert (found - matrix.weight).norm() / matrix.weight.norm() < 0.12


@needs_library
@pytest.mark.parametrize("kind", [Int8, Nf4])
@pytest.mark.parametrize(("rows", "columns"), [(6, 20), (7, 33), (64, 64)])
def test_values_and_gradients_are_those_of_the_dequantised_matrix(
    kind: type[Quantised], rows: int, columns: int
) -> None:
    held = kind(_matrix(rows, columns))
    plain = dequantised(nn.Sequential(held))
    x = torch.randn(2, 5, columns)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.testing.assert_close(held(one), plain(other))
    held(one).square().sum().backward()
    plain(other).square().sum().backward()
    torch.testing.assert_close(one.grad, other.grad)


@needs_library
@pytest.mark.parametrize("kind", [Int8, Nf4])
def test_products_are_computed_in_the_type_of_the_input_or_of_autocast(kind: type[Quantised]) -> None:
    held = kind(_matrix(6, 20, torch.bfloat16))
    assert held.dequantize().dtype == torch.bfloat16
    assert held(torch.ones(3, 20, dtype=torch.bfloat16)).dtype == torch.bfloat16
    x = torch.ones(3, 20, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = held(x)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.float32


@needs_library
def test_nothing_large_is_kept_for_the_backward_pass() -> None:
    held = Nf4(_matrix(512, 512))
    kept: list[int] = []

    def count(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        held(torch.ones(1, 512, requires_grad=True))
    assert sum(kept) < 2 * 512


@needs_library
def test_a_transposed_matrix_of_gpt2_is_read_and_given_back_as_it_stood() -> None:
    torch.manual_seed(1)
    stored = Conv1D(12, 64)
    model = nn.Sequential(Nf4(stored))
    x = torch.randn(3, 64)
    expected = model(x)
    back = as_family(dequantised(model))
    assert isinstance(back[0], Conv1D)
    assert back[0].weight.shape == (64, 12)
    torch.testing.assert_close(back(x), expected)


@needs_library
@pytest.mark.parametrize(("weights", "bits"), [("int8", 8), ("nf4", 4)])
def test_a_loaded_base_is_smaller_and_counts_as_many_numbers(tiny_bert: Path, weights: str, bits: int) -> None:
    plain = load_backbone(ModelConfig(name=str(tiny_bert)))
    held = load_backbone(ModelConfig.model_validate({"name": str(tiny_bert), "weights": weights}))
    assert held.weights == weights
    assert held.fingerprint == plain.fingerprint
    matrices = [module for module in held.trunk.modules() if isinstance(module, Quantised)]
    assert len(matrices) == 2 * 6
    assert sum(8 * module.packed.nbytes for module in matrices) == bits * 2 * (4 * 32 * 32 + 2 * 32 * 64)
    assert numbers(held.trunk) == numbers(plain.trunk)
    head = HEADS.make({"name": "classify"})
    counted = [
        Assembly(base, HeadOnly(), head, Labels(("no", "yes")), seed=0).count_parameters() for base in (held, plain)
    ]
    assert counted[0] == counted[1]


@needs_library
@pytest.mark.parametrize("weights", ["int8", "nf4"])
def test_adapters_share_the_packed_bytes(tiny_bert: Path, weights: str) -> None:
    held = load_backbone(ModelConfig.model_validate({"name": str(tiny_bert), "weights": weights}))
    copy = share(held.trunk)
    for name, tensor in held.trunk.state_dict().items():
        assert copy.state_dict()[name].data_ptr() == tensor.data_ptr()
    dequantised(copy)
    assert any(isinstance(module, Quantised) for module in held.trunk.modules())


def test_a_missing_library_is_named_with_the_command_that_installs_it(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "find_spec", lambda name: None)
    with pytest.raises(
        MissingExtra, match=r"model\.weights=nf4 needs bitsandbytes.*pip install 'adaptune\[quantised\]'"
    ):
        load_backbone(ModelConfig(name=str(tiny_bert), weights="nf4"))
