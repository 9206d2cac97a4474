from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.utils.class_weight import compute_class_weight

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.types import Labels
from adaptune.heads.classify import ClassifyHead, pool

LABELS = Labels(("bad", "good", "neither"), (6, 3, 1))


def _backbone(pooling: str = "mean") -> Backbone:
    """What this head asks of a model."""
    made: Any = object.__new__(Backbone)
    made.pooling = pooling
    made.whole = torch.nn.Module()
    made.whole.config = type("Config", (), {"hidden_size": 4})()
    return made


def _batch(labels: list[int] | None = None) -> tuple[torch.Tensor, Batch]:
    """(3, 5, 4) hidden states with noise where there is padding."""
    hidden = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]])
    return hidden, Batch(torch.arange(3), mask, labels=None if labels is None else torch.tensor(labels))


def _settled(pooling: str = "auto", **settings: Any) -> ClassifyHead:
    return ClassifyHead.model_validate({"pooling": pooling, **settings}).settled(_backbone(), LABELS)


def _layer(head: ClassifyHead) -> torch.nn.Module:
    torch.manual_seed(0)
    return head.build(_backbone(), LABELS)


def test_pooling_reads_real_tokens_alone() -> None:
    hidden, batch = _batch()
    torch.testing.assert_close(pool(hidden, batch.mask, "mean")[1], (hidden[1, 0] + hidden[1, 1]) / 2)
    torch.testing.assert_close(pool(hidden, batch.mask, "first"), hidden[:, 0])
    expected = torch.stack([hidden[0, 4], hidden[1, 1], hidden[2, 2]])
    torch.testing.assert_close(pool(hidden, batch.mask, "last"), expected)


def test_pooling_finds_real_tokens_on_the_right_too() -> None:
    hidden, batch = _batch()
    mask = batch.mask.flip(1)
    expected = torch.stack([hidden[0, 0], hidden[1, 3], hidden[2, 2]])
    torch.testing.assert_close(pool(hidden, mask, "first"), expected)
    torch.testing.assert_close(pool(hidden, mask, "last"), hidden[:, 4])


def test_pooling_of_half_precision_is_in_fp32() -> None:
    hidden, batch = _batch()
    assert {pool(hidden.bfloat16(), batch.mask, name).dtype for name in ("mean", "first", "last")} == {torch.float32}


@pytest.mark.parametrize(("asked", "models", "expected"), [("auto", "first", "first"), ("last", "first", "last")])
def test_auto_pooling_follows_the_model(asked: Any, models: str, expected: str) -> None:
    assert ClassifyHead(pooling=asked).settled(_backbone(models), LABELS).pooling == expected


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", ["none", "balanced", {"good": 2.5}])
def test_the_loss_equals_a_plain_one(smoothing: float, weights: Any) -> None:
    hidden, batch = _batch([0, 2, 1])
    head = _settled("mean", label_smoothing=smoothing, class_weights=weights)
    layer = _layer(head)
    loss = head.loss(layer, hidden, batch)

    of_class = {"none": [1, 1, 1], "balanced": [10 / 18, 10 / 9, 10 / 3]}.get(str(weights), [1, 2.5, 1])
    total = 0.0
    for row, label in enumerate([0, 2, 1]):
        tokens = [hidden[row, token] for token in range(5) if batch.mask[row, token]]
        logits = layer.weight @ (sum(tokens) / len(tokens)) + layer.bias
        log_probabilities = logits - torch.log(torch.exp(logits).sum())
        target = [smoothing / 3 + (1 - smoothing) * (index == label) for index in range(3)]
        total -= sum(target[index] * of_class[index] * float(log_probabilities[index].detach()) for index in range(3))
    assert float(loss.total.detach()) == pytest.approx(total, rel=1e-5)
    assert float(loss.items) == pytest.approx(sum(of_class[label] for label in (0, 2, 1)))


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    rows = ["bad"] * 6 + ["good"] * 3 + ["neither"]
    expected = compute_class_weight("balanced", classes=np.array(LABELS.names), y=rows)
    weights = _settled(class_weights="balanced").class_weights
    assert isinstance(weights, dict)
    assert [weights[name] for name in LABELS.names] == pytest.approx(expected.tolist())


def test_balanced_weights_without_counts_are_refused() -> None:
    with pytest.raises(Unsupported, match="how many rows each label has is not known"):
        ClassifyHead(class_weights="balanced").settled(_backbone(), Labels(("bad", "good")))


def test_a_weight_for_a_label_that_no_row_has_is_refused() -> None:
    with pytest.raises(Unsupported, match=r"names the label 'goood'.*did you mean 'good'.*labels: bad, good, neither"):
        _settled(class_weights={"goood": 2.0})


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_a_weight_that_is_not_positive_is_refused(weight: float) -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        ClassifyHead.model_validate({"class_weights": {"good": weight}})


def test_class_weights_are_no_part_of_a_bundle() -> None:
    layer = _layer(_settled(class_weights="balanced"))
    assert set(layer.state_dict()) == {"weight", "bias"}


def test_dropout_works_in_training_alone() -> None:
    hidden, batch = _batch([0, 1, 2])
    head = _settled("mean", dropout=0.5)
    layer = _layer(head)
    assert head.loss(layer.train(), hidden, batch).total != head.loss(layer, hidden, batch).total
    assert head.loss(layer.eval(), hidden, batch).total == head.loss(layer, hidden, batch).total


def _with_shares(shares: list[list[float]]) -> tuple[torch.Tensor, Batch]:
    hidden, batch = _batch()
    return hidden, Batch(batch.rows, batch.mask, labels=torch.tensor(shares))


def test_rows_that_are_sure_of_a_label_are_learned_as_rows_that_have_it() -> None:
    head = _settled(class_weights={"bad": 2.0}, soft_temperature=3.0)
    layer = _layer(head)
    hidden, plain = _batch([0, 2, 1])
    _, sure = _with_shares([[1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]])
    wanted, found = head.loss(layer, hidden, plain), head.loss(layer, hidden, sure)
    torch.testing.assert_close(found.total, wanted.total)
    assert float(found.items) == float(wanted.items) == 4.0


def test_the_loss_of_probabilities_is_the_scaled_divergence_at_the_temperature() -> None:
    shares = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.25, 0.25, 0.5]])
    head = _settled(soft_temperature=2.0, label_smoothing=0.0, class_weights={"neither": 3.0})
    layer = _layer(head)
    hidden, batch = _with_shares(shares.tolist())
    with torch.no_grad():
        found = head.loss(layer, hidden, batch)
        logits = head.logits(layer, hidden, batch).double().numpy()
        convex = head.convex_loss(layer, torch.tensor(logits).float(), torch.tensor(shares).float())

    def log_softmax(values: np.ndarray) -> np.ndarray:
        return values - np.log(np.exp(values).sum(axis=1, keepdims=True))

    weights = shares @ np.array([1.0, 1.0, 3.0])
    softened = np.sqrt(shares) / np.sqrt(shares).sum(axis=1, keepdims=True)
    own = log_softmax(logits / 2)
    logs = np.log(np.where(softened > 0, softened, 1.0))
    divergence = 4 * (softened * (logs - own)).sum(axis=1)
    divergence[1] = -log_softmax(logits)[1, 1]  # of a sure row: without temperature
    assert float(found.total) == pytest.approx((weights * divergence).sum(), rel=1e-5)
    assert float(found.items) == pytest.approx(weights.sum())
    assert float(convex) == pytest.approx((weights * divergence).sum() / weights.sum(), rel=1e-5)


def test_a_temperature_that_nobody_set_is_not_written() -> None:
    assert "soft_temperature" not in ClassifyHead().model_dump(mode="json")
    assert ClassifyHead(soft_temperature=2.0).model_dump(mode="json")["soft_temperature"] == 2.0
