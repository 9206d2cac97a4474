"""A linear layer over each option's sequence, with softmax over the options of a row: multiple choice."""

from __future__ import annotations

from adaptune.core.batch import Batch
from adaptune.core.head import LogitHead
from adaptune.core.lazy import torch
from adaptune.core.types import Answer, Labels, OfOption
from adaptune.heads._of_row import OfRowHead, by_row, row_numbers


class ChooseHead(OfRowHead, LogitHead):
    """One of a row's options, however many: each is scored with its context, the softmax is over the row."""

    target = OfOption

    def logits(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        return self.scores(layer, hidden, batch)

    def targets(self, batch: Batch) -> torch.Tensor:
        assert batch.labels is not None, "targets are those of labelled rows"
        return by_row(batch.labels[:, 0], batch.labels[:, 1], 0.0).argmax(dim=1)

    def read(self, logits: torch.Tensor, batch: Batch, labels: Labels, temperature: float = 1.0) -> dict[int, Answer]:
        answers = {}
        places = logits.argmax(dim=1).tolist()
        shares = (logits / temperature).softmax(dim=1).tolist()
        counts = torch.unique_consecutive(batch.rows, return_counts=True)[1].tolist()
        for row, count, best, padded in zip(row_numbers(batch), counts, places, shares, strict=True):
            probabilities = tuple(padded[:count])
            answers[row] = Answer(best, probabilities[best], probabilities)
        return answers
