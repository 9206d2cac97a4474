"""A linear layer over each query with one candidate, and the order of a row's candidates by it: a cross-encoder."""

from __future__ import annotations

from typing import Literal

from adaptune.core.batch import Batch
from adaptune.core.lazy import torch
from adaptune.core.types import Answer, Labels, OfCandidate
from adaptune.heads._of_row import OfRowHead, row_numbers


class RerankHead(OfRowHead):
    """The order of a row's candidates: each is scored in one sequence with the query."""

    target = OfCandidate

    learns: Literal["list", "points"] = "list"
    """list: the softmax over a row's candidates against the shares of their grades (ListNet's top-one loss, Cao et al.,
    2007). points: of each candidate by itself whether it is right, a grade above 0."""

    def items(self, batch: Batch) -> torch.Tensor:
        """() rows, or candidates where each is learned by itself"""
        return (
            super().items(batch) if self.learns == "list" else torch.tensor(len(batch.rows), device=batch.rows.device)
        )

    def convex_loss(self, layer: torch.nn.Module, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if self.learns == "list":
            return super().convex_loss(layer, outputs, targets)
        right = (targets[:, 0] > 0).float()
        return torch.nn.functional.binary_cross_entropy_with_logits(outputs.float()[:, 0], right)

    def decode(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, labels: Labels) -> dict[int, Answer]:
        """The probability is that of the first candidate: among the row's, or by itself."""
        assert batch.texts is not None, "candidates need their texts"
        scores = self.scores(layer, hidden, batch)
        firsts = (scores.softmax(dim=1) if self.learns == "list" else scores.sigmoid()).amax(dim=1).tolist()
        answers, start = {}, 0
        counts = torch.unique_consecutive(batch.rows, return_counts=True)[1].tolist()
        for row, count, padded, first in zip(row_numbers(batch), counts, scores.tolist(), firsts, strict=True):
            pairs = zip(batch.texts[start : start + count], padded[:count], strict=True)
            answers[row] = Answer(tuple(sorted(pairs, key=lambda pair: -pair[1])), first)
            start += count
        return answers
