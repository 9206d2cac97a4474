"""Raw text: every text teaches its own tokens, before another task or for its own sake. Knows no output layer."""

from __future__ import annotations

import math
from collections.abc import Sequence as Several
from typing import Any, ClassVar

import numpy as np

from adaptune.core.task import Column, Task
from adaptune.core.types import Answer, Array, Example, Labels, OfItself, Row, Scores, Sequence, Target
from adaptune.tasks._rows import text_of


class Pretrain(Task):
    """The tokens of a text from each other (masked) or from those before (causal); judged by their probability."""

    metric: ClassVar[str] = "token_probability"
    metrics: ClassVar[tuple[str, ...]] = ("token_probability",)
    errors: ClassVar[tuple[str, ...]] = ("loss",)
    default_head: ClassVar[str] = "words"
    target: ClassVar[type[Target]] = OfItself
    columns = (Column("text", "the text", ("sentence", "content", "document", "paragraph", "body")),)

    def example(self, row: Row) -> Example:
        text = text_of(row, "text")
        return Example(row, (Sequence(text, target=OfItself(), overflow="window"),), (0.0, float(len(text))))

    def labels(self, examples: Several[Example]) -> Labels:
        return Labels(())

    def score(self, predicted: Several[Any], expected: Several[Any]) -> Scores:
        """token_probability: the geometric mean over tokens. loss: minus its natural logarithm."""
        totals = self.counts(predicted, expected).sum(axis=0)
        probability = float(self.metric_of(totals))
        return Scores({"token_probability": probability, "loss": float(-totals[0] / max(1.0, totals[1])) + 0.0})

    def score_probabilities(self, answers: Several[Answer], expected: Several[Any], labels: Labels) -> dict[str, float]:
        """perplexity: e to the loss; where tokens are hidden one by one, the pseudo-perplexity."""
        loss = self.score([answer.value for answer in answers], expected).values["loss"]
        return {"perplexity": math.exp(min(loss, 700.0))}

    def counts(self, predicted: Several[Any], expected: Several[Any]) -> Array:
        return np.array(predicted, dtype=np.float64)

    def metric_of(self, totals: Array) -> Array:
        return np.exp(totals[..., 0] / np.maximum(1.0, totals[..., 1]))

    def strata(self, examples: Several[Example]) -> list[str]:
        return [""] * len(examples)

    def describe(self, example: Example, answer: Answer) -> dict[str, Any]:
        total, tokens = answer.value
        loss = -total / max(1.0, tokens)
        return {"log_likelihood": total, "tokens": int(tokens), "perplexity": math.exp(min(loss, 700.0))}
