"""A linear layer over the first token of each word, decoded to legal BIO: sequence tagging."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.head import Head, LossSum, Whole
from adaptune.core.lazy import shell, torch, transformers
from adaptune.core.types import Answer, Labels, OfWords
from adaptune.heads.classify import cross_entropy


class TagHead(Head):
    """One BIO tag a word, read at its first token; the best legal sequence of tags is the answer."""

    target = OfWords
    plain = True

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the word's vector, in training."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Share of the target spread over all tags."""

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        return torch.nn.Linear(backbone.hidden_size, len(labels))

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        features = torch.nn.functional.dropout(self.features(layer, hidden, batch), self.dropout, layer.training)
        return cross_entropy(layer(features), batch.labels, None, self.label_smoothing)

    def decode(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, labels: Labels) -> dict[int, Answer]:
        logits = layer(self.features(layer, hidden, batch)).float()
        log_probabilities = logits.log_softmax(dim=-1).cpu().numpy()
        if batch.items is None or batch.sequence_of is None:  # no word of these rows has a token
            return {row: Answer((), 1.0) for row in batch.rows.tolist()}
        rows = batch.rows[batch.sequence_of].cpu().numpy()
        items = batch.items.cpu().numpy()
        return {
            row: _answer(log_probabilities, rows == row, items, labels) for row in dict.fromkeys(batch.rows.tolist())
        }

    def features(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, D) -> (N, D)"""
        if batch.sequence_of is None or batch.token_of is None:
            return hidden[:0, 0].float()
        return hidden[batch.sequence_of, batch.token_of].float()

    def linear(self, layer: torch.nn.Module) -> torch.nn.Linear | None:
        return layer if isinstance(layer, torch.nn.Linear) else None

    def whole(self, layer: torch.nn.Module, trunk: torch.nn.Module, labels: Labels) -> Whole | None:
        config: Any = deepcopy(trunk.config)
        config.id2label = dict(enumerate(labels.names))
        config.label2id = {name: index for index, name in enumerate(labels.names)}
        with torch.device("meta"):
            model = transformers.AutoModelForTokenClassification.from_config(config)
        base = model.base_model_prefix
        own = {name.rpartition(".")[0] for name, _ in model.named_parameters() if not name.startswith(f"{base}.")}
        if len(own) != 1:
            return None  # ModernBERT's class has a dense layer and a norm below the linear one
        model = shell.with_module(shell.with_module(model, own.pop(), layer), base, trunk)
        return Whole(model, "AutoModelForTokenClassification")


def _answer(
    log_probabilities: NDArray[np.float32], chosen: NDArray[np.bool_], items: NDArray[np.int64], labels: Labels
) -> Answer:
    """The tags of one row; a word that no token stands for is outside every entity, or in the one around it.

    Words after the last that has a token are left out.
    """
    here = items[chosen]
    order = here.argsort(kind="stable")
    words, emissions = here[order], log_probabilities[chosen][order]
    path = best_path(emissions, labels.names)
    tags = ["O"] * (int(words[-1]) + 1 if len(words) else 0)
    probabilities = [1.0] * len(tags)
    before = -1
    for step, (word, tag) in enumerate(zip(words.tolist(), path, strict=True)):
        name = labels.names[tag]
        for inside in range(before + 1 if name.startswith("I-") else word, word + 1):
            tags[inside], probabilities[inside] = name, float(np.exp(emissions[step, tag]))
        before = word
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
