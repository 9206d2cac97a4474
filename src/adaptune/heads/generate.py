"""No layer of its own: the model's frozen output layer over words, trained through and written with."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from adaptune.core.backbone import Backbone, Roles
from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.head import Head, LossSum, Whole
from adaptune.core.lazy import chunked, shell, torch
from adaptune.core.types import Answer, Labels, OfText, Target, Writing

CELLS = 2**24
"""Most logits at a time: 64 MB in fp32."""
USUAL = 128
"""Tokens of an answer where nothing else is said, on a model that reads at least twice as many."""


class GenerateHead(Head):
    """The text itself, token by token, by the model's own output layer; the loss is that of the target's tokens alone.

    Generation is transformers' own, with these settings and no others: those that come with a model are not used.
    """

    target: ClassVar[type[Target]] = OfText
    reads_words: ClassVar[bool] = True
    owns_weights: ClassVar[bool] = False
    writes: ClassVar[bool] = True

    max_new_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of a text, its end included, in training as in generation; none: 128, or half of what the model reads
    where that is less."""
    long_target: Literal["refuse", "cut", "skip"] = "refuse"
    """What becomes of a training row whose target is longer: the run is refused, the target loses its end, or the row
    is left out."""
    cut: Literal["left", "right"] = "right"
    """Which end a source loses that leaves no room for the text to be written."""
    beams: int = Field(default=1, ge=1)
    """Beams of the search; 1: the most probable token each time (greedy)."""
    length_penalty: float = 1.0
    """Of beam search: above 0 favours longer texts."""
    no_repeat_ngram: int = Field(default=0, ge=0)
    """Token sequences of this length never come twice in a text; 0: no such rule."""
    sample: bool = False
    """Draw tokens by their probabilities instead; the same rows in one batch get the same texts again."""
    temperature: float = Field(default=1.0, gt=0)
    """Of sampling: below 1 favours probable tokens."""
    top_k: int = Field(default=0, ge=0)
    """Of sampling: among so many most probable tokens; 0: among all."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Of sampling: among the fewest tokens that together have this probability."""
    stop: tuple[str, ...] = ()
    """A text ends before any of these."""

    def check(self, roles: Roles) -> None:
        if not roles.main.causal:
            raise Unsupported(
                f"head {self.name!r} writes texts, and models of the family {roles.family!r} only read them; use a "
                "decoder (such as llama, qwen3, gpt2) or an encoder-decoder model (t5, bart)"
            )

    def settled(self, backbone: Backbone, labels: Labels) -> Self:
        most = self.max_new_tokens or min(USUAL, backbone.max_length // 2)
        return self.model_copy(update={"max_new_tokens": most})

    def writing(self, backbone: Backbone) -> Writing | None:
        start = None
        if len(backbone.roles.stacks) == 2:
            config: Any = backbone.whole.config
            start = int(config.decoder_start_token_id)
        return Writing(start, self.max_new_tokens or USUAL, self.cut, self.long_target)

    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        self.check(backbone.roles)
        if backbone.vocabulary is None:
            raise Unsupported(
                f"head {self.name!r} writes with the model's own output layer over words, and {backbone.name!r} was "
                "loaded without; load it with its words"
            )
        return shell.Borrowed(backbone.vocabulary)

    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        found = log_probabilities(layer, hidden, batch)
        return LossSum(-found.sum(), torch.tensor(float(len(found)), device=hidden.device))

    def decode(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, labels: Labels) -> dict[int, Answer]:
        raise Unsupported(f"head {self.name!r} writes with the whole model: ask the assembly for its answers")

    def whole(self, layer: torch.nn.Module, trunk: torch.nn.Module, labels: Labels) -> Whole | None:
        assert isinstance(layer, shell.Borrowed) and isinstance(layer.words, shell.Words)
        model = layer.words.on(trunk)
        two_stacks = model.config.is_encoder_decoder
        return Whole(model, "AutoModelForSeq2SeqLM" if two_stacks else "AutoModelForCausalLM")


def log_probabilities(layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
    """(B, T, D) -> (N,) of each labelled token, in fp32; other positions never meet the output layer."""
    if batch.sequence_of is None or batch.token_of is None or batch.labels is None:
        return hidden[:0, 0, 0].float()
    items = hidden[batch.sequence_of, batch.token_of]
    return chunked.log_probabilities_of(layer, items, batch.labels, at_once=max(1, CELLS // _width(layer)))


def _width(layer: Any) -> int:
    """V"""
    return int(layer.words.model.config.vocab_size)
