"""Rows whose loss is small are left out of an epoch at random, and the rest of them count more. Knows no task.

Qin et al. (2024), InfoBatch: lossless training speed up by unbiased dynamic data pruning, ICLR.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.head import Head
from adaptune.core.method import Method
from adaptune.data.batches import Batches
from adaptune.engine.config import TrainConfig

WHOLE = 0.125
"""delta: the last share of the epochs that leaves out nothing, as theirs."""


class Pruned:
    """Batches whose rows of a loss below the mean (section 3.2) are left out with the probability r = train.prune.

    Those of them that stay count 1 / (1 - r) times, so that an epoch's gradients are the same in expectation (equation
    3). A row's loss is that of the epoch in which it was last read; the first epoch reads all.
    """

    def __init__(self, batches: Batches, config: TrainConfig) -> None:
        self.batches, self.rate = batches, config.prune
        self.last = config.epochs - math.ceil(WHOLE * config.epochs)
        """The epoch from which on all rows are read."""
        rows = 1 + max(sequence.row for sequence in batches.encoded)
        self.scores = torch.full((rows,), math.nan)
        """The loss of each row as this epoch began, per labelled item."""
        self.seen = torch.zeros(rows, 2)
        """Sums of loss and items in this epoch."""

    def begin(self) -> None:
        """An epoch begins: what the one before it saw decides."""
        read = self.seen[:, 1] > 0
        self.scores = torch.where(read, self.seen[:, 0] / self.seen[:, 1].clamp(min=1e-9), self.scores)
        self.seen = torch.zeros_like(self.seen)

    def observe(self, rows: Tensor, each: Tensor) -> None:
        """(B,) rows and (B, 2) loss and items of their sequences."""
        self.seen.index_add_(0, rows.cpu(), each.detach().float().cpu())

    def weights(self, epoch: int) -> NDArray[np.float64]:
        """(R,) what each row's loss is multiplied by; 0: it is left out."""
        scores = self.scores.double().numpy()
        known = np.isfinite(scores)
        weights = np.ones(len(scores))
        if epoch >= self.last or not known.any():
            return weights
        easy = known & (scores < scores[known].mean())
        drawn = np.random.default_rng([self.batches.seed, epoch, 1]).random(len(scores)) < self.rate
        weights[easy] = 1 / (1 - self.rate)
        weights[easy & drawn] = 0.0
        return weights

    def __call__(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, after the first `skip`, each sequence with its weight."""
        weights = self.weights(epoch)
        of_row = torch.from_numpy(weights).float()
        for batch in self.batches(epoch, skip, kept=weights > 0):
            yield replace(batch, weights=of_row[batch.rows])

    def per_epoch(self) -> int:
        """How many batches an epoch has that leaves out nothing."""
        return self.batches.per_epoch()

    def count(self, epoch: int) -> int:
        """How many batches this epoch has."""
        return self.batches.count(epoch, kept=self.weights(epoch) > 0)

    def state(self) -> dict[str, Tensor]:
        """For checkpoints."""
        return {"scores": self.scores, "seen": self.seen}

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from a state."""
        self.scores, self.seen = state["scores"].clone(), state["seen"].clone()


def check_pruning(config: TrainConfig, method: Method, head: Head) -> None:
    """Raises Unsupported where rows cannot be left out."""
    asked = f"train.prune is {config.prune:g}"
    if head.couples_rows:
        raise Unsupported(
            f"{asked}, and head {head.name!r} compares the rows of a batch with each other, so that no row has a loss "
            "of its own; set train.prune=0"
        )
    if config.epochs != int(config.epochs):
        raise Unsupported(
            f"{asked}, and train.epochs is {config.epochs:g}: how far an epoch is that leaves out rows is not known by "
            f"its steps; set train.epochs={math.ceil(config.epochs)}, or train.prune=0"
        )
    if type(method).after_step is not Method.after_step:
        raise Unsupported(
            f"{asked}, and method {method.name!r} plans its work over all steps, whose number is not known then; set "
            "train.prune=0"
        )
