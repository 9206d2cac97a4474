"""The cosine of a query's vector and a text's, each read by itself: a bi-encoder, for few texts or a whole corpus."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveFloat

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch, Index
from adaptune.core.errors import DataError
from adaptune.core.head import Head, LossSum
from adaptune.core.lazy import torch
from adaptune.core.types import RANKED, Answer, Labels, OfDocument
from adaptune.heads.classify import pool

_CELLS = 16_000_000
"""Cosines that are computed at once: 64 MB."""


class RetrieveHead(Head):
    """The texts whose vectors are nearest to the query's, trained against wrong texts (InfoNCE)."""

    target = OfDocument
    confident = False
    whole_rows = True

    negatives: Literal["in_batch", "own"] = "in_batch"
    """What a right text must be nearer than. in_batch: all other texts of the batch (multiple negatives ranking,
    Henderson et al., 2017), equal ones once, those that are right for an equal query left out. own: the wrong texts of
    the same row."""
    scale: PositiveFloat = 20.0
    """What cosines are multiplied by before the softmax, 1 / temperature."""
    projection: Literal["none", "linear"] = "none"
    """linear: vectors pass one matrix, at first the identity, so that there is something to learn under head_only."""
    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    """How tokens become one vector: their mean, the first, or the last real one; auto follows the model."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the pooled vectors, in training."""

    @property
    def couples_rows(self) -> bool:  # type: ignore[override]  # it depends on what texts are compared with
        return self.negatives == "in_batch"

    @property
    def owns_weights(self) -> bool:  # type: ignore[override]
        return self.projection == "linear"

    def settled(self, backbone: Backbone, labels: Labels) -> Self:
        return self.model_copy(update={"pooling": backbone.pooling if self.pooling == "auto" else self.pooling})

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        if self.projection == "none":
            return torch.nn.Identity()
        layer = torch.nn.Linear(backbone.hidden_size, backbone.hidden_size, bias=False)
        torch.nn.init.eye_(layer.weight)
        return layer

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        """Of each row the mean over its right texts, by their grades, of -log softmax(scale * cosine)."""
        assert batch.labels is not None and batch.texts is not None, "a loss needs labelled rows and their texts"
        vectors = self._vectors(layer, hidden, batch, training=layer.training)
        queries = _queries(batch.rows)
        documents = ~queries
        cosines = vectors[queries] @ vectors[documents].T
        right, wrong = self._sides(batch, queries)
        logits = self.scale * cosines
        against = logits.masked_fill(~wrong, float("-inf")).logsumexp(dim=1, keepdim=True)
        losses = torch.logaddexp(logits, against) - logits  # -log softmax over one right text and all wrong ones
        shares = right / right.sum(dim=1, keepdim=True)
        return LossSum((shares * losses).sum(), queries.sum())

    def decode(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, labels: Labels) -> dict[int, Answer]:
        """Each row's own texts. Raises DataError for a query without any."""
        assert batch.texts is not None, "candidates need their texts"
        vectors = self.vectors(layer, hidden, batch)
        answers: dict[int, Answer] = {}
        starts = torch.nonzero(_queries(batch.rows))[:, 0].tolist()
        for start, end in zip(starts, [*starts[1:], len(batch.rows)], strict=True):
            if end == start + 1:
                raise DataError(
                    f"the query {batch.texts[start][:60]!r} has no candidates; give it some, or a corpus for all: "
                    "--corpus FILE, predict(..., corpus=[...])"
                )
            cosines = vectors[start + 1 : end] @ vectors[start]
            answers[int(batch.rows[start])] = self._answer(batch.texts[start + 1 : end], cosines, len(cosines))
        return answers

    def vectors(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        return self._vectors(layer, hidden, batch, training=False)

    def search(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, index: Index) -> dict[int, Answer]:
        """Exact, by one matrix product with the whole index."""
        vectors, answers = self.vectors(layer, hidden, batch), {}
        rows = batch.rows.tolist()
        at_once = max(1, _CELLS // len(index.texts))
        for start in range(0, len(rows), at_once):
            cosines = vectors[start : start + at_once] @ index.vectors.T
            for row, those in zip(rows[start : start + at_once], cosines, strict=True):
                answers[row] = self._answer(index.texts, those, min(RANKED, len(those)))
        return answers

    def _answer(self, texts: tuple[str, ...], cosines: torch.Tensor, most: int) -> Answer:
        """So many of the texts; the probability is that of the first by the softmax over all."""
        best, places = cosines.topk(most)
        first = torch.exp(self.scale * best[0] - (self.scale * cosines).logsumexp(dim=0))
        pairs = zip(places.tolist(), best.tolist(), strict=True)
        return Answer(tuple((texts[place], cosine) for place, cosine in pairs), float(first))

    def _vectors(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, *, training: bool) -> torch.Tensor:
        """(B, T, D) -> (B, D) of length 1"""
        pooled = torch.nn.functional.dropout(pool(hidden, batch.mask, self.pooling), self.dropout, training)
        return torch.nn.functional.normalize(layer(pooled), dim=1)

    def _sides(self, batch: Batch, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(R, M) the grades of each query's own right texts, and which texts are wrong for it, equal ones once."""
        assert batch.labels is not None and batch.texts is not None
        grades, rows = batch.labels[:, 0], batch.rows
        own = rows[queries][:, None] == rows[~queries][None, :]
        right = torch.where(own, grades[~queries][None, :], 0.0)
        numbers = {text: number for number, text in enumerate(dict.fromkeys(batch.texts))}
        same = torch.tensor([numbers[text] for text in batch.texts], device=rows.device)
        asked, found = same[queries], same[~queries]
        right_anywhere = (asked[:, None] == asked[None, :]).float() @ right  # by an equal query of another row
        is_right = right_anywhere @ (found[:, None] == found[None, :]).float() > 0  # or an equal text of another row
        earlier = torch.tril(found[:, None] == found[None, :], diagonal=-1).any(dim=1)
        wrong = ~is_right & (own if self.negatives == "own" else ~earlier[None, :])
        return right, wrong


def _queries(rows: torch.Tensor) -> torch.Tensor:
    """(B,) whether a sequence is the first of its row."""
    return torch.cat([rows.new_ones(1), rows.diff()]) != 0
