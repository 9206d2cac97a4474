"""The loss of nearest means against a plain implementation, and the batches it is computed over."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from adaptune.approaches import APPROACHES
from adaptune.approaches.contrast import Nearest, batches
from adaptune.core.errors import Unsupported
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.tasks import TASKS


def _plain(texts: list[list[float]], targets: list[int], which: list[int], temperature: float) -> float:
    """Text by text, in plain Python."""
    units = [np.array(one) / np.linalg.norm(one) for one in texts]
    total = 0.0
    for place in which:
        shares = {}
        for label in set(targets):
            mean = np.sum([units[n] for n, of in enumerate(targets) if of == label and n != place], axis=0)
            shares[label] = math.exp(float(units[place] @ mean) / float(np.linalg.norm(mean)) / temperature)
        total -= math.log(shares[targets[place]] / sum(shares.values()))
    return total


TEXTS = [
    [1.0, 0.2, 0.0],
    [0.8, 0.5, 0.1],
    [0.0, 1.0, 0.4],
    [0.1, 0.7, 0.9],
    [0.3, 0.9, 0.1],
    [0.2, 0.1, 0.8],
    [0.1, 0.3, 0.9],
]
OF = [0, 0, 1, 1, 1, 2, 2]


def test_the_loss_is_that_of_nearest_means_without_the_text_itself() -> None:
    loss = Nearest(torch.tensor(TEXTS), torch.tensor(OF), 3, temperature=0.3)
    which = torch.tensor([0, 3, 6])
    found = loss(torch.tensor(TEXTS)[which], torch.tensor(OF)[which], which)
    assert found.total.item() == pytest.approx(_plain(TEXTS, OF, [0, 3, 6], 0.3), rel=1e-5)
    assert found.items.item() == 3


def test_means_are_of_the_vectors_that_were_read_last() -> None:
    loss = Nearest(torch.tensor(TEXTS), torch.tensor(OF), 3, temperature=0.3)
    moved = [[0.9, 0.0, 0.4], *TEXTS[1:]]
    loss(torch.tensor(moved)[:1], torch.tensor([0]), torch.tensor([0]))
    found = loss(torch.tensor(moved)[1:3], torch.tensor([0, 1]), torch.tensor([1, 2]))
    assert found.total.item() == pytest.approx(_plain(moved, OF, [1, 2], 0.3), rel=1e-5)


def test_gradients_are_of_the_texts_alone_and_draw_them_to_their_label() -> None:
    loss = Nearest(torch.tensor(TEXTS), torch.tensor(OF), 3, temperature=0.3)
    texts = torch.tensor(TEXTS[:2], requires_grad=True)
    places = torch.tensor([0, 1])
    found = loss(texts, torch.tensor([0, 0]), places)
    torch.autograd.backward(found.total)
    assert texts.grad is not None
    again = Nearest(torch.tensor(TEXTS), torch.tensor(OF), 3, temperature=0.3)
    assert again(texts.detach() - 0.1 * texts.grad, torch.tensor([0, 0]), places).total < found.total.detach()


TARGETS = np.array([0, 0, 0, 0, 1, 1, 2, 3, 3, 3])


def test_every_pass_reads_each_text_whose_label_has_others_once() -> None:
    plan = batches(TARGETS, 4, 2, 100, seed=1)
    assert [len(batch) for batch in plan] == [3, 3, 3, 3, 3, 3]
    for part in (plan[:3], plan[3:]):
        assert sorted(np.concatenate(part).tolist()) == [0, 1, 2, 3, 4, 5, 7, 8, 9]


def test_there_are_at_most_so_many_steps() -> None:
    assert len(batches(TARGETS, 4, 2, 5, seed=1)) == 5
    assert len(batches(TARGETS, 4, 0.1, 5, seed=1)) == 1


def test_the_seed_decides_the_batches() -> None:
    first, again, other = (batches(TARGETS, 2, 1, 5, seed=seed) for seed in (1, 1, 2))
    assert [one.tolist() for one in first] == [one.tolist() for one in again] != [one.tolist() for one in other]


def test_there_is_no_batch_where_every_label_has_one_row() -> None:
    assert batches(np.arange(5), 3, 2, 10, seed=1) == []


class Called:
    """What a start is asked for, in order; the rows are those above."""

    seed, labels = 1, ("a", "b", "c")

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []

    def targets(self) -> np.ndarray:
        return np.array(OF)

    def features(self, part: str) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(TEXTS), torch.tensor(OF)

    def learn(self, loss: Nearest, plan: list[np.ndarray], *, learning_rate: float | None) -> tuple[()]:
        self.asked.append(("learn", len(plan)))
        return ()

    def keep(self, share: float) -> None:
        self.asked.append(("keep", share))

    def fit(self, strength: float) -> None:
        self.asked.append(("fit", strength))


@pytest.mark.parametrize(("settings", "kept"), [({}, 0.5), ({"kept": 0.8}, 0.8)])
def test_half_of_the_way_is_kept_before_the_head_is_fitted(settings: dict[str, float], kept: float) -> None:
    start = Called()
    contrast = APPROACHES.make({"name": "contrast", "names": False, "steps": 2, **settings})
    assert list(contrast.before(start)) == []  # type: ignore[arg-type]
    assert start.asked == [("learn", 2), ("keep", kept), ("fit", 1e-4)]


def test_without_steps_the_head_is_fitted_alone() -> None:
    assert batches(TARGETS, 4, 2, 0, seed=1) == []
    parts = TASKS.make({"name": "classify"}), METHODS.make({"name": "none"}), HEADS.make({"name": "classify"})
    APPROACHES.make({"name": "contrast", "steps": 0}).check(*parts)


@pytest.mark.parametrize(
    ("task", "head", "method", "message"),
    [
        ("classify", "classify", "none", "which method 'none' leaves as it is; use another method, such as lora"),
        ("classify", "classify", "head_only", "or approach.steps=0, or approach=prototype"),
        ("classify", "classify", "adalora", "'adalora' follows the steps of one training"),
        ("tag", "tag", "lora", "learns one label of a whole text, and task 'tag' asks another; use finetune"),
    ],
)
def test_parts_that_do_not_fit_are_refused(task: str, head: str, method: str, message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        APPROACHES.make({"name": "contrast"}).check(
            TASKS.make({"name": task}), METHODS.make({"name": method}), HEADS.make({"name": head})
        )
