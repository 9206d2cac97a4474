"""A linear layer over the first token of each word, decoded to legal BIO: sequence tagging."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.head import LogitHead, LossSum, Whole
from adaptune.core.lazy import shell, torch, transformers
from adaptune.core.types import Answer, Labels, OfWords
from adaptune.heads._chain import legal, viterbi
from adaptune.heads.classify import cross_entropy


class TagHead(LogitHead):
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

    def logits(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        logits: torch.Tensor = layer(self.features(layer, hidden, batch))
        return logits

    def read(self, logits: torch.Tensor, batch: Batch, labels: Labels, temperature: float = 1.0) -> dict[int, Answer]:
        """The best legal path is the same at every temperature: all legal steps score alike."""
        log_probabilities = logits.float().log_softmax(dim=-1).cpu().numpy()
        calibrated = (logits.float() / temperature).log_softmax(dim=-1).cpu().numpy()
        paths, chosen = {}, {}
        for row, words in words_of(batch).items():
            paths[row] = best_path(log_probabilities[words], labels.names)
            chosen[row] = np.exp(calibrated[words, paths[row]]).tolist()
        return answers_of(batch, paths, chosen, labels)

    def features(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, D) -> (N, D)"""
        return word_vectors(hidden, batch)

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


def word_vectors(hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
    """(B, T, D) -> (N, D) each word's state at its first token."""
    if batch.sequence_of is None or batch.token_of is None:
        return hidden[:0, 0].float()
    return hidden[batch.sequence_of, batch.token_of].float()


def words_of(batch: Batch) -> dict[int, NDArray[np.int64]]:
    """By row, in the order of its words, where among a batch's items those that have a token stand."""
    if batch.sequence_of is None or batch.items is None:
        return {}
    rows, items = batch.rows[batch.sequence_of].cpu().numpy(), batch.items.cpu().numpy()
    found = {row: np.flatnonzero(rows == row) for row in dict.fromkeys(rows.tolist())}
    return {row: here[items[here].argsort(kind="stable")] for row, here in found.items()}


def answers_of(
    batch: Batch, paths: Mapping[int, list[int]], chosen: Mapping[int, list[float]], labels: Labels
) -> dict[int, Answer]:
    """One answer a row out of the tags of its words that have a token, and their probabilities.

    A word that no token stands for is outside every entity, or in the one around it; words after the last that has a
    token are left out.
    """
    answers = {row: Answer((), 1.0) for row in batch.rows.tolist()}  # of rows in which no word has a token
    for row, here in words_of(batch).items():
        assert batch.items is not None
        words = batch.items.cpu().numpy()[here].tolist()
        answers[row] = _answer(words, [labels.names[tag] for tag in paths[row]], chosen[row])
    return answers


def _answer(words: list[int], path: list[str], chosen: list[float]) -> Answer:
    tags = ["O"] * (words[-1] + 1)
    probabilities = [1.0] * len(tags)
    before = -1
    for word, tag, probability in zip(words, path, chosen, strict=True):
        for inside in range(before + 1 if tag.startswith("I-") else word, word + 1):
            tags[inside], probabilities[inside] = tag, probability
        before = word
    return Answer(tuple(tags), sum(probabilities) / len(probabilities), tuple(probabilities))


def best_path(emissions: NDArray[np.float32], tags: tuple[str, ...]) -> list[int]:
    """(N, C) log-probabilities -> the most probable tags among legal BIO sequences."""
    if not len(emissions):
        return []
    follow, start = legal(tags)
    path = emissions.argmax(axis=1)
    if start[path[0]] == 0 and not follow[path[:-1], path[1:]].any():
        return [int(tag) for tag in path]  # the unconstrained optimum is legal
    return viterbi(emissions, start, follow, np.zeros(len(tags), dtype=np.float32))
