"""Few labelled rows: texts of one label are drawn together and others apart, then a head is fitted on the vectors."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import numpy as np
from pydantic import Field

from adaptune.core.approach import Approach, Start, Taken
from adaptune.core.errors import Unsupported
from adaptune.core.head import Head, LossSum
from adaptune.core.lazy import torch
from adaptune.core.method import Method
from adaptune.core.phrases import spoken
from adaptune.core.task import Task
from adaptune.core.types import Array, OfSequence

SMOOTHED = 0.8
"""Share of the running mean of the loss that a step leaves."""


class Contrast(Approach):
    """For few labelled rows: draws texts of one label together and others apart, then fits a head; no epochs follow.

    What SetFit (Tunstall et al. 2022) does with pairs, by a loss over all texts of a batch, each of which passes the
    model once. Every weight learns unless a method is named: lora, whose bundles are small, came as far in twice as
    many steps (BANKING77, eight rows of each label, at a rate of 1e-3).
    """

    paper: ClassVar[str] = "Khosla et al. (2020), Supervised contrastive learning"
    default_method = "full"
    default_epochs = 0.0
    fits_head = True
    moves_trunk = True

    names: bool = True
    """Whether the name of each label is one more text of it, underscores read as spaces."""
    steps: int = Field(default=20, ge=1)
    """Most optimizer steps."""
    labels_a_step: int = Field(default=24, ge=2)
    """Labels in a batch."""
    rows_a_label: int = Field(default=3, ge=2)
    """Most texts of each of them."""
    temperature: float = Field(default=0.05, gt=0)
    """What cosines are divided by."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak rate of these steps; none: that of the recipe, else the method's own."""
    enough: float = Field(default=0.05, ge=0)
    """The running mean of the loss, its least possible value taken away, at which the steps end early."""
    strength: float = Field(default=1e-4, gt=0)
    """L2 strength of the head, which is fitted without a look at validation rows."""

    def heads(self, task: Task) -> tuple[str, ...]:
        return ("classify",)

    def check(self, task: Task, method: Method, head: Head) -> None:
        if task.target is not OfSequence:
            raise Unsupported(
                f"{self.name!r} learns one label of a whole text, and task {task.name!r} asks another; use finetune"
            )
        if not method.changes_trunk or not method.steps:
            raise Unsupported(
                f"{self.name!r} trains the model, which method {method.name!r} leaves as it is; use another method, "
                "such as lora, or approach=prototype"
            )
        if type(method).after_step is not Method.after_step:
            raise Unsupported(
                f"method {method.name!r} follows the steps of one training, and {self.name!r} takes others before; use "
                "another method, such as lora"
            )

    def before(self, start: Start) -> Iterator[Taken]:
        if self.names:
            start.add([(spoken(name), name) for name in start.labels.names])
        plan = balanced(start.targets(), self.labels_a_step, self.rows_a_label, self.steps, seed=start.seed)
        mean = None
        for taken in start.learn(
            partial(contrast, temperature=self.temperature), plan, learning_rate=self.learning_rate
        ):
            mean = taken.loss if mean is None else SMOOTHED * mean + (1 - SMOOTHED) * taken.loss
            yield taken
            if mean < self.enough:
                break
        start.fit(self.strength)


def balanced(targets: Array, labels: int, rows: int, steps: int, *, seed: int) -> list[Array]:
    """The indices of each batch: so many of the labels in turn, and of each at most so many rows.

    Labels with one row alone are there for others to keep away from; without two rows of any there is no batch.
    """
    of = [np.flatnonzero(targets == label) for label in np.unique(targets)]
    if all(len(members) < 2 for members in of):
        return []
    chance = random.Random(seed)
    plan, waiting = [], list[int]()
    for _ in range(steps):
        while len(set(waiting)) < min(labels, len(of)):
            waiting += chance.sample(range(len(of)), len(of))
        chosen = list(dict.fromkeys(waiting))[:labels]
        for place in chosen:
            waiting.remove(place)  # its first turn; a second one waits for the next batch
        picked = [chance.sample(of[place].tolist(), min(rows, len(of[place]))) for place in chosen]
        plan.append(np.array([index for one in picked for index in one], dtype=np.int64))
    return plan


def contrast(features: torch.Tensor, targets: torch.Tensor, *, temperature: float) -> LossSum:
    """(N, F), (N,) -> Khosla et al. (2020), equation 2, of texts with others of their label.

    Of each text it is the mean over those others less its least possible value, the logarithm of their number.
    """
    vectors = torch.nn.functional.normalize(features, dim=1)
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    similar = (vectors @ vectors.T / temperature).masked_fill(itself, float("-inf"))
    log_shares = similar.log_softmax(dim=1).masked_fill(itself, 0.0)
    same = (targets[:, None] == targets[None, :]) & ~itself
    others = same.sum(dim=1)
    has = others > 0
    each = -(log_shares * same).sum(dim=1)[has] / others[has] - others[has].log()
    return LossSum(each.sum(), has.sum())
