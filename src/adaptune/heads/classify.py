"""A linear layer over one vector a sequence, with softmax: single-label classification."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveFloat

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported, nearest
from adaptune.core.head import LogitHead, LossSum
from adaptune.core.lazy import torch
from adaptune.core.types import Answer, Labels


class ClassifyHead(LogitHead):
    """One label a sequence: a linear layer with softmax over a pooled vector."""

    plain = True
    tells_scope = True
    learns_shares = True

    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    """How tokens become one vector: their mean, the first, or the last real one; auto follows the model."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the pooled vector, in training."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Share of the target spread over all labels."""
    class_weights: Literal["none", "balanced"] | dict[str, PositiveFloat] = "none"
    """balanced: rows / (labels x rows of the label); or a weight by label name (1 for those not named)."""
    soft_temperature: float = Field(default=1.0, gt=0, exclude_if=lambda temperature: temperature == 1)
    """Of rows that another model answered (`adaptune distil`): what its logits and one's own are divided by."""

    def settled(self, backbone: Backbone, labels: Labels) -> Self:
        pooling = backbone.pooling if self.pooling == "auto" else self.pooling
        return self.model_copy(update={"pooling": pooling, "class_weights": self._weights(labels)})

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        layer = torch.nn.Linear(backbone.hidden_size, len(labels))
        if isinstance(self.class_weights, dict):
            weights = torch.tensor([self.class_weights.get(name, 1.0) for name in labels.names])
            layer.register_buffer("class_weights", weights, persistent=False)
        return layer

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        features = torch.nn.functional.dropout(self.features(layer, hidden, batch), self.dropout, layer.training)
        weights, temperature = getattr(layer, "class_weights", None), self.soft_temperature
        return cross_entropy(layer(features), batch.labels, weights, self.label_smoothing, temperature)

    def logits(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        logits: torch.Tensor = layer(self.features(layer, hidden, batch))
        return logits

    def read(self, logits: torch.Tensor, batch: Batch, labels: Labels, temperature: float = 1.0) -> dict[int, Answer]:
        return choose(logits, batch, labels, temperature)

    def features(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, D) -> (B, D)"""
        return pool(hidden, batch.mask, self.pooling)

    def linear(self, layer: torch.nn.Module) -> torch.nn.Linear | None:
        return layer if isinstance(layer, torch.nn.Linear) else None

    def convex_loss(self, layer: torch.nn.Module, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if not targets.is_floating_point():
            return super().convex_loss(layer, outputs, targets)
        return mean_of_shares(outputs, targets, getattr(layer, "class_weights", None), self.soft_temperature)

    def _weights(self, labels: Labels) -> str | dict[str, float]:
        if self.class_weights == "balanced":
            if not labels.counts:
                raise Unsupported(
                    "head.class_weights is 'balanced', and how many rows each label has is not known here"
                )
            rows = sum(labels.counts)
            pairs = zip(labels.names, labels.counts, strict=True)
            return {name: rows / (len(labels) * count) for name, count in pairs if count}
        if isinstance(self.class_weights, dict):
            for name in self.class_weights:
                if name not in labels:
                    known = ", ".join(labels.names[:20])
                    hint = nearest(name, labels.names)
                    raise Unsupported(
                        f"head.class_weights names the label {name!r}, which no row has{hint} (labels: {known})"
                    )
        return self.class_weights


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """(B, T, D), (B, T) -> (B, D), in fp32."""
    hidden = hidden.float()
    if pooling == "first":
        return hidden[torch.arange(len(mask), device=mask.device), mask.argmax(dim=1)]
    if pooling == "last":
        last = mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
        return hidden[torch.arange(len(mask), device=mask.device), last]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor | None,
    weights: torch.Tensor | None,
    smoothing: float,
    temperature: float = 1.0,
) -> LossSum:
    """(N, C), (N,) labels or (N, C) their probabilities -> sum over items and the sum of their class weights.

    A row that is sure of one label is as one that has it. Of others, at a temperature T, it is T^2 KL(p, q) between
    what both models say at T (Hinton et al., 2015, section 2).
    """
    assert labels is not None, "a loss needs labelled rows"
    if labels.is_floating_point():
        return _of_shares(logits.float(), labels, weights, smoothing, temperature)
    total = torch.nn.functional.cross_entropy(
        logits.float(), labels, weight=weights, label_smoothing=smoothing, reduction="sum"
    )
    count = torch.tensor(len(labels), device=logits.device) if weights is None else weights[labels].sum()
    return LossSum(total, count)


def _of_shares(
    logits: torch.Tensor, shares: torch.Tensor, weights: torch.Tensor | None, smoothing: float, temperature: float
) -> LossSum:
    sure = shares.amax(dim=1) == 1
    hard = cross_entropy(logits[sure], shares[sure].argmax(dim=1), weights, smoothing)
    soft = shares[~sure]
    of_each = torch.ones_like(soft[:, 0]) if weights is None else soft @ weights
    taught = (soft.clamp(min=torch.finfo(soft.dtype).tiny).log() / temperature).softmax(dim=1)
    own = (logits[~sure] / temperature).log_softmax(dim=1)
    apart = torch.nn.functional.kl_div(own, taught, reduction="none").sum(dim=1)
    return LossSum(hard.total + temperature**2 * (of_each * apart).sum(), hard.items + of_each.sum())


def mean_of_shares(
    outputs: torch.Tensor, shares: torch.Tensor, weights: torch.Tensor | None, temperature: float
) -> torch.Tensor:
    """(N, C), (N, C) -> () the mean of the same, without smoothing."""
    found = cross_entropy(outputs, shares, weights, 0.0, temperature)
    return found.total / found.items


def choose(
    logits: torch.Tensor, batch: Batch, labels: Labels, temperature: float = 1.0, *, rows: list[int] | None = None
) -> dict[int, Answer]:
    """(B, C) -> the most probable label of each row, with the probability of every label.

    `rows`: where the logits are not those of the batch's sequences one by one.
    """
    rows = batch.rows.tolist() if rows is None else rows
    best = logits.argmax(dim=-1).tolist()
    shares = (logits.float() / temperature).softmax(dim=-1).tolist()
    return {
        row: Answer(labels.names[place], probabilities[place], tuple(probabilities))
        for row, place, probabilities in zip(rows, best, shares, strict=True)
    }
