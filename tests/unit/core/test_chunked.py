"""Log-probabilities chunk by chunk against plain cross-entropy, and what memory they take."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from adaptune.core.chunked import log_probabilities_of


def _plain(layer: nn.Module, items: Tensor, labels: Tensor) -> Tensor:
    return layer(items).float().log_softmax(dim=-1).gather(1, labels[:, None])[:, 0]


def _layer(words: int, width: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(width, words).requires_grad_(False)


@pytest.mark.parametrize("at_once", [1, 7, 20, 100])
def test_values_and_gradients_are_those_of_plain_cross_entropy(at_once: int) -> None:
    layer = _layer(500)
    items, labels = torch.randn(20, 8, requires_grad=True), torch.randint(500, (20,))
    weights = torch.rand(20)
    expected = _plain(layer, items, labels)
    (gradient,) = torch.autograd.grad((weights * expected).sum(), items)
    found = log_probabilities_of(layer, items, labels, at_once=at_once)
    (own,) = torch.autograd.grad((weights * found).sum(), items)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(own, gradient, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(log_probabilities_of(layer, items, labels, at_once=at_once), found)


def test_in_half_precision_values_are_fp32_and_the_gradient_is_of_the_items_type() -> None:
    layer = _layer(500).to(torch.bfloat16)
    items = torch.randn(5, 8, dtype=torch.bfloat16, requires_grad=True)
    labels = torch.randint(500, (5,))
    found = log_probabilities_of(layer, items, labels, at_once=2)
    assert found.dtype == torch.float32
    (gradient,) = torch.autograd.grad(found.sum(), items)
    (expected,) = torch.autograd.grad(_plain(layer, items, labels).sum(), items)
    assert gradient.dtype == torch.bfloat16
    torch.testing.assert_close(gradient, expected, rtol=0.02, atol=0.002)


def test_memory_depends_neither_on_the_number_of_positions_nor_on_all_logits() -> None:
    words, at_once = 150_000, 4
    layer = _layer(words)
    chunk = at_once * words * 4

    def chunks(positions: int) -> int:
        return _most_bytes(lambda *given: log_probabilities_of(layer, *given, at_once=at_once), positions, words)

    few, many = chunks(8), chunks(48)
    assert few <= 5 * chunk
    assert many <= few + 48 * 8 * 4 * 8  # what is kept of each item
    plain = _most_bytes(lambda *given: _plain(layer, *given), 48, words)
    assert plain > 2 * 48 * words * 4 > 4 * many


def _most_bytes(compute: Callable[[Tensor, Tensor], Tensor], positions: int, words: int) -> int:
    """The most memory that tensors of a pass forward and back hold at a time, as torch's allocator counts it."""
    items, labels = torch.randn(positions, 8, requires_grad=True), torch.randint(words, (positions,))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        compute(items, labels).sum().backward()
    held = most = 0
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most
