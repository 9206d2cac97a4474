"""A linear layer over each option's sequence, with softmax over the options of a row: multiple choice."""

from __future__ import annotations

from adaptune.core.batch import Batch
from adaptune.core.lazy import torch
from adaptune.core.types import Answer, Labels, OfOption
from adaptune.heads._of_row import OfRowHead, row_numbers


class ChooseHead(OfRowHead):
    """One of a row's options, however many: each is scored with its context, the softmax is over the row."""

    target = OfOption

    def decode(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, labels: Labels) -> dict[int, Answer]:
        answers = {}
        shares = self.scores(layer, hidden, batch).softmax(dim=1).tolist()
        counts = torch.unique_consecutive(batch.rows, return_counts=True)[1].tolist()
        for row, count, padded in zip(row_numbers(batch), counts, shares, strict=True):
            probabilities = tuple(padded[:count])
            best = max(range(count), key=probabilities.__getitem__)
            answers[row] = Answer(best, probabilities[best], probabilities)
        return answers
