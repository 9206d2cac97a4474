"""The heads that compare the sequences of a row: choose and rerank."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adaptune.core.batch import Batch
from adaptune.core.types import Labels
from adaptune.heads.choose import ChooseHead
from adaptune.heads.rerank import RerankHead

BACKBONE: Any = SimpleNamespace(pooling="mean", hidden_size=4)
LABELS = Labels(())
ROWS = [0, 0, 0, 1, 1]
"""A row of three sequences, and one of two."""
GRADES = [0.0, 3.0, 1.0, 1.0, 0.0]
TEXTS = ("a", "b", "c", "d", "e")


def _batch(grades: list[float] | None = GRADES) -> tuple[torch.Tensor, Batch]:
    hidden = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(1))
    labels = None if grades is None else torch.tensor(list(zip(grades, map(float, ROWS), strict=True)))
    return hidden, Batch(torch.tensor(ROWS), torch.ones(5, 2, dtype=torch.long), labels=labels, texts=TEXTS)


def _made(head: Any) -> tuple[Any, torch.nn.Linear, list[float]]:
    """The head, its layer, and the number of each sequence by a plain product."""
    torch.manual_seed(0)
    head = head.settled(BACKBONE, LABELS)
    layer = head.build(BACKBONE, LABELS)
    hidden, _ = _batch()
    numbers = [float(hidden[row].mean(dim=0) @ layer.weight[0].detach() + layer.bias.detach()) for row in range(5)]
    return head, layer, numbers


def _shares(numbers: list[float]) -> list[float]:
    powers = [2.718281828459045**number for number in numbers]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("head", [ChooseHead(), RerankHead()])
def test_the_loss_of_a_row_is_the_cross_entropy_over_its_sequences(head: Any) -> None:
    head, layer, numbers = _made(head)
    first, second = _shares(numbers[:3]), _shares(numbers[3:])
    logs = torch.tensor([first[1], first[2], second[0]]).log().tolist()
    loss = head.loss(layer, *_batch())
    assert float(loss.total.detach()) == pytest.approx(-(0.75 * logs[0] + 0.25 * logs[1] + logs[2]), rel=1e-5)
    assert int(loss.items) == 2


def test_candidates_may_be_learned_each_by_itself() -> None:
    head, layer, numbers = _made(RerankHead(learns="points"))
    right = [grade > 0 for grade in GRADES]
    chances = torch.tensor(numbers).sigmoid().tolist()
    plain = -sum(
        float(torch.tensor(chance if yes else 1 - chance).log()) for chance, yes in zip(chances, right, strict=True)
    )
    loss = head.loss(layer, *_batch())
    assert float(loss.total.detach()) == pytest.approx(plain, rel=1e-5)
    assert int(loss.items) == 5
    answers = head.decode(layer, *_batch(None), LABELS)
    assert answers[1].probability == pytest.approx(max(chances[3:]), rel=1e-5)


def test_the_loss_moves_no_padding() -> None:
    head, layer, _ = _made(ChooseHead())
    hidden, batch = _batch([0.0, 1.0, 0.0, 1.0, 0.0])
    hidden.requires_grad_(True)
    torch.autograd.backward(head.loss(layer, hidden, batch).total)
    assert hidden.grad is not None
    assert bool(hidden.grad.isfinite().all())
    assert bool(hidden.grad.abs().sum(dim=(1, 2)).gt(0).all())


def test_the_option_of_the_highest_number_is_chosen_among_its_rows() -> None:
    head, layer, numbers = _made(ChooseHead())
    answers = head.decode(layer, *_batch(None), LABELS)
    for row, own in ((0, numbers[:3]), (1, numbers[3:])):
        assert answers[row].value == own.index(max(own))
        assert answers[row].probabilities == pytest.approx(_shares(own), rel=1e-5)
        assert answers[row].probability == max(answers[row].probabilities)


def test_candidates_are_ranked_by_their_numbers() -> None:
    head, layer, numbers = _made(RerankHead())
    answers = head.decode(layer, *_batch(None), LABELS)
    for row, places in ((0, (0, 1, 2)), (1, (3, 4))):
        order = sorted(places, key=lambda place: -numbers[place])
        assert [text for text, _ in answers[row].value] == [TEXTS[place] for place in order]
        assert dict(answers[row].value) == pytest.approx({TEXTS[place]: numbers[place] for place in places}, rel=1e-5)
        assert answers[row].probability == pytest.approx(max(_shares([numbers[place] for place in places])), rel=1e-5)
