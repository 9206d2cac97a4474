"""What an approach chooses by, before rows become tokens: the `Trial` of a run. Knows no approach by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from adaptune.approaches.finetune import Finetune
from adaptune.bundle.answers import encoder_of, unlabelled
from adaptune.core.approach import Approach
from adaptune.core.batch import Batch, Encoded
from adaptune.core.types import Example, Labels
from adaptune.data.batches import by_rows, collate
from adaptune.evaluate.predict import budget_of, predict
from adaptune.evaluate.vectors import unit_vectors
from adaptune.models.assembly import Assembly
from adaptune.prepare import Prepared
from adaptune.recipe import Recipe

EAST_ASIAN = 0x2E80
"""The first letter of scripts whose words have no spaces between them."""


class Trials:
    """The model of a run as it comes, and the run's rows."""

    def __init__(self, assembly: Assembly, recipe: Recipe, prepared: Prepared) -> None:
        self._assembly, self._recipe, self._prepared = assembly.eval(), recipe, prepared

    @property
    def labels(self) -> Labels:
        return self._assembly.labels

    @property
    def layer(self) -> nn.Module:
        return self._assembly.layer

    @property
    def seed(self) -> int:
        return self._recipe.seed

    def examples(self, part: Literal["train", "valid"]) -> Sequence[Example]:
        return self._prepared.splits.parts[part]

    def score(self, approach: Approach) -> float:
        task, examples = self._recipe.task, self.examples("valid")
        encoded = self._encoded(approach, examples)
        answers = predict(self._assembly, encoded, batch_tokens=self._batch_tokens, rows=len(examples))
        found = task.measure(answers, [example.expected for example in examples], self.labels)
        return found.values[self._recipe.train.metric or task.metric]

    def logits(self, approach: Approach, examples: Sequence[Example]) -> Tensor:
        found: dict[int, Tensor] = {}
        for batch in self._batches(self._encoded(approach, examples)):
            rows = torch.unique_consecutive(batch.rows).tolist()
            found |= dict(zip(rows, self._assembly.logits(batch), strict=True))
        return torch.stack([found[row] for row in range(len(examples))])

    @torch.inference_mode()
    def next_words(self, approach: Approach, examples: Sequence[Example]) -> Tensor:
        own, first = len(self._assembly.head.own_tokens), dict[int, Encoded]()
        for one in self._encoded(approach, examples):
            first.setdefault(one.row, one)
        found: dict[int, Tensor] = {}
        for batch in self._batches(list(first.values())):
            assert batch.items is not None and batch.sequence_of is not None and batch.token_of is not None
            # The first word's first token: of its items the one that comes first.
            begins = [int((batch.sequence_of == place).nonzero()[own]) for place in range(len(batch.rows))]
            states = self._assembly.hidden(batch)[batch.sequence_of[begins], batch.token_of[begins]]
            logs = self._assembly.layer(states).float().log_softmax(dim=1)
            found |= dict(zip(batch.rows.tolist(), logs, strict=True))
        return torch.stack([found[row] for row in range(len(examples))])

    def vocabulary(self) -> list[str | None]:
        tokenizer, config = self._assembly.backbone.tokenizer, self._assembly.backbone.whole.config
        size: int = config.vocab_size  # type: ignore[union-attr,assignment]
        pieces: list[str] = tokenizer.convert_ids_to_tokens(range(min(len(tokenizer), size)))
        marks = tuple(mark for mark in ("Ġ", "▁") if any(piece.startswith(mark) for piece in pieces))
        special = set(tokenizer.all_special_tokens)
        words = [None if piece in special else _word(piece, tokenizer, marks) for piece in pieces]
        return words + [None] * (size - len(words))

    @torch.inference_mode()
    def vectors(self, examples: Sequence[Example]) -> Tensor:
        found: dict[int, Tensor] = {}
        for batch in self._batches(self._encoded(Finetune(), examples)):
            states = unit_vectors(self._assembly.hidden(batch), batch, "mean")
            found |= dict(zip(batch.rows.tolist(), states, strict=True))
        return torch.stack([found[row] for row in range(len(examples))])

    @property
    def _batch_tokens(self) -> int | None:
        return self._recipe.evaluate.batch_tokens

    def _encoded(self, approach: Approach, examples: Sequence[Example]) -> list[Encoded]:
        encoder = replace(encoder_of(self._assembly), approach=approach)
        return encoder([unlabelled(example) for example in examples])

    def _batches(self, encoded: Sequence[Encoded]) -> Iterator[Batch]:
        device, pad = next(self._assembly.parameters()).device, self._assembly.backbone.tokenizer.pad_token_id
        for indices in by_rows(encoded, budget_of(self._assembly, self._batch_tokens)):
            yield collate([encoded[index] for index in indices], pad).to(device)


def choose(assembly: Assembly, recipe: Recipe, prepared: Prepared) -> None:
    """Let the approach of an assembly choose by the run's rows, in place."""
    assembly.approach = assembly.approach.chosen(Trials(assembly, recipe, prepared))


def _word(piece: str, tokenizer: Any, marks: tuple[str, ...]) -> str | None:
    """What a token says that is one word, in the alphabet of words; None for others."""
    text = str(tokenizer.convert_tokens_to_string([piece])).strip()
    unspaced = text != "" and ord(text[0]) > EAST_ASIAN
    if marks and not piece.startswith(marks) and not unspaced:
        return None
    word = text.isalpha() and "\ufffd" not in text and not piece.startswith("##")
    return text if word and (len(text) > 1 or unspaced) else None
