"""Few labelled rows: texts are drawn to the others of their label and away from other labels, then a head is fitted."""

from __future__ import annotations

import random
from collections.abc import Iterator
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


class Contrast(Approach):
    """For few labelled rows: draws each text to the others of its label, then fits a head; no epochs follow.

    What SetFit (Tunstall et al. 2022) does with pairs, by one loss a text over the mean vectors of all labels, of its
    own label without the text itself: one pass of a text says what pairs say with a text of every label. The weights
    are then put half-way between where they were and where they came (WiSE-FT): on few rows the whole way is too far
    (BANKING77 by all-MiniLM-L6-v2, eight rows of each label, the last three layers: 84.5 % of 750 test rows by the head
    alone, 84.9 % the whole way, 85.9 % half of it). The head is fitted on vectors of length 1.
    """

    paper: ClassVar[str] = (
        "Snell et al. (2017), Prototypical networks for few-shot learning; Wortsman et al. (2022), Robust fine-tuning "
        "of zero-shot models"
    )
    default_method = "top_layers"
    default_epochs = 0.0
    fits_head = True
    moves_trunk = True

    names: bool = True
    """Whether the name of each label is one more text of it, underscores read as spaces."""
    passes: float = Field(default=3.0, gt=0)
    """Most passes over the texts."""
    steps: int = Field(default=50, ge=0)
    """Most optimizer steps, however many texts there are; 0: the head alone, on the model as it comes."""
    rows_a_step: int = Field(default=24, ge=2)
    """Texts in a batch."""
    temperature: float = Field(default=0.05, gt=0)
    """What cosines are divided by."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak rate of these steps; none: that of the recipe, else the method's own."""
    kept: float = Field(default=0.5, gt=0, le=1)
    """How much of the way that the weights went is kept."""
    strength: float = Field(default=1e-4, gt=0)
    """L2 strength of the head, which is fitted without a look at validation rows."""

    def heads(self, task: Task) -> tuple[str, ...]:
        return ("classify",)

    def check(self, task: Task, method: Method, head: Head) -> None:
        if task.target is not OfSequence:
            raise Unsupported(
                f"{self.name!r} learns one label of a whole text, and task {task.name!r} asks another; use finetune"
            )
        if self.steps and (not method.changes_trunk or not method.steps):
            raise Unsupported(
                f"{self.name!r} trains the model, which method {method.name!r} leaves as it is; use another method, "
                "such as lora, or approach.steps=0, or approach=prototype"
            )
        if type(method).after_step is not Method.after_step:
            raise Unsupported(
                f"method {method.name!r} follows the steps of one training, and {self.name!r} takes others before; use "
                "another method, such as lora"
            )

    def before(self, start: Start) -> Iterator[Taken]:
        if self.names:
            start.add([(spoken(name), name) for name in start.labels.names])
        plan = batches(start.targets(), self.rows_a_step, self.passes, self.steps, seed=start.seed)
        if plan:
            features, targets = start.features("train")
            loss = Nearest(features, targets, len(start.labels), self.temperature)
            yield from start.learn(loss, plan, learning_rate=self.learning_rate)
            start.keep(self.kept)
        start.fit(self.strength)


def batches(targets: Array, rows: int, passes: float, steps: int, *, seed: int) -> list[Array]:
    """The indices of each batch: texts whose label has others, in an order drawn anew in every pass."""
    counts = np.bincount(targets)
    places = np.flatnonzero(counts[targets] > 1)
    if not len(places) or not steps:
        return []
    chance = random.Random(seed)
    a_pass = -(-len(places) // rows)
    total = max(1, min(steps, round(passes * a_pass)))
    plan: list[Array] = []
    while len(plan) < total:
        plan += np.array_split(np.array(chance.sample(places.tolist(), len(places))), a_pass)
    return plan[:total]


class Nearest:
    """The loss of texts that are to be nearest to the mean of their label's other texts, among those of all labels.

    Means are of vectors as they were when they were read last: none but a batch's own texts pass the model.
    """

    def __init__(self, features: torch.Tensor, targets: torch.Tensor, labels: int, temperature: float) -> None:
        """(N, F) of all texts, (N,)."""
        self.temperature = temperature
        self._vectors = torch.nn.functional.normalize(features, dim=1)
        self._sums = self._vectors.new_zeros(labels, features.shape[1]).index_add_(0, targets, self._vectors)

    def __call__(self, features: torch.Tensor, targets: torch.Tensor, places: torch.Tensor) -> LossSum:
        """(B, F), (B,), (B,) which of all texts they are, each of a label with others -> Snell et al., equation 2.

        The softmax is over cosines.
        """
        vectors = torch.nn.functional.normalize(features, dim=1)
        others = torch.nn.functional.normalize(self._sums[targets] - self._vectors[places], dim=1)
        similar = vectors @ torch.nn.functional.normalize(self._sums, dim=1).T
        similar = similar.scatter(1, targets[:, None], (vectors * others).sum(dim=1, keepdim=True))
        loss = torch.nn.functional.cross_entropy(similar / self.temperature, targets, reduction="sum")
        now = vectors.detach()
        self._sums.index_add_(0, targets, now - self._vectors[places])
        self._vectors[places] = now
        return LossSum(loss, torch.tensor(len(targets), device=loss.device))
