"""How two texts go together, as a label or a score; read as one sequence or each by itself. Knows no output layer."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Several
from typing import Any, Literal

from adaptune.core.errors import DataError
from adaptune.core.task import Column, Task
from adaptune.core.types import (
    Answer,
    Array,
    Example,
    Labels,
    OfNumber,
    OfRow,
    OfSequence,
    Row,
    Scores,
    Sequence,
    Target,
)
from adaptune.tasks._numbers import count_ranks
from adaptune.tasks._plain import tfidf_similarity
from adaptune.tasks._rows import label_of, number_of, text_of
from adaptune.tasks.classify import Classify
from adaptune.tasks.regress import Regress

MOST_LABELS = 20
"""More different labels, all of them numbers, are scores."""


class Match(Task):
    """Paraphrase, entailment, similarity: each row has two texts, and a label or a score for both together."""

    kind: Literal["label", "score"] = "label"
    """What a pair has: one of a fixed set of labels, or a number."""
    encoder: Literal["cross", "bi"] = "cross"
    """cross: both texts are read as one sequence. bi: each by itself, so that its vector can be kept and compared."""

    columns = (
        Column("text", "one text", ("sentence1", "sentence", "text1", "question1", "query", "premise")),
        Column("pair", "the other text", ("sentence2", "text_pair", "text2", "question2", "hypothesis")),
        Column(
            "label", "their label or score", ("score", "similarity", "similarity_score", "is_duplicate"), label=True
        ),
    )

    @property
    def metric(self) -> str:  # type: ignore[override]  # it depends on the kind here, in other tasks on nothing
        return "accuracy" if self.kind == "label" else "spearman"

    @property
    def metrics(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._like.metrics

    @property
    def errors(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._like.errors

    @property
    def target(self) -> type[Target]:  # type: ignore[override]
        if self.encoder == "bi":
            return OfRow
        return OfSequence if self.kind == "label" else OfNumber

    @property
    def default_head(self) -> str:  # type: ignore[override]
        return "similarity" if self.encoder == "bi" else self._like.default_head

    @property
    def _like(self) -> Task:
        """The task of one text that has the same answers."""
        return Classify() if self.kind == "label" else Regress()

    def example(self, row: Row) -> Example:
        first, second = text_of(row, "text"), text_of(row, "pair")
        value: str | float | None = None
        if "label" in row.values:
            value = label_of(row, "label", row.values["label"]) if self.kind == "label" else number_of(row, "label")
        if self.encoder == "cross":
            of_both = OfSequence(value) if isinstance(value, str) else None if value is None else OfNumber(value)
            return Example(row, (Sequence(first, second, of_both),), value)
        of_row = None if value is None else OfRow(value)
        return Example(row, (Sequence(first, target=of_row), Sequence(second, target=of_row)), value)

    def labels(self, examples: Several[Example]) -> Labels:
        found = self._like.labels(examples)
        if self.kind == "label" and len(found) > MOST_LABELS and all(map(_is_number, found.names)):
            raise DataError(
                f"the labels are {len(found)} different numbers, such as {found.names[1]}; if they are scores, "
                "set task.kind: score"
            )
        return found

    def score(self, predicted: Several[Any], expected: Several[Any]) -> Scores:
        return self._like.score(predicted, expected)

    def counts(self, predicted: Several[Any], expected: Several[Any]) -> Array:
        """(R, 2) right answers, answers; or (R, 6) what the correlation of ranks is a function of"""
        return self._like.counts(predicted, expected) if self.kind == "label" else count_ranks(predicted, expected)

    def metric_of(self, totals: Array) -> Array:
        return self._like.metric_of(totals)

    def strata(self, examples: Several[Example]) -> list[str]:
        return self._like.strata(examples)

    def describe(self, example: Example, answer: Answer) -> dict[str, Any]:
        return self._like.describe(example, answer) if self.kind == "label" else {"score": answer.value}

    def baselines(self, train: Several[Example], test: Several[Example]) -> Mapping[str, list[Any]]:
        answers = [example.expected for example in train]
        like = tfidf_similarity([_texts(one) for one in train], answers, [_texts(one) for one in test])
        name = "majority" if self.kind == "label" else "mean"
        return {name: self._like.baselines(train, test)[name], "tfidf_cosine": like}


def _texts(example: Example) -> tuple[str, str]:
    values = example.row.values
    return str(values["text"]), str(values["pair"])


def _is_number(label: str) -> bool:
    return label.replace(".", "", 1).lstrip("+-").isdigit()
