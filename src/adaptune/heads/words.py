"""No layer of its own: the model's frozen output layer over words predicts the tokens of raw texts."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, ClassVar

from pydantic import Field

from adaptune.core.backbone import Backbone, Roles
from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.head import Head, LossSum, Whole
from adaptune.core.lazy import shell, torch
from adaptune.core.types import Answer, Labels, OfItself, Reading, Target
from adaptune.heads.generate import log_probabilities


class WordsHead(Head):
    """The tokens of a text, each from those around it (encoders, masked) or before it (decoders).

    An answer is how probable the model finds a text: the sum of its tokens' log-probabilities, and their number.
    Encoders hide one token at a time for it (pseudo-log-likelihood, Salazar et al., 2020).
    """

    target: ClassVar[type[Target]] = OfItself
    reads_words: ClassVar[bool] = True
    owns_weights: ClassVar[bool] = False
    confident: ClassVar[bool] = False

    mask_share: float = Field(default=0.15, gt=0, lt=1)
    """Encoders: share of a text's tokens that one step predicts; they are drawn anew in every epoch."""
    whole_words: bool = False
    """Encoders: whether all tokens of a word are hidden together."""
    scored: int = Field(default=64, ge=1)
    """Encoders: most tokens of a text that are hidden one by one to score it, spread evenly over it."""

    def check(self, roles: Roles) -> None:
        if len(roles.stacks) == 2:
            raise Unsupported(
                f"head {self.name!r} predicts a text's own tokens, and models of the family {roles.family!r} write a "
                "second text; use an encoder (bert, roberta) or a decoder (llama, gpt2)"
            )

    def reading(self, backbone: Backbone) -> Reading:
        if backbone.roles.main.causal:
            return Reading(None)
        tokenizer, config = backbone.tokenizer, backbone.whole.config
        if tokenizer.mask_token_id is None:
            raise Unsupported(
                f"the tokenizer of {backbone.name!r} has no mask token, without which no word can be hidden; "
                "set mask_token in its tokenizer_config.json"
            )
        return Reading(
            mask=tokenizer.mask_token_id,
            share=self.mask_share,
            whole_words=self.whole_words,
            scored=self.scored,
            vocabulary=min(len(tokenizer), int(config.vocab_size)),  # type: ignore[union-attr,arg-type]
            special=tuple(tokenizer.all_special_ids),
        )

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        self.check(backbone.roles)
        if backbone.vocabulary is None:
            raise Unsupported(
                f"head {self.name!r} predicts with the model's own output layer over words, and {backbone.name!r} was "
                "loaded without; load it with its words"
            )
        self.reading(backbone)
        return shell.Borrowed(backbone.vocabulary)

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        found = log_probabilities(layer, hidden, batch)
        return LossSum(-found.sum(), torch.tensor(float(len(found)), device=hidden.device))

    def decode(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, labels: Labels) -> dict[int, Answer]:
        of_row: dict[int, list[float]] = defaultdict(list)
        if batch.sequence_of is not None:
            found = log_probabilities(layer, hidden, batch)
            for row, value in zip(batch.rows[batch.sequence_of].tolist(), found.tolist(), strict=True):
                of_row[row].append(value)
        return {row: _answer(of_row[row]) for row in batch.rows.tolist()}

    def whole(self, layer: torch.nn.Module, trunk: torch.nn.Module, labels: Labels) -> Whole | None:
        assert isinstance(layer, shell.Borrowed) and isinstance(layer.words, shell.Words)
        model: Any = layer.words.on(trunk)
        masked = "MaskedLM" in type(model).__name__
        return Whole(model, "AutoModelForMaskedLM" if masked else "AutoModelForCausalLM")


def _answer(found: list[float]) -> Answer:
    """Of one text, from the log-probabilities of its tokens."""
    total = math.fsum(found)
    return Answer((total, float(len(found))), math.exp(total / max(1, len(found))))
