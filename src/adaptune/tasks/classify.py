"""One label for a text, or for a pair of texts. Knows no output layer and no loss."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence as Several
from typing import Any

import numpy as np

from adaptune.core.errors import DataError
from adaptune.core.task import Column, Task
from adaptune.core.types import Answer, Array, Example, Labels, OfSequence, Row, Scores, Sequence
from adaptune.tasks._plain import majority, tfidf_regression

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


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
        first = _text(row, "text")
        second = _text(row, "pair") if "pair" in row.values else None
        if "label" not in row.values:
            return Example(row, (Sequence(first, second),))
        label = _label(row)
        return Example(row, (Sequence(first, second, OfSequence(label)),), label)

    def labels(self, examples: Several[Example]) -> Labels:
        unlabelled = next((example.row for example in examples if example.expected is None), None)
        if unlabelled is not None:
            raise DataError(f"{unlabelled.where} has no label; give every training row one")
        counts = Counter(example.expected for example in examples)
        names = _sorted(set(counts))
        if len(names) < 2:
            found = f"only the label {names[0]!r}" if names else "no rows"
            raise DataError(f"the training data have {found}; a classifier needs rows of at least two labels")
        return Labels(names, tuple(counts[name] for name in names))

    def score(self, predicted: Several[Any], expected: Several[Any]) -> Scores:
        if not expected:
            raise DataError("there are no rows to score; check the file and its label column")
        classes = _sorted({*predicted, *expected})
        confusion = _confusion(predicted, expected, classes)
        hits, support, guessed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
        precision, recall = _ratio(hits, guessed), _ratio(hits, support)
        f1 = _ratio(2 * hits, support + guessed)
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
            "tfidf_logistic_regression": tfidf_regression(_joined(train), answers, _joined(test)),
        }


def _text(row: Row, column: str) -> str:
    value = row.values.get(column)
    if not isinstance(value, str):
        found = "is missing" if value is None else f"is {value!r}"
        raise DataError(f"{row.where}, column {column!r}: the text {found}, expected text; correct or remove the row")
    if not value.strip():
        raise DataError(f"{row.where}, column {column!r}: the text {value!r} is empty; fill it or remove the row")
    return value


def _label(row: Row) -> str:
    """The label as text; numbers and truth values as JSON writes them."""
    value = row.values["label"]
    absent = not value.strip() if isinstance(value, str) else value is None or value != value  # NaN is not itself
    if absent:
        raise DataError(f"{row.where}, column 'label': the label is missing ({value!r}); give one or remove the row")
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    raise DataError(f"{row.where}, column 'label': {value!r} is no label; expected one text, number, true or false")


def _sorted(labels: set[str]) -> tuple[str, ...]:
    """Numbers by size, then everything else by its letters."""
    return tuple(sorted(labels, key=lambda label: (not _NUMBER.fullmatch(label), _size(label), label)))


def _size(label: str) -> float:
    return float(label) if _NUMBER.fullmatch(label) else 0.0


def _confusion(predicted: Several[str], expected: Several[str], classes: tuple[str, ...]) -> Array:
    """(C, C) counts: expected class a row, predicted class a column."""
    index = {name: position for position, name in enumerate(classes)}
    pairs = [index[wanted] * len(classes) + index[given] for given, wanted in zip(predicted, expected, strict=True)]
    return np.bincount(np.array(pairs, dtype=np.int64), minlength=len(classes) ** 2).reshape(len(classes), -1)


def _ratio(part: Array, whole: Array) -> Array:
    """part / whole; 0 where there is nothing to divide, as in scikit-learn."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _joined(examples: Several[Example]) -> list[str]:
    """Both texts of a row as one."""
    return ["\n".join(str(part) for part in (s.first, s.second) if part) for s in (e.sequences[0] for e in examples)]
