"""A score for each of a row's sequences, by a linear layer: what the heads that compare them share. Knows no texts."""

from __future__ import annotations

from abc import ABC
from typing import Literal, Self

from pydantic import Field

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.head import Head, LossSum
from adaptune.core.lazy import torch
from adaptune.core.types import Labels
from adaptune.heads.classify import pool

NONE = float("-inf")


class OfRowHead(Head, ABC):
    """One number a sequence, and a softmax over those of a row."""

    confident = False
    whole_rows = True

    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    """How tokens become one vector: their mean, the first, or the last real one; auto follows the model."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the pooled vector, in training."""

    def settled(self, backbone: Backbone, labels: Labels) -> Self:
        return self.model_copy(update={"pooling": backbone.pooling if self.pooling == "auto" else self.pooling})

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        return torch.nn.Linear(backbone.hidden_size, 1)

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        assert batch.labels is not None, "a loss needs labelled rows"
        features = torch.nn.functional.dropout(self.features(layer, hidden, batch), self.dropout, layer.training)
        items = self.items(batch)
        return LossSum(self.convex_loss(layer, layer(features), batch.labels) * items, items)

    def items(self, batch: Batch) -> torch.Tensor:
        """() what the loss is a mean over: rows."""
        return torch.tensor(len(torch.unique_consecutive(batch.rows)), device=batch.rows.device)

    def features(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, D) -> (B, D)"""
        return pool(hidden, batch.mask, self.pooling)

    def linear(self, layer: torch.nn.Module) -> torch.nn.Linear | None:
        return layer if isinstance(layer, torch.nn.Linear) else None

    def convex_loss(self, layer: torch.nn.Module, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(N, 1), (N, 2) grades and rows -> () mean over rows of the cross-entropy with the shares of their grades."""
        grades = by_row(targets[:, 0], targets[:, 1], 0.0)
        shares = grades / grades.sum(dim=1, keepdim=True)
        log_shares = by_row(outputs.float()[:, 0], targets[:, 1], NONE).log_softmax(dim=1)
        return -(shares * log_shares.masked_fill(shares == 0, 0.0)).sum(dim=1).mean()

    def scores(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, D) -> (R, C) the number of each sequence of a row, minus infinity behind its last"""
        return by_row(layer(self.features(layer, hidden, batch)).float()[:, 0], batch.rows, NONE)


def by_row(values: torch.Tensor, rows: torch.Tensor, fill: float) -> torch.Tensor:
    """(B,) values of sequences, (B,) their rows, those of a row together -> (R, C), filled up behind a row's last."""
    _, of, counts = torch.unique_consecutive(rows, return_inverse=True, return_counts=True)
    place = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[of]
    return values.new_full((len(counts), int(counts.max())), fill).index_put((of, place), values)


def row_numbers(batch: Batch) -> list[int]:
    """The row of each line of `by_row`."""
    numbers: list[int] = torch.unique_consecutive(batch.rows).tolist()
    return numbers
