"""The model's own output layer over words, read at the words of given answers: how probable it finds each."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from adaptune.core.backbone import Backbone, Roles
from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.head import LogitHead, LossSum
from adaptune.core.lazy import shell, torch
from adaptune.core.types import Answer, Labels, OfPrompt, Target
from adaptune.heads._of_row import row_numbers
from adaptune.heads.classify import choose, cross_entropy

CELLS = 2**24
"""Most logits at a time: 64 MB in fp32."""
NONE = float("-inf")


class VerbalHead(LogitHead):
    """One answer a prompt, by the log-probabilities of its words; softmax over the answers alone.

    A word's score is the weighted sum over its tokens; an answer of several words has the logarithm of their mean
    probability. What the model says to a text without content is taken off where that is known (Zhao et al., 2021).
    """

    target: ClassVar[type[Target]] = OfPrompt
    reads_words: ClassVar[bool] = True
    whole_rows: ClassVar[bool] = True
    folds: ClassVar[bool] = True
    confident: ClassVar[bool] = False

    soft: int = Field(default=0, ge=0)
    """Tokens of its own in the prompt; always those of approach.template, which tells it, and need not be given."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread over all answers."""

    @property
    def owns_weights(self) -> bool:  # type: ignore[override]  # it depends on the template here
        return self.soft > 0

    @property
    def own_tokens(self) -> tuple[str, ...]:
        return tuple(f"[soft {number}]" for number in range(1, self.soft + 1))

    def own_embeddings(self, layer: torch.nn.Module) -> torch.Tensor | None:
        return layer.get_parameter("soft") if self.soft else None

    def check(self, roles: Roles) -> None:
        if len(roles.stacks) == 2:
            raise Unsupported(
                f"head {self.name!r} reads how a text goes on or is filled in, and models of the family "
                f"{roles.family!r} write a second text; use an encoder (bert, roberta) or a decoder (llama, gpt2)"
            )

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        self.check(backbone.roles)
        if backbone.vocabulary is None:
            raise Unsupported(
                f"head {self.name!r} reads the model's own output layer over words, and {backbone.name!r} was loaded "
                "without; load it with its words"
            )
        prior = torch.zeros(len(labels)) if len(labels) else None
        return shell.Answering(backbone.vocabulary, prior, _sampled(self.soft, backbone) if self.soft else None)

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        logits = self.logits(layer, hidden, batch)
        return cross_entropy(logits, self.targets(batch), None, self.label_smoothing)

    def targets(self, batch: Batch) -> torch.Tensor:
        assert batch.labels is not None, "targets are those of labelled rows"
        counts = torch.unique_consecutive(batch.rows, return_counts=True)[1]
        return batch.labels[counts.cumsum(0) - counts]

    def logits(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        found = _scored(layer, hidden, batch, own=self.soft)
        prior = getattr(layer, "prior", None)
        answers = int(found.answer.max()) + 1 if prior is None else len(prior)
        group = found.row * answers + found.answer
        size = int(found.row.max() + 1) * answers
        table = _log_mean_exp(found.score, group, size).reshape(-1, answers)
        return table if prior is None else table - prior

    def divide(self, layer: torch.nn.Module, temperature: float) -> None:
        raise Unsupported(
            f"head {self.name!r} reads the base's own output layer, which no temperature can be written into; serve "
            "the bundle as it is"
        )

    def read(self, logits: torch.Tensor, batch: Batch, labels: Labels, temperature: float = 1.0) -> dict[int, Answer]:
        rows = row_numbers(batch)
        if len(labels):
            return choose(logits, batch, labels, temperature, rows=rows)
        shares = (logits / temperature).softmax(dim=1).tolist()
        counts = logits.isfinite().sum(dim=1).tolist()
        answers = {}
        for row, best, of_row, count in zip(rows, logits.argmax(dim=1).tolist(), shares, counts, strict=True):
            answers[row] = Answer(best, of_row[best], tuple(of_row[:count]))
        return answers


class _Scored(NamedTuple):
    """The words of a batch."""

    score: torch.Tensor
    """(W,) log-probability, weighted."""
    answer: torch.Tensor
    """(W,) the place of the answer that each says."""
    row: torch.Tensor
    """(W,) which row of the batch, counted from 0."""


def _scored(layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, *, own: int) -> _Scored:
    """(B, T, D) -> the score of every word, in fp32."""
    assert batch.sequence_of is not None and batch.token_of is not None and batch.items is not None
    assert batch.asked is not None, "a prompt says what is asked"
    real = batch.items >= own
    sequence, token, item, asked = (one[real] for one in (batch.sequence_of, batch.token_of, batch.items, batch.asked))
    place = token if batch.folded is not None else sequence * hidden.shape[1] + token
    once, of_item = torch.unique(place, return_inverse=True)
    found = _log_probabilities(layer, hidden.flatten(0, 1)[once], of_item, asked[:, 0].long())
    words, of_word = torch.unique(sequence * (item.max() + 1) + item, return_inverse=True)
    score = found.new_zeros(len(words)).index_add(0, of_word, found * asked[:, 2])
    answer = torch.zeros_like(words).index_copy(0, of_word, asked[:, 1].long())
    _, row = torch.unique_consecutive(batch.rows, return_inverse=True)
    return _Scored(score, answer, torch.zeros_like(words).index_copy(0, of_word, row[sequence]))


def _log_probabilities(
    layer: torch.nn.Module, states: torch.Tensor, of_item: torch.Tensor, words: torch.Tensor
) -> torch.Tensor:
    """(U, D) states, (N,) which of them each item reads, (N,) its token -> (N,)"""
    size = max(1, CELLS // _width(layer))
    found, order = [], []
    for start in range(0, len(states), size):
        here = torch.nonzero((of_item >= start) & (of_item < start + size))[:, 0]
        logs = layer(states[start : start + size]).float().log_softmax(dim=1)
        found.append(logs[of_item[here] - start, words[here]])
        order.append(here)
    return torch.cat(found)[torch.cat(order).argsort()]


def _log_mean_exp(values: torch.Tensor, group: torch.Tensor, groups: int) -> torch.Tensor:
    """(W,) values, (W,) groups -> (G,) the logarithm of the mean of their exponentials, minus infinity for none."""
    top = values.new_full((groups,), NONE).scatter_reduce(0, group, values.detach(), "amax")
    counts = torch.bincount(group, minlength=groups)
    finite = torch.where(counts > 0, top, 0.0)
    sums = values.new_zeros(groups).index_add(0, group, (values - finite[group]).exp())
    some = counts.clamp(min=1)
    return torch.where(counts > 0, finite + (torch.where(counts > 0, sums, 1.0) / some).log(), NONE)


def _sampled(count: int, backbone: Backbone) -> torch.Tensor:
    """(count, E) embeddings of tokens drawn from the vocabulary, which own ones start from (Lester et al., 2021)."""
    trunk: Any = backbone.trunk
    table: torch.Tensor = trunk.get_input_embeddings().weight
    drawn = torch.randint(len(table), (count,))
    return table.detach()[drawn.to(table.device)].float()


def _width(layer: Any) -> int:
    """V"""
    return int(layer.words.model.config.vocab_size)
