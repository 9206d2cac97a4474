"""A linear layer over the first token of each word, decoded to legal BIO: sequence tagging."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.head import Head, LossSum
from adaptune.core.lazy import torch
from adaptune.core.types import Answer, Labels
from adaptune.heads.classify import cross_entropy


class TagHead(Head):
    """One BIO tag a word, read at its first token; the best legal sequence of tags is the answer."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the word's vector, in training."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread over all tags."""

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        return torch.nn.Linear(backbone.hidden_size, len(labels))

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        features = torch.nn.functional.dropout(self.features(layer, hidden, batch), self.dropout, layer.training)
        return cross_entropy(layer(features), batch.labels, None, self.label_smoothing)

    def decode(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, labels: Labels) -> dict[int, Answer]:
        logits = layer(self.features(layer, hidden, batch)).float()
        log_probabilities = logits.log_softmax(dim=-1).cpu().numpy()
        assert batch.items is not None and batch.sequence_of is not None
        rows = batch.rows[batch.sequence_of].cpu().numpy()
        items = batch.items.cpu().numpy()
        return {row: _answer(log_probabilities, rows == row, items, labels) for row in batch.rows.tolist()}

    def features(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, D) -> (N, D)"""
        assert batch.sequence_of is not None and batch.token_of is not None
        return hidden[batch.sequence_of, batch.token_of].float()

    def linear(self, layer: torch.nn.Module) -> torch.nn.Linear | None:
        return layer if isinstance(layer, torch.nn.Linear) else None


def _answer(
    log_probabilities: NDArray[np.float32], chosen: NDArray[np.bool_], items: NDArray[np.int64], labels: Labels
) -> Answer:
    """The tags of one row; a word that no token stands for is outside every entity."""
    here = items[chosen]
    order = here.argsort(kind="stable")
    words, emissions = here[order], log_probabilities[chosen][order]
    path = best_path(emissions, labels.names)
    tags = ["O"] * (int(words[-1]) + 1 if len(words) else 0)
    probabilities = [1.0] * len(tags)
    for step, (word, tag) in enumerate(zip(words.tolist(), path, strict=True)):
        tags[word] = labels.names[tag]
        probabilities[word] = float(np.exp(emissions[step, tag]))
    mean = sum(probabilities) / len(probabilities) if probabilities else 1.0
    return Answer(tuple(tags), mean, tuple(probabilities))


def best_path(emissions: NDArray[np.float32], tags: tuple[str, ...]) -> list[int]:
    """(N, C) log-probabilities -> the most probable tags among legal BIO sequences (Viterbi, 1967)."""
    if not len(emissions):
        return []
    legal, starts = _legal(tags)
    path = emissions.argmax(axis=1)
    if starts[path[0]] == 0 and not legal[path[:-1], path[1:]].any():
        return [int(tag) for tag in path]  # the unconstrained optimum is legal
    score = emissions[0] + starts
    back = np.zeros(emissions.shape, dtype=np.int64)
    for step in range(1, len(emissions)):
        candidates = score[:, None] + legal
        back[step] = candidates.argmax(axis=0)
        score = candidates.max(axis=0) + emissions[step]
    best = [int(score.argmax())]
    for step in range(len(emissions) - 1, 0, -1):
        best.append(int(back[step, best[-1]]))
    return best[::-1]


@lru_cache(maxsize=64)
def _legal(tags: tuple[str, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(C, C) and (C,): 0 where a tag may follow another, or start; minus infinity where not."""

    def follows(before: str, after: str) -> bool:
        return not after.startswith("I-") or before in (f"B-{after[2:]}", after)

    pairs = [[0.0 if follows(before, after) else -np.inf for after in tags] for before in tags]
    starts = [-np.inf if tag.startswith("I-") else 0.0 for tag in tags]
    return np.array(pairs, dtype=np.float32), np.array(starts, dtype=np.float32)
