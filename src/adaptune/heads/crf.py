"""A linear-chain conditional random field over the words of a row: sequence tagging that scores whole sequences."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.head import Head, LossSum
from adaptune.core.lazy import torch
from adaptune.core.types import Answer, Labels, OfWords
from adaptune.heads._chain import Scores, chains_of, legal, log_partition, marginals, path_score, viterbi
from adaptune.heads.tag import answers_of, word_vectors

FOLLOW = "chain.follow"


class CrfHead(Head):
    """One BIO tag a word by a linear-chain CRF (Lafferty et al., 2001): tags are scored at words and from word to word.

    The chain of a row runs through all its words that have tokens, across the borders of its windows; each word's
    scores come from the window that owns it. Illegal pairs of tags have no probability at all. The loss is the negative
    log-likelihood of each row's tags, summed and counted in words, so that rates suit it as they suit `tag`.
    """

    target = OfWords
    whole_rows = True

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the word's vector, in training."""

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        """Scores between tags are zero at first, so that a warm-started linear layer answers as that of `tag` does."""
        count = len(labels)
        shapes = {"start": (count,), "follow": (count, count), "end": (count,)}
        chain = {name: torch.nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()}
        linear = torch.nn.Linear(backbone.hidden_size, count)
        layer = torch.nn.ModuleDict({"emission": linear, "chain": torch.nn.ParameterDict(chain)})
        follow, start = legal(labels.names)
        layer.register_buffer("legal_start", torch.from_numpy(start.copy()), persistent=False)
        layer.register_buffer("legal_follow", torch.from_numpy(follow.copy()), persistent=False)
        layer.register_buffer("begins", torch.tensor(_begins(labels)), persistent=False)
        return layer

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        assert batch.labels is not None, "a loss needs labels"
        words = torch.nn.functional.dropout(word_vectors(hidden, batch), self.dropout, layer.training)
        # A step's tags may all be shifted by the same: this shift keeps the difference of two large sums exact.
        emissions = _part(layer, "emission")(words).float().log_softmax(dim=-1)
        count = torch.tensor(float(len(words)), device=hidden.device)
        if not len(words):
            return LossSum(emissions.sum(), count)
        chains, scores = chains_of(batch), _scores(layer)
        padded, present = chains.padded(emissions), chains.present
        path = _reachable(layer, chains.padded(batch.labels))
        losses = log_partition(padded, present, scores) - path_score(padded, present, scores, path)
        return LossSum(losses.sum(), count)

    def decode(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, labels: Labels) -> dict[int, Answer]:
        """The probability of a word's tag is its marginal: that of all sequences with it there."""
        words = word_vectors(hidden, batch)
        if not len(words):
            return answers_of(batch, {}, {}, labels)
        emissions = _part(layer, "emission")(words).float().log_softmax(dim=-1).cpu().double()
        chains = chains_of(batch.to("cpu"))
        scores = Scores(*(part.cpu().double() for part in _scores(layer)))
        padded = chains.padded(emissions)
        probabilities = marginals(padded, chains.present, scores).clamp(max=1.0).numpy()
        start, follow, end = (part.numpy() for part in scores)
        paths, chosen = {}, {}
        rows = sorted(set(batch.rows[batch.sequence_of].tolist()))
        for chain, (row, length) in enumerate(zip(rows, chains.lengths.tolist(), strict=True)):
            paths[row] = viterbi(padded[chain, :length].numpy(), start, follow, end)
            chosen[row] = probabilities[chain, np.arange(length), paths[row]].tolist()
        return answers_of(batch, paths, chosen, labels)

    def features(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, D) -> (N, D)"""
        return word_vectors(hidden, batch)

    def linear(self, layer: torch.nn.Module) -> torch.nn.Linear | None:
        found = _part(layer, "emission")
        return found if isinstance(found, torch.nn.Linear) else None

    def grown(self, layer: torch.nn.Module, old: dict[str, torch.Tensor], old_labels: Labels, labels: Labels) -> None:
        """Pairs of old tags keep their scores, those with a new one start at zero."""
        kept = torch.tensor([labels.index(name) for name in old_labels.names])
        pairs = layer.state_dict()[FOLLOW].clone()
        pairs[kept[:, None], kept] = old[FOLLOW]
        super().grown(layer, {**old, FOLLOW: pairs}, old_labels, labels)


def _part(layer: torch.nn.Module, name: str) -> torch.nn.Module:
    return layer.get_submodule(name)


def _scores(layer: torch.nn.Module) -> Scores:
    """What was learned of starts, pairs and ends; what is illegal has minus infinity."""
    start, follow, end = (layer.get_parameter(f"chain.{name}").float() for name in ("start", "follow", "end"))
    return Scores(start + layer.get_buffer("legal_start"), follow + layer.get_buffer("legal_follow"), end)


def _begins(labels: Labels) -> list[int]:
    """Of each I- tag the B- tag of its type, of others themselves. Raises Unsupported where there is no such tag."""
    for name in labels.names:
        if name.startswith("I-") and f"B-{name[2:]}" not in labels:
            raise Unsupported(f"there is a tag {name!r} and no 'B-{name[2:]}', which begins it; use head tag")
    return [labels.index(f"B-{name[2:]}" if name.startswith("I-") else name) for name in labels.names]


def _reachable(layer: torch.nn.Module, path: torch.Tensor) -> torch.Tensor:
    """(R, L) tags as they are, but an entity whose first words have no token begins at its first word that has one."""
    follow, start, begins = (layer.get_buffer(name) for name in ("legal_follow", "legal_start", "begins"))
    allowed = torch.cat([start[path[:, :1]], follow[path[:, :-1], path[:, 1:]]], dim=1) == 0
    return torch.where(allowed, path, begins[path])
