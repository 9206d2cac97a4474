"""One label for a text, or for a pair of texts. Knows no output layer and no loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence as Several
from typing import Any

import numpy as np

from adaptune.core.errors import DataError
from adaptune.core.task import Column, Task
from adaptune.core.types import Answer, Array, Example, Labels, OfSequence, Row, Scores, Sequence
from adaptune.tasks._plain import majority, tfidf_regression
from adaptune.tasks._rows import all_labelled, in_order, joined, label_of, ratio, some_to_score, text_of


class Classify(Task):
    """Sentiment, intent, topic, entailment: each row has exactly one of a fixed set of labels."""

    metric = "accuracy"
    metrics = ("accuracy", "macro_f1", "macro_precision", "macro_recall", "weighted_f1")
    columns = (
        Column(
            "text",
            "what is classified",
            ("sentence", "sentence1", "review", "content", "question", "premise"),
        ),
        Column(
            "pair",
            "a second text, where pairs are classified",
            ("text_pair", "sentence2", "hypothesis"),
            required=False,
        ),
        Column(
            "label",
            "its class: text, a number, true or false",
            ("category", "intent", "class", "target"),
            label=True,
        ),
    )
    default_head = "classify"

    def example(self, row: Row) -> Example:
        first = text_of(row, "text")
        second = text_of(row, "pair") if "pair" in row.values else None
        if "label" not in row.values:
            return Example(row, (Sequence(first, second),))
        label = label_of(row, "label", row.values["label"])
        return Example(row, (Sequence(first, second, OfSequence(label)),), label)

    def labels(self, examples: Several[Example]) -> Labels:
        all_labelled(examples)
        counts = Counter(example.expected for example in examples)
        names = in_order(set(counts))
        if len(names) < 2:
            found = f"only the label {names[0]!r}" if names else "no rows"
            raise DataError(f"the training data have {found}; a classifier needs rows of at least two labels")
        return Labels(names, tuple(counts[name] for name in names))

    def score(self, predicted: Several[Any], expected: Several[Any]) -> Scores:
        some_to_score(expected)
        classes = in_order({*predicted, *expected})
        confusion = _confusion(predicted, expected, classes)
        hits, support, guessed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
        precision, recall = ratio(hits, guessed), ratio(hits, support)
        f1 = ratio(2 * hits, support + guessed)
        columns = zip(precision.tolist(), recall.tolist(), f1.tolist(), support.tolist(), strict=True)
        names = ("precision", "recall", "f1", "support")
        return Scores(
            values={
                "accuracy": float(hits.sum() / support.sum()),
                "macro_f1": float(f1.mean()),
                "macro_precision": float(precision.mean()),
                "macro_recall": float(recall.mean()),
                "weighted_f1": float(f1 @ support / support.sum()),
            },
            per_class={name: dict(zip(names, row, strict=True)) for name, row in zip(classes, columns, strict=True)},
            confusion=tuple(tuple(row) for row in confusion.tolist()),
            classes=classes,
        )

    def counts(self, predicted: Several[Any], expected: Several[Any]) -> Array:
        """(R, 2) right answers, answers"""
        right = [given == wanted for given, wanted in zip(predicted, expected, strict=True)]
        return np.stack([np.array(right, dtype=np.int64), np.ones(len(right), dtype=np.int64)], axis=1)

    def metric_of(self, totals: Array) -> Array:
        return totals[..., 0] / totals[..., 1]

    def strata(self, examples: Several[Example]) -> list[str]:
        return [example.expected for example in examples]

    def describe(self, example: Example, answer: Answer) -> dict[str, Any]:
        return {"label": answer.value, "probability": answer.probability}

    def baselines(self, train: Several[Example], test: Several[Example]) -> Mapping[str, list[Any]]:
        answers = [example.expected for example in train]
        return {
            "majority": majority(answers, len(test)),
            "tfidf_logistic_regression": tfidf_regression(joined(train), answers, joined(test)),
        }


def _confusion(predicted: Several[str], expected: Several[str], classes: tuple[str, ...]) -> Array:
    """(C, C) counts: expected class a row, predicted class a column."""
    index = {name: position for position, name in enumerate(classes)}
    pairs = [index[wanted] * len(classes) + index[given] for given, wanted in zip(predicted, expected, strict=True)]
    return np.bincount(np.array(pairs, dtype=np.int64), minlength=len(classes) ** 2).reshape(len(classes), -1)
