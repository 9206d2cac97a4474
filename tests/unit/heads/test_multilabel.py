from __future__ import annotations

from typing import Any

import pytest
import torch

from adaptune.core.batch import Batch
from adaptune.core.types import Labels
from adaptune.heads.multilabel import MultilabelHead

LABELS = Labels(("a", "b", "c"))


def _layer() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3)


def _batch(labels: Any = None) -> tuple[torch.Tensor, Batch]:
    hidden = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    return hidden, Batch(torch.arange(2), mask, labels=None if labels is None else torch.tensor(labels))


def test_the_loss_equals_a_plain_one() -> None:
    head, layer = MultilabelHead(pooling="mean"), _layer()
    hidden, batch = _batch([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    loss = head.loss(layer, hidden, batch)
    total = 0.0
    for vector, wanted in ((hidden[0].mean(dim=0), (1, 0, 1)), (hidden[1, :2].mean(dim=0), (0, 0, 0))):
        for logit, there in zip(layer.weight @ vector + layer.bias, wanted, strict=True):
            probability = 1 / (1 + torch.exp(-logit))
            total -= float(torch.log(probability if there else 1 - probability).detach())
    assert float(loss.total.detach()) == pytest.approx(total, rel=1e-5)
    assert int(loss.items) == 2


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, ("a", "c")), (0.8, ("a",)), (0.95, ())])
def test_labels_above_the_threshold_are_given(threshold: float, expected: tuple[str, ...]) -> None:
    head, layer = MultilabelHead(pooling="mean", threshold=threshold), _layer()
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor([0.9, 0.2, 0.7]).logit())
    hidden, batch = _batch()
    answer = head.decode(layer, hidden, batch, LABELS)[1]
    assert answer.value == expected
    assert answer.probabilities == pytest.approx((0.9, 0.2, 0.7))
    assert answer.of_each == pytest.approx([{"a": 0.9, "c": 0.7}[name] for name in expected])


def test_the_probability_is_that_of_exactly_these_labels() -> None:
    head, layer = MultilabelHead(pooling="mean"), _layer()
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor([0.9, 0.2, 0.7]).logit())
    hidden, batch = _batch()
    assert head.decode(layer, hidden, batch, LABELS)[0].probability == pytest.approx(0.9 * 0.8 * 0.7)
