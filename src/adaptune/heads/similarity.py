"""The cosine of two sequences' vectors, and what it says of a row: a label or a number. Each text is read by itself."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveFloat

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.head import LogitHead, LossSum
from adaptune.core.lazy import torch
from adaptune.core.types import Answer, Labels, OfRow
from adaptune.heads.classify import choose, pool
from adaptune.heads.regress import scaled, squared_error, unscaled

_YES = {"1", "true", "yes", "duplicate", "match", "paraphrase"}
"""Usual names of the label of pairs that match."""


class SimilarityHead(LogitHead):
    """One label or number a pair of texts: a linear layer over the cosine of their pooled vectors."""

    target = OfRow
    confident = False
    whole_rows = True

    learns: Literal["pairs", "in_batch"] = "pairs"
    """pairs: the label or number of each pair. in_batch: that the second text of a matching pair is nearer to the first
    than all other second texts of the batch (multiple negatives ranking, Henderson et al., 2017; InfoNCE); answers are
    then calibrated on the cosine, which they do not change."""
    scale: PositiveFloat = 20.0
    """in_batch: what cosines are multiplied by before the softmax, 1 / temperature."""
    positive: str | float | None = None
    """in_batch: the label of pairs that match, or the least number; none: the label called 1, true or yes."""
    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    """How tokens become one vector: their mean, the first, or the last real one; auto follows the model."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the pooled vectors, in training."""

    @property
    def couples_rows(self) -> bool:  # type: ignore[override]  # it depends on what is learned
        return self.learns == "in_batch"

    def settled(self, backbone: Backbone, labels: Labels) -> Self:
        pooling = backbone.pooling if self.pooling == "auto" else self.pooling
        positive = self._positive(labels) if self.learns == "in_batch" else self.positive
        return self.model_copy(update={"pooling": pooling, "positive": positive})

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        """A linear layer over one cosine; which outputs mean a match stands in a buffer."""
        layer = scaled(torch.nn.Linear(1, len(labels)), labels)
        matches = [name == self.positive for name in labels.names]
        layer.register_buffer("matches", torch.tensor(matches), persistent=False)
        return layer

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        assert batch.labels is not None, "a loss needs labelled rows"
        firsts, seconds = self._vectors(hidden, batch, training=layer.training)
        targets = batch.labels[0::2]
        rows = torch.tensor(len(targets), device=hidden.device)
        cosines = (firsts * seconds).sum(dim=1, keepdim=True)
        if self.learns == "pairs":
            return LossSum(self.convex_loss(layer, layer(cosines), targets) * rows, rows)
        calibration = self.convex_loss(layer, layer(cosines.detach()), targets) * rows
        return LossSum(calibration + self._ranking(layer, firsts @ seconds.T, targets), rows)

    def gives_labels(self, labels: Labels) -> bool:
        return len(labels) > 1

    def decode(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, labels: Labels) -> dict[int, Answer]:
        if self.gives_labels(labels):
            return super().decode(layer, hidden, batch, labels)
        numbers = unscaled(layer, self.logits(layer, hidden, batch))
        return {row: Answer(number, None) for row, number in zip(batch.rows[0::2].tolist(), numbers, strict=True)}

    def logits(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        logits: torch.Tensor = layer(self.features(layer, hidden, batch))
        return logits

    def read(self, logits: torch.Tensor, batch: Batch, labels: Labels, temperature: float = 1.0) -> dict[int, Answer]:
        return choose(logits, batch, labels, temperature, rows=batch.rows[0::2].tolist())

    def targets(self, batch: Batch) -> torch.Tensor:
        return super().targets(batch)[0::2]  # both sequences of a row carry them

    def features(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, D) -> (B / 2, 1) cosines"""
        firsts, seconds = self._vectors(hidden, batch, training=False)
        return (firsts * seconds).sum(dim=1, keepdim=True)

    def linear(self, layer: torch.nn.Module) -> torch.nn.Linear | None:
        return layer if isinstance(layer, torch.nn.Linear) else None

    def convex_loss(self, layer: torch.nn.Module, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        targets = targets if len(targets) == len(outputs) else targets[0::2]  # both sequences of a row carry them
        if outputs.shape[1] == 1:
            return squared_error(layer, outputs, targets)
        return torch.nn.functional.cross_entropy(outputs.float(), targets)

    def _vectors(self, hidden: torch.Tensor, batch: Batch, *, training: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T, D) -> twice (B / 2, D) of length 1; the two sequences of a row stand beside each other."""
        assert torch.equal(batch.rows[0::2], batch.rows[1::2]), "both sequences of a row belong into one batch"
        pooled = torch.nn.functional.dropout(pool(hidden, batch.mask, self.pooling), self.dropout, training)
        vectors = torch.nn.functional.normalize(pooled, dim=1)
        return vectors[0::2], vectors[1::2]

    def _ranking(self, layer: torch.nn.Module, cosines: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(R, R) cosines of firsts and seconds -> () sum over matching rows of -log softmax(scale * cosine)."""
        if isinstance(self.positive, str):
            matches = layer.get_buffer("matches")[targets]
        else:
            matches = targets >= float(self.positive or 0.0)
        right = torch.arange(len(targets), device=cosines.device)
        return torch.nn.functional.cross_entropy(self.scale * cosines[matches], right[matches], reduction="sum")

    def _positive(self, labels: Labels) -> str | float:
        if len(labels) == 1:
            if not isinstance(self.positive, (int, float)):
                raise Unsupported(
                    "head.learns is in_batch, and rows have numbers; say from which on pairs match: positive"
                )
            return float(self.positive)
        name = self.positive if isinstance(self.positive, str) else None
        usual = [label for label in labels.names if label.casefold() in _YES]
        found = usual[0] if self.positive is None and len(usual) == 1 else name
        if found is None or found not in labels:
            raise Unsupported(
                f"head.positive is {self.positive!r}, expected the label of pairs that match: {', '.join(labels.names)}"
            )
        return found
