"""A linear layer over one vector a sequence, with squared error: numbers."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.head import Head, LossSum
from adaptune.core.lazy import torch
from adaptune.core.types import Answer, Labels, OfNumber
from adaptune.heads.classify import pool


class RegressHead(Head):
    """One number a sequence: a linear layer over a pooled vector, trained on numbers of mean 0 and deviation 1."""

    target = OfNumber

    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    """How tokens become one vector: their mean, the first, or the last real one; auto follows the model."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the pooled vector, in training."""

    def settled(self, backbone: Backbone, labels: Labels) -> Self:
        return self.model_copy(update={"pooling": backbone.pooling if self.pooling == "auto" else self.pooling})

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        return scaled(torch.nn.Linear(backbone.hidden_size, 1), labels)

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        """Squared error of the standardised numbers."""
        assert batch.labels is not None, "a loss needs labelled rows"
        features = torch.nn.functional.dropout(self.features(layer, hidden, batch), self.dropout, layer.training)
        rows = torch.tensor(len(batch.labels), device=hidden.device)
        return LossSum(squared_error(layer, layer(features), batch.labels) * rows, rows)

    def decode(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, labels: Labels) -> dict[int, Answer]:
        numbers = unscaled(layer, layer(self.features(layer, hidden, batch)))
        return {row: Answer(number, None) for row, number in zip(batch.rows.tolist(), numbers, strict=True)}

    def features(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, D) -> (B, D)"""
        return pool(hidden, batch.mask, self.pooling)

    def linear(self, layer: torch.nn.Module) -> torch.nn.Linear | None:
        return layer if isinstance(layer, torch.nn.Linear) else None

    def convex_loss(self, layer: torch.nn.Module, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return squared_error(layer, outputs, targets)


def scaled(layer: torch.nn.Module, labels: Labels) -> torch.nn.Module:
    """A layer that knows mean and deviation of the training numbers; they are part of what a bundle holds."""
    mean, deviation = labels.moments or (0.0, 1.0)
    layer.register_buffer("mean", torch.tensor(mean))
    layer.register_buffer("deviation", torch.tensor(deviation))
    return layer


def squared_error(layer: torch.nn.Module, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(N, 1), (N,) -> () mean over rows, in units of the deviation of the training numbers."""
    standard = (targets - layer.get_buffer("mean")) / layer.get_buffer("deviation")
    return (outputs.float().squeeze(1) - standard).square().mean()


def unscaled(layer: torch.nn.Module, outputs: torch.Tensor) -> list[float]:
    """(N, 1) -> N numbers as the training rows have them."""
    numbers: list[float] = (
        outputs.float().squeeze(1) * layer.get_buffer("deviation") + layer.get_buffer("mean")
    ).tolist()
    return numbers
