from __future__ import annotations

import numpy as np
import pytest
import torch

from adaptune.core.batch import Batch
from adaptune.core.types import Labels
from adaptune.heads.tag import TagHead, best_path

LABELS = Labels(("O", "B-x", "I-x", "B-y", "I-y"))


def _identity() -> torch.nn.Linear:
    """The hidden states are the logits."""
    layer = torch.nn.Linear(5, 5)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(5))
        layer.bias.zero_()
    return layer.requires_grad_(False)


def _batch(rows: list[int], places: list[tuple[int, int, int]], labels: list[int] | None = None) -> Batch:
    """Sequences of 6 tokens; places: (sequence, token, word) of each word."""
    sequences, tokens, items = (torch.tensor([place[part] for place in places]) for part in range(3))
    mask = torch.ones(len(rows), 6, dtype=torch.long)
    target = None if labels is None else torch.tensor(labels)
    return Batch(torch.tensor(rows), mask, sequence_of=sequences, token_of=tokens, items=items, labels=target)


def _hidden(batch: Batch, tags: list[str], size: float = 9.0) -> torch.Tensor:
    """Logits that say these tags at the words' tokens, and noise everywhere else."""
    hidden = torch.randn(*batch.mask.shape, 5, generator=torch.Generator().manual_seed(2))
    for place, tag in enumerate(tags):
        hidden[batch.sequence_of[place], batch.token_of[place]] = size * torch.eye(5)[LABELS.index(tag)]
    return hidden


def test_perfect_logits_give_their_tags() -> None:
    batch = _batch([3, 8], [(0, 1, 0), (0, 3, 1), (0, 4, 2), (1, 1, 0), (1, 2, 1)])
    answers = TagHead().decode(_identity(), _hidden(batch, ["B-x", "I-x", "O", "O", "B-y"]), batch, LABELS)
    assert {row: answer.value for row, answer in answers.items()} == {3: ("B-x", "I-x", "O"), 8: ("O", "B-y")}
    assert answers[8].probability == pytest.approx(np.mean(answers[8].probabilities))
    assert min(answers[3].probabilities) > 0.99


def test_windows_of_a_row_are_put_together_in_the_order_of_its_words() -> None:
    """Two windows of row 5: words 0 and 1 in one, 2 and 3 in the other, which comes first."""
    batch = _batch([5, 5], [(0, 2, 2), (0, 3, 3), (1, 1, 0), (1, 2, 1)])
    [answer] = TagHead().decode(_identity(), _hidden(batch, ["I-x", "O", "O", "B-x"]), batch, LABELS).values()
    assert answer.value == ("O", "B-x", "I-x", "O")


def test_a_word_without_a_token_is_outside_every_entity() -> None:
    batch = _batch([0], [(0, 1, 1), (0, 2, 3)])
    [answer] = TagHead().decode(_identity(), _hidden(batch, ["B-x", "O"]), batch, LABELS).values()
    assert answer.value == ("O", "B-x", "O", "O")
    assert answer.probabilities[0] == 1.0


def test_a_word_without_a_token_within_an_entity_belongs_to_it() -> None:
    batch = _batch([0], [(0, 1, 0), (0, 2, 2), (0, 3, 3)])
    [answer] = TagHead().decode(_identity(), _hidden(batch, ["B-x", "I-x", "O"]), batch, LABELS).values()
    assert answer.value == ("B-x", "I-x", "I-x", "O")


def test_rows_without_any_token_of_a_word_are_answered_with_nothing() -> None:
    batch = Batch(torch.tensor([4, 6]), torch.ones(2, 3, dtype=torch.long), labels=torch.zeros(0, dtype=torch.long))
    hidden = torch.randn(2, 3, 5)
    answers = TagHead().decode(_identity(), hidden, batch, LABELS)
    assert {row: answer.value for row, answer in answers.items()} == {4: (), 6: ()}
    loss = TagHead().loss(_identity(), hidden, batch)
    assert (float(loss.total), float(loss.items)) == (0.0, 0.0)


def test_a_row_without_words_among_others_is_answered_with_nothing() -> None:
    batch = _batch([0, 1], [(0, 1, 0)])
    answers = TagHead().decode(_identity(), _hidden(batch, ["B-x"]), batch, LABELS)
    assert {row: answer.value for row, answer in answers.items()} == {0: ("B-x",), 1: ()}


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_equals_a_plain_one(smoothing: float) -> None:
    batch = _batch([0, 1], [(0, 1, 0), (0, 3, 1), (1, 2, 0)], labels=[1, 2, 0])
    hidden = torch.randn(2, 6, 5)
    loss = TagHead(label_smoothing=smoothing).loss(_identity(), hidden, batch)
    total = 0.0
    for sequence, token, label in ((0, 1, 1), (0, 3, 2), (1, 2, 0)):
        log_probabilities = hidden[sequence, token] - torch.log(torch.exp(hidden[sequence, token]).sum())
        target = [smoothing / 5 + (1 - smoothing) * (index == label) for index in range(5)]
        total -= sum(target[index] * float(log_probabilities[index]) for index in range(5))
    assert float(loss.total) == pytest.approx(total, rel=1e-5)
    assert float(loss.items) == 3


@pytest.mark.parametrize(
    ("likely", "expected"),
    [
        (["O", "I-x", "I-x"], ["O", "B-x", "I-x"]),
        (["I-y"], ["B-y"]),
        (["B-x", "I-y", "I-y"], ["B-x", "B-y", "I-y"]),
        (["B-x", "I-x", "I-x"], ["B-x", "I-x", "I-x"]),
    ],
)
def test_the_nearest_legal_tags_are_chosen(likely: list[str], expected: list[str]) -> None:
    """Each likely tag has 8 of 10 parts, the beginning or inside of the same type the next most."""
    emissions = np.full((len(likely), 5), np.log(0.01), dtype=np.float32)
    for step, tag in enumerate(likely):
        sibling = tag.replace("I-", "B-") if tag.startswith("I-") else tag
        emissions[step, LABELS.index(sibling)] = np.log(0.17)
        emissions[step, LABELS.index(tag)] = np.log(0.8)
    assert [LABELS.names[tag] for tag in best_path(emissions, LABELS.names)] == expected


def test_no_words_have_no_tags() -> None:
    assert best_path(np.zeros((0, 5), dtype=np.float32), LABELS.names) == []
