"""A linear layer over the states at the marks of two entities: relations between them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.head import Head, LossSum
from adaptune.core.lazy import torch
from adaptune.core.types import Answer, Labels, OfMarked
from adaptune.heads.classify import choose, cross_entropy, pool


class RelateHead(Head):
    """One label a pair of marked entities, read at their markers (entity start; Baldini Soares et al., 2019)."""

    target = OfMarked

    reads: Literal["auto", "opening", "closing"] = "auto"
    """At which marker an entity is read; auto: the closing one where tokens see only those before them."""
    context: bool = True
    """Whether the vector of the whole text is read as well."""
    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    """How tokens become that vector: their mean, the first, or the last real one; auto follows the model."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On what is read, in training."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Share of the target spread over all labels."""

    def settled(self, backbone: Backbone, labels: Labels) -> Self:
        reads = ("closing" if backbone.roles.main.causal else "opening") if self.reads == "auto" else self.reads
        pooling = backbone.pooling if self.pooling == "auto" else self.pooling
        return self.model_copy(update={"reads": reads, "pooling": pooling})

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        return torch.nn.Linear(backbone.hidden_size * (3 if self.context else 2), len(labels))

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        features = torch.nn.functional.dropout(self.features(layer, hidden, batch), self.dropout, layer.training)
        return cross_entropy(layer(features), batch.labels, None, self.label_smoothing)

    def decode(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, labels: Labels) -> dict[int, Answer]:
        return choose(layer(self.features(layer, hidden, batch)), batch, labels)

    def features(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, D) -> (B, 2 D), or (B, 3 D) with the whole text's vector"""
        assert batch.sequence_of is not None and batch.token_of is not None, "every sequence has marked entities"
        # Of each sequence the opening and closing marker of the first entity, then those of the second.
        at = hidden[batch.sequence_of, batch.token_of].float().reshape(len(hidden), 2, 2, -1)
        entities = at[:, :, 0 if self.reads == "opening" else 1].flatten(1)
        return torch.cat([entities, pool(hidden, batch.mask, self.pooling)], dim=1) if self.context else entities

    def linear(self, layer: torch.nn.Module) -> torch.nn.Linear | None:
        return layer if isinstance(layer, torch.nn.Linear) else None
