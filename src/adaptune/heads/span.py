"""Where an answer starts and ends: two outputs a token, the best span over all windows. Knows no words."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.head import Head, LossSum
from adaptune.core.lazy import torch
from adaptune.core.types import NO_ANSWER, Answer, Labels, OfSpan, Target

NONE = -np.inf


class SpanHead(Head):
    """A start and an end within a text, by a linear layer over its tokens (Devlin et al., 2019, section 4.2 and 4.3).

    An answer's probability is that among all spans of at most `max_answer_tokens`, and no answer where there may be
    none: the softmax over their scores, each start + end, a span's in several windows being the highest of them.
    """

    target: ClassVar[type[Target]] = OfSpan
    confident: ClassVar[bool] = False

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On each token's vector, in training."""
    max_answer_tokens: int = Field(default=30, ge=1)
    """An answer has no more tokens than that."""
    no_answer_threshold: float = 0.0
    """By how much the score of no answer must exceed that of the best span, for questions that may have none."""

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        return torch.nn.Linear(backbone.hidden_size, 2)

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        """The mean of the cross-entropies of start and end over a window's items, summed over windows."""
        assert batch.labels is not None, "a loss needs labels"
        items = torch.nn.functional.dropout(self.features(layer, hidden, batch), self.dropout, layer.training)
        logits = _by_window(layer(items), batch)
        losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.T.flatten(), reduction="none")
        return LossSum(losses.sum() / 2, torch.tensor(float(len(batch.labels)), device=hidden.device))

    def decode(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, labels: Labels) -> dict[int, Answer]:
        assert batch.sequence_of is not None and batch.items is not None and batch.offsets is not None
        assert batch.texts is not None
        logits = layer(self.features(layer, hidden, batch)).float().cpu().numpy()
        sequences, items, offsets = (part.cpu().numpy() for part in (batch.sequence_of, batch.items, batch.offsets))
        rows, answers = np.array(batch.rows.tolist()), {}
        for row in dict.fromkeys(rows.tolist()):
            windows = [sequences == sequence for sequence in np.flatnonzero(rows == row)]
            spans = best_spans([(logits[one], items[one]) for one in windows], self.max_answer_tokens)
            own = np.zeros((len(spans.scores), 2), dtype=np.int64)
            for one in windows:
                own[items[one][1:] - 1] = offsets[one][1:]
            text = batch.texts[int(np.flatnonzero(rows == row)[0])]
            answers[row] = self._answer(spans, own, text, may_be_none=NO_ANSWER in labels)
        return answers

    def features(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, D) -> (N, D)"""
        assert batch.sequence_of is not None and batch.token_of is not None
        return hidden[batch.sequence_of, batch.token_of].float()

    def _answer(self, spans: Spans, offsets: NDArray[np.int64], text: str, *, may_be_none: bool) -> Answer:
        """`offsets`: (M, 2) characters of each of the row's items."""
        if not spans.scores.size:
            return Answer("", 1.0)
        start, more = (int(place) for place in np.unravel_index(spans.scores.argmax(), spans.scores.shape))
        best = float(spans.scores[start, more])
        every = np.append(spans.scores.ravel(), spans.none) if may_be_none else spans.scores.ravel()
        highest = float(every.max())
        total = float(np.exp(every - highest).sum())
        if may_be_none and spans.none - best > self.no_answer_threshold:
            return Answer("", float(np.exp(spans.none - highest)) / total)
        place = (int(offsets[start, 0]), int(offsets[start + more, 1]))
        return Answer(text[slice(*place)], float(np.exp(best - highest)) / total, span=place)


class Spans(NamedTuple):
    """The scores of every answer that a row could have."""

    scores: NDArray[np.float64]
    """(M, L) of the span that starts at an item and goes on for so many more; minus infinity where there is none."""
    none: float
    """Of no answer: the lowest of all windows, as one that holds the answer speaks against it."""


def best_spans(windows: list[tuple[NDArray[np.float32], NDArray[np.int64]]], longest: int) -> Spans:
    """Of each window the (N, 2) outputs and (N,) items, the first of them 0, the others without gaps."""
    count = max(int(items.max()) for _, items in windows)
    scores = np.full((count, min(longest, count)), NONE)
    for logits, items in windows:
        starts, ends = logits[1:].astype(np.float64).T
        if not len(starts):
            continue
        first = int(items[1]) - 1
        for more in range(min(longest, len(starts))):
            here = scores[first : first + len(starts) - more, more]
            np.maximum(here, starts[: len(starts) - more] + ends[more:], out=here)
    return Spans(scores, min(float(logits[0].astype(np.float64).sum()) for logits, _ in windows))


def _by_window(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """(N, 2) -> (2, B, M) starts and ends, minus infinity behind a window's last item."""
    assert batch.sequence_of is not None
    counts = torch.bincount(batch.sequence_of, minlength=len(batch.rows))
    before = counts.cumsum(0) - counts
    place = torch.arange(len(logits), device=logits.device) - before[batch.sequence_of]
    padded = logits.new_full((len(counts), int(counts.max()), 2), NONE)
    padded = padded.index_put((batch.sequence_of, place), logits)
    return padded.permute(2, 0, 1)
