"""The contrastive loss against a plain implementation, and the batches it is computed over."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch

from adaptune.approaches import APPROACHES
from adaptune.approaches.contrast import balanced, contrast
from adaptune.core.errors import Unsupported
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.tasks import TASKS


def _plain(features: list[list[float]], targets: list[int], temperature: float) -> tuple[float, int]:
    """Text by text, in plain Python."""
    units = [np.array(one) / np.linalg.norm(one) for one in features]
    total, counted = 0.0, 0
    for i, anchor in enumerate(units):
        shares = {j: math.exp(float(anchor @ other) / temperature) for j, other in enumerate(units) if j != i}
        others = [j for j in shares if targets[j] == targets[i]]
        if others:
            whole = sum(shares.values())
            total += -sum(math.log(shares[j] / whole) for j in others) / len(others) - math.log(len(others))
            counted += 1
    return total, counted


def test_the_loss_is_that_of_its_equation() -> None:
    features = [[1.0, 0.2, 0.0], [0.8, 0.5, 0.1], [0.0, 1.0, 0.4], [0.1, 0.7, 0.9], [0.5, 0.5, 0.5]]
    targets = [0, 0, 1, 1, 2]
    found = contrast(torch.tensor(features), torch.tensor(targets), temperature=0.3)
    total, counted = _plain(features, targets, 0.3)
    assert (found.total.item(), found.items.item()) == (pytest.approx(total, rel=1e-5), counted)
    assert counted == 4


def test_its_least_value_is_0_however_many_texts_a_label_has() -> None:
    apart = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    found = contrast(apart, torch.tensor([0, 0, 0, 1, 1]), temperature=0.01)
    assert found.total.item() == pytest.approx(0.0, abs=1e-5)


def test_a_single_text_of_each_label_gives_no_loss_and_finite_gradients() -> None:
    features = torch.eye(3, requires_grad=True)
    found = contrast(features, torch.tensor([0, 1, 2]), temperature=0.1)
    torch.autograd.backward(found.total)
    assert found.items.item() == 0
    assert features.grad is not None
    assert bool(features.grad.isfinite().all())


TARGETS = np.array([0, 0, 0, 0, 1, 1, 2, 3, 3, 3])


def test_every_batch_has_as_many_labels_as_asked_for_and_at_most_so_many_rows_of_each() -> None:
    for batch in balanced(TARGETS, 3, 2, 20, seed=1):
        counts = Counter(TARGETS[batch].tolist())
        assert len(counts) == 3
        assert all(count == min(2, int((label == TARGETS).sum())) for label, count in counts.items())
        assert len(set(batch.tolist())) == len(batch)


def test_labels_take_turns() -> None:
    counts = Counter(label for batch in balanced(TARGETS, 3, 2, 40, seed=1) for label in set(TARGETS[batch].tolist()))
    assert set(counts) == {0, 1, 2, 3}
    assert max(counts.values()) - min(counts.values()) <= 2


def test_the_seed_decides_the_batches() -> None:
    first, again, other = (balanced(TARGETS, 2, 2, 5, seed=seed) for seed in (1, 1, 2))
    assert [one.tolist() for one in first] == [one.tolist() for one in again] != [one.tolist() for one in other]


def test_there_is_no_batch_where_every_label_has_one_row() -> None:
    assert balanced(np.arange(5), 3, 2, 10, seed=1) == []


@pytest.mark.parametrize(
    ("task", "head", "method", "message"),
    [
        ("classify", "classify", "none", "which method 'none' leaves as it is; use another method, such as lora"),
        ("classify", "classify", "head_only", "or approach=prototype"),
        ("classify", "classify", "adalora", "'adalora' follows the steps of one training"),
        ("tag", "tag", "lora", "learns one label of a whole text, and task 'tag' asks another; use finetune"),
    ],
)
def test_parts_that_do_not_fit_are_refused(task: str, head: str, method: str, message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        APPROACHES.make({"name": "contrast"}).check(
            TASKS.make({"name": task}), METHODS.make({"name": method}), HEADS.make({"name": head})
        )
