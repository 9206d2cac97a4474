"""A linear layer over one vector a sequence, with a sigmoid for each label: any number of labels."""

from __future__ import annotations

from math import prod
from typing import Literal, Self

from pydantic import Field

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.head import LogitHead, LossSum
from adaptune.core.lazy import torch
from adaptune.core.types import Answer, Labels, OfLabels
from adaptune.heads.classify import pool


class MultilabelHead(LogitHead):
    """Each label by itself, present or not: a linear layer with sigmoids over a pooled vector."""

    target = OfLabels
    plain = True
    link = "sigmoid"

    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    """How tokens become one vector: their mean, the first, or the last real one; auto follows the model."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the pooled vector, in training."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """A label with a higher probability is given: the one before calibration, which so changes no answer."""

    def settled(self, backbone: Backbone, labels: Labels) -> Self:
        return self.model_copy(update={"pooling": backbone.pooling if self.pooling == "auto" else self.pooling})

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        return torch.nn.Linear(backbone.hidden_size, len(labels))

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        """Binary cross-entropy, summed over the labels of a row."""
        assert batch.labels is not None, "a loss needs labelled rows"
        features = torch.nn.functional.dropout(self.features(layer, hidden, batch), self.dropout, layer.training)
        rows = torch.tensor(len(batch.labels), device=hidden.device)
        return LossSum(self.convex_loss(layer, layer(features), batch.labels) * rows, rows)

    def logits(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        logits: torch.Tensor = layer(self.features(layer, hidden, batch))
        return logits

    def read(self, logits: torch.Tensor, batch: Batch, labels: Labels, temperature: float = 1.0) -> dict[int, Answer]:
        return each_by_itself(logits, batch.rows.tolist(), labels, threshold=self.threshold, temperature=temperature)

    def features(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, D) -> (B, D)"""
        return pool(hidden, batch.mask, self.pooling)

    def linear(self, layer: torch.nn.Module) -> torch.nn.Linear | None:
        return layer if isinstance(layer, torch.nn.Linear) else None

    def convex_loss(self, layer: torch.nn.Module, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        of_each = torch.nn.functional.binary_cross_entropy_with_logits(outputs.float(), targets, reduction="none")
        return of_each.sum(dim=1).mean()


def each_by_itself(
    logits: torch.Tensor, rows: list[int], labels: Labels, *, threshold: float, temperature: float
) -> dict[int, Answer]:
    """(B, C), the row of each -> the labels whose probability before calibration is above the threshold, by row."""
    given = (logits.float().sigmoid() > threshold).tolist()
    probabilities = (logits.float() / temperature).sigmoid().tolist()
    of_rows = zip(rows, given, probabilities, strict=True)
    return {row: _answer(of_row, found, labels) for row, of_row, found in of_rows}


def _answer(given: list[bool], probabilities: list[float], labels: Labels) -> Answer:
    """The labels that are given; the probability of all that is said, labels being independent."""
    both = prod(p if there else 1 - p for there, p in zip(given, probabilities, strict=True))
    places = [place for place, there in enumerate(given) if there]
    value = tuple(labels.names[place] for place in places)
    return Answer(value, both, tuple(probabilities), tuple(probabilities[place] for place in places))
