from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sklearn.linear_model import Ridge

from adaptune.core.batch import Batch
from adaptune.core.types import Labels
from adaptune.engine.warm_start import fit
from adaptune.heads.regress import RegressHead, scaled

LABELS = Labels(("number",), (3,), (3.0, 2.0))
HEAD = RegressHead(pooling="mean")


def _layer() -> torch.nn.Module:
    torch.manual_seed(0)
    return scaled(torch.nn.Linear(4, 1), LABELS)


def _batch(labels: list[float] | None = None) -> tuple[torch.Tensor, Batch]:
    hidden = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    return hidden, Batch(torch.arange(2), mask, labels=None if labels is None else torch.tensor(labels))


def test_the_loss_is_the_squared_error_in_deviations() -> None:
    layer = _layer()
    hidden, batch = _batch([5.0, -1.0])
    loss = HEAD.loss(layer, hidden, batch)
    answers = HEAD.decode(layer, hidden, batch, LABELS)
    plain = ((answers[0].value - 5.0) / 2) ** 2 + ((answers[1].value + 1.0) / 2) ** 2
    assert float(loss.total.detach()) == pytest.approx(plain, rel=1e-5)
    assert int(loss.items) == 2


def test_an_answer_is_a_number_like_those_of_the_training_rows() -> None:
    layer = _layer()
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.fill_(0.5)
    hidden, batch = _batch()
    answer = HEAD.decode(layer, hidden, batch, LABELS)[0]
    assert (answer.value, answer.probability, answer.probabilities) == (4.0, None, ())


def test_a_bundle_keeps_mean_and_deviation() -> None:
    loaded = scaled(torch.nn.Linear(4, 1), Labels(("number",)))
    loaded.load_state_dict(_layer().state_dict())
    hidden, batch = _batch()
    assert HEAD.decode(loaded, hidden, batch, LABELS) == HEAD.decode(_layer(), hidden, batch, LABELS)


def test_the_warm_start_is_a_ridge_regression() -> None:
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(80, 4, generator=generator)
    numbers = 3 + features @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + torch.randn(80, generator=generator)
    layer = _layer()
    loss_of: Callable[[Any, Any], Any] = lambda outputs, targets: HEAD.convex_loss(layer, outputs, targets)  # noqa: E731
    [(weight, bias)] = fit(features, numbers, 1, strengths=[0.1], loss_of=loss_of, iterations=200)
    # scikit-learn minimises the sum of squares + alpha |w|^2; here it is their mean + 0.1 |w|^2 / 2.
    plain = Ridge(alpha=0.1 * 80 / 2).fit(features.numpy(), (numbers.numpy() - 3.0) / 2.0)
    assert weight[0].tolist() == pytest.approx(plain.coef_.tolist(), abs=1e-4)
    assert float(bias) == pytest.approx(plain.intercept_, abs=1e-4)
