"""A number for a text, or for a pair of texts. Knows no output layer and no loss."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Several
from typing import Any

from adaptune.core.task import Column, Task
from adaptune.core.types import Answer, Array, Example, Labels, OfNumber, Row, Scores, Sequence
from adaptune.tasks._numbers import ERRORS, METRICS, correlation, count_numbers, moments, score_numbers, strata_of
from adaptune.tasks._plain import tfidf_ridge
from adaptune.tasks._rows import all_labelled, joined, number_of, some_to_score, text_of


class Regress(Task):
    """Ratings, similarities, prices: each row has a number, and near misses count little."""

    metric = "pearson"
    metrics = METRICS
    errors = ERRORS
    columns = (
        Column("text", "what the number is of", ("sentence", "sentence1", "review", "content", "question")),
        Column("pair", "a second text, where pairs have numbers", ("text_pair", "sentence2"), required=False),
        Column(
            "number", "its number", ("score", "similarity", "similarity_score", "rating", "label", "value"), label=True
        ),
    )
    default_head = "regress"
    target = OfNumber

    def example(self, row: Row) -> Example:
        first = text_of(row, "text")
        second = text_of(row, "pair") if "pair" in row.values else None
        if "number" not in row.values:
            return Example(row, (Sequence(first, second),))
        number = number_of(row, "number")
        return Example(row, (Sequence(first, second, OfNumber(number)),), number)

    def labels(self, examples: Several[Example]) -> Labels:
        all_labelled(examples)
        return moments(examples)

    def score(self, predicted: Several[Any], expected: Several[Any]) -> Scores:
        some_to_score(expected)
        return score_numbers(predicted, expected)

    def counts(self, predicted: Several[Any], expected: Several[Any]) -> Array:
        """(R, 6) what Pearson's correlation is a function of"""
        return count_numbers(predicted, expected)

    def metric_of(self, totals: Array) -> Array:
        return correlation(totals)

    def strata(self, examples: Several[Example]) -> list[str]:
        return strata_of([example.expected for example in examples])

    def describe(self, example: Example, answer: Answer) -> dict[str, Any]:
        return {"number": answer.value}

    def baselines(self, train: Several[Example], test: Several[Example]) -> Mapping[str, list[Any]]:
        """The mean correlates with nothing; its error is what others are to undercut."""
        numbers = [example.expected for example in train]
        mean = sum(numbers) / len(numbers)
        return {"mean": [mean] * len(test), "tfidf_ridge": tfidf_ridge(joined(train), numbers, joined(test))}
