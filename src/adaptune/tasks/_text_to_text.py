"""What tasks share whose rows are a source and the text to be written after it. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Several
from typing import Any, ClassVar

from pydantic import field_validator

from adaptune.core.errors import DataError
from adaptune.core.task import Task
from adaptune.core.types import SOURCE, Answer, Array, Example, Labels, OfText, Row, Scores, Sequence, Target
from adaptune.core.words import unspaced
from adaptune.tasks._text_scores import ROUGES, Tokenizer, bleu_counts, bleu_of, chrf, rouge

SOURCES = ("src", "input", "prompt", "instruction")
TARGETS = ("tgt", "output", "completion", "response", "references", "reference")
"""What files call the two columns, whatever the task."""


class WrittenText(Task):
    """Answers are texts, judged by BLEU beside other measures."""

    metric: ClassVar[str] = "bleu"
    metrics: ClassVar[tuple[str, ...]] = ("bleu", "chrf", *ROUGES)
    default_head: ClassVar[str] = "generate"
    target: ClassVar[type[Target]] = OfText

    bleu_tokenizer: Tokenizer = "auto"
    """sacreBLEU's tokenizer; auto: zh where references are mostly Chinese characters, else 13a."""

    def labels(self, examples: Several[Example]) -> Labels:
        return Labels(())

    def score(self, predicted: Several[Any], expected: Several[Any]) -> Scores:
        written = first_texts(predicted)
        totals = bleu_counts(written, expected, self.bleu_tokenizer).sum(axis=0)
        means = rouge(written, expected).mean(axis=0)
        values = {"bleu": float(bleu_of(totals)), "chrf": chrf(written, expected)}
        return Scores(values | {name: float(mean) for name, mean in zip(ROUGES, means, strict=True)})

    def counts(self, predicted: Several[Any], expected: Several[Any]) -> Array:
        return bleu_counts(first_texts(predicted), expected, self.bleu_tokenizer)

    def metric_of(self, totals: Array) -> Array:
        return bleu_of(totals)

    def strata(self, examples: Several[Example]) -> list[str]:
        return [""] * len(examples)

    def describe(self, example: Example, answer: Answer) -> dict[str, Any]:
        return {"text": first_texts([answer.value])[0], "probability": answer.probability}


class TextToText(WrittenText):
    """One source, one text; a list as target holds several right ones, of which the first is learned."""

    template: str | None = None
    """What the model reads, `{source}` where the row's source stands; none: the source, for decoders and a line end."""

    @field_validator("template")
    @classmethod
    def _has_a_source(cls, value: str | None) -> str | None:
        if value is not None and value.count(SOURCE) != 1:
            raise ValueError(f"{value!r} must hold {SOURCE} once, where the row's source is to stand")
        return value

    def example(self, row: Row) -> Example:
        source = _source(row)
        targets = _targets(row)
        target = OfText(targets[0]) if targets else None
        sequence = Sequence(source, target=target, template=self.template)
        return Example(row, (sequence,), (targets[0] if len(targets) == 1 else targets) or None)

    def baselines(self, train: Several[Example], test: Several[Example]) -> Mapping[str, list[Any]]:
        return {"copied_source": [str(example.sequences[0].first) for example in test]}


def first_texts(values: Several[Any]) -> list[str]:
    """What was written; of several texts the first."""
    return [value if isinstance(value, str) else str(value[0]) for value in values]


def _source(row: Row) -> str:
    value = row.values.get("source")
    text = joined(value) if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value) else value
    if not isinstance(text, str):
        found = "is missing" if text is None else f"is {text!r}"
        raise DataError(f"{row.where}, column 'source': the text {found}, expected text or a list of sentences")
    if not text.strip():
        raise DataError(f"{row.where}, column 'source': the text {text!r} is empty; fill it or remove the row")
    return text


def _targets(row: Row) -> tuple[str, ...]:
    """None of an unlabelled row."""
    if "target" not in row.values:
        return ()
    value = row.values["target"]
    targets = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    for target in targets or (None,):
        if not isinstance(target, str) or not target.strip():
            raise DataError(
                f"{row.where}, column 'target': {target!r} is no text to write; expected text, or a list of texts of "
                "which any will do; fill it or remove the row"
            )
    return targets


def joined(sentences: Several[str]) -> str:
    """Sentences as one text, with spaces between them where their script has some."""
    return ("" if unspaced("".join(sentences)) else " ").join(sentence.strip() for sentence in sentences)
