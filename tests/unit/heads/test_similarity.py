from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.types import Labels
from adaptune.heads.similarity import SimilarityHead

BACKBONE: Any = SimpleNamespace(pooling="mean", hidden_size=4)
LABELS = Labels(("0", "1"))
SCORES = Labels(("number",), (3,), (2.0, 1.5))


def _batch(labels: Any = None) -> tuple[torch.Tensor, Batch]:
    """Three rows of two sequences."""
    hidden = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]] * 3)
    both = None if labels is None else torch.tensor(labels).repeat_interleave(2)
    return hidden, Batch(torch.arange(3).repeat_interleave(2), mask, labels=both)


def _head(labels: Labels, **settings: Any) -> tuple[SimilarityHead, torch.nn.Module]:
    head = SimilarityHead(**settings).settled(BACKBONE, labels)
    torch.manual_seed(0)
    return head, head.build(BACKBONE, labels)


def _cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


def _vectors(hidden: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    return [hidden[row].mean(dim=0) for row in (0, 2, 4)], [hidden[row, :2].mean(dim=0) for row in (1, 3, 5)]


def test_its_features_are_the_cosines_of_the_two_texts() -> None:
    hidden, batch = _batch()
    firsts, seconds = _vectors(hidden)
    head, layer = _head(LABELS)
    expected = [_cosine(one, other) for one, other in zip(firsts, seconds, strict=True)]
    assert head.features(layer, hidden, batch)[:, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_numbers_are_learned_by_squared_error() -> None:
    hidden, batch = _batch([1.0, 5.0, 2.0])
    head, layer = _head(SCORES)
    loss = head.loss(layer, hidden, batch)
    answers = head.decode(layer, hidden, batch, SCORES)
    plain = sum(((answers[row].value - wanted) / 1.5) ** 2 for row, wanted in enumerate((1.0, 5.0, 2.0)))
    assert float(loss.total.detach()) == pytest.approx(plain, rel=1e-5)
    assert int(loss.items) == 3
    assert answers[0].probability is None


@pytest.mark.parametrize(
    ("labels", "given", "settings"),
    [(LABELS, [1, 0, 1], {}), (SCORES, [4.0, 1.0, 5.0], {"positive": 4.0})],
    ids=["labels", "numbers"],
)
def test_in_batch_negatives_are_the_other_second_texts(labels: Labels, given: list[Any], settings: Any) -> None:
    hidden, batch = _batch(given)
    head, layer = _head(labels, learns="in_batch", scale=10.0, **settings)
    firsts, seconds = _vectors(hidden)
    total = 0.0
    for row in (0, 2):
        logits = torch.tensor([10.0 * _cosine(firsts[row], second) for second in seconds])
        total -= float(logits[row] - torch.log(torch.exp(logits).sum()))
    pairs, _ = _head(labels)
    calibration = float(pairs.loss(layer, hidden, batch).total.detach())
    assert head.couples_rows
    assert not pairs.couples_rows
    assert float(head.loss(layer, hidden, batch).total.detach()) == pytest.approx(total + calibration, rel=1e-4)


def test_calibration_does_not_move_the_vectors() -> None:
    hidden, batch = _batch([0, 0, 0])
    head, layer = _head(LABELS, learns="in_batch")
    hidden.requires_grad_(True)
    loss = head.loss(layer, hidden, batch).total
    torch.autograd.backward(loss)
    assert hidden.grad is None or not hidden.grad.any()
    assert layer.get_parameter("weight").grad is not None


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        (Labels(("far", "near")), {}, "expected the label of pairs that match: far, near"),
        (LABELS, {"positive": "yes"}, "head.positive is 'yes'"),
        (SCORES, {}, "say from which on pairs match"),
    ],
)
def test_what_matches_must_be_known(labels: Labels, settings: Any, message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        _head(labels, learns="in_batch", **settings)


def test_sequences_of_other_rows_beside_each_other_are_refused() -> None:
    hidden, batch = _batch()
    head, layer = _head(LABELS)
    with pytest.raises(AssertionError, match="both sequences of a row belong into one batch"):
        head.features(layer, hidden, Batch(torch.arange(6), batch.mask))
