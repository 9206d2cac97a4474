"""Masks that cost little: the law of PyTorch's dropout, and what decides them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from adaptune.models.dropout import QuickDropout, quicken

COUNT = 1_000_000


@pytest.fixture
def dropped() -> Callable[..., Tensor]:
    """dropped(0.3, seed=1): what a million ones become."""

    def draw(p: float, seed: int = 0, shape: tuple[int, ...] = (COUNT,), dtype: torch.dtype = torch.float32) -> Tensor:
        torch.manual_seed(seed)
        found: Tensor = QuickDropout(p)(torch.ones(shape, dtype=dtype))
        return found

    return draw


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_numbers_are_dropped_with_the_probability_asked_for_and_the_rest_keep_the_mean(
    dropped: Callable[..., Tensor], p: float
) -> None:
    found = dropped(p)
    assert found.unique().tolist() == [0.0, pytest.approx(1 / (1 - p), rel=1e-4)]
    deviation = (p / (1 - p) / COUNT) ** 0.5  # of the mean of so many x m / (1 - p) with x = 1
    assert abs(float(found.mean()) - 1) < 5 * deviation
    assert float(found.double().var()) == pytest.approx(p / (1 - p), rel=0.05)


def test_neighbours_near_and_far_do_not_depend_on_each_other(dropped: Callable[..., Tensor]) -> None:
    found = dropped(0.3) - 1
    power = float(found.square().mean())
    for distance in (1, 2, 3, 4, 5, 8, 16, 384, 1024):
        correlation = float((found[:-distance] * found[distance:]).mean()) / power
        assert abs(correlation) < 5 / COUNT**0.5, distance
    shared = (dropped(0.3, seed=0) - 1) * (dropped(0.3, seed=1) - 1)
    assert abs(float(shared.mean()) / power) < 5 / COUNT**0.5


def test_the_seed_decides_and_every_call_draws_anew(dropped: Callable[..., Tensor]) -> None:
    first = dropped(0.3, seed=5)
    second = QuickDropout(0.3)(torch.ones(COUNT))
    assert not first.equal(second)
    assert first.equal(dropped(0.3, seed=5))
    assert second.equal(QuickDropout(0.3)(torch.ones(COUNT)))
    assert not first.equal(dropped(0.3, seed=6))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_pass_where_numbers_do(dtype: torch.dtype) -> None:
    x = torch.arange(1.0, 1000.0).view(37, 27).t().to(dtype).requires_grad_()  # an order in memory of its own
    y = QuickDropout(0.25)(x)
    assert y.dtype == dtype
    assert y.shape == x.shape
    gradient = torch.full_like(y, 3.0)
    y.backward(gradient)
    assert x.grad is not None
    assert x.grad.allclose(torch.where(y == 0, 0.0, 3 / 0.75).to(dtype))
    assert y.allclose(x.detach() * torch.where(y == 0, 0.0, 1 / 0.75).to(dtype))


def test_layers_that_are_computed_anew_draw_the_same() -> None:
    x = torch.ones(64, 64, requires_grad=True)
    y = checkpoint(QuickDropout(0.5), x, use_reentrant=False)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.equal(y.detach())


def test_nothing_is_dropped_in_evaluation_nor_at_zero_and_everything_at_one() -> None:
    x = torch.randn(5, 7)
    assert QuickDropout(0.5).eval()(x) is x
    assert QuickDropout(0.0)(x).equal(x)
    assert not QuickDropout(1.0)(x).any()
    assert QuickDropout(0.5)(torch.ones(0, 3)).shape == (0, 3)


def test_only_plain_dropout_is_replaced() -> None:
    class Own(nn.Dropout):
        pass

    model = nn.Sequential(nn.Dropout(0.2), nn.ModuleDict({"a": nn.Dropout(0.3)}), Own(0.4), nn.Dropout1d(0.5))
    quicken(model)
    kinds = [type(module) for module in model.modules() if hasattr(module, "p")]
    assert kinds == [QuickDropout, QuickDropout, Own, nn.Dropout1d]
    assert isinstance(model[0], nn.Dropout)
