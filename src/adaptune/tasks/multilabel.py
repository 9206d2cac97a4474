"""Any number of labels for a text, or for a pair of texts. Knows no output layer and no loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence as Several
from typing import Any, Literal

import numpy as np
from pydantic import Field

from adaptune.core.errors import DataError
from adaptune.core.lazy import sklearn_metrics
from adaptune.core.task import Column, Task
from adaptune.core.types import Answer, Array, Example, Labels, OfLabels, Row, Scores, Sequence
from adaptune.tasks._plain import most_common, tfidf_labels
from adaptune.tasks._rows import all_labelled, in_order, joined, label_of, ratio, some_to_score, text_of

_SAID = {"1": True, "true": True, "1.0": True, "0": False, "false": False, "0.0": False}
"""What stands in a column of one label."""


class Multilabel(Task):
    """Topics, intents, emotions: each row has any number of a fixed set of labels, perhaps none."""

    separator: str = Field(default=",", min_length=1)
    """What stands between the labels of a row where they are one text."""
    absent: Literal["refuse", "none"] = "refuse"
    """What a row without a value for its labels means: it is refused, or it has none of them."""

    metric = "micro_f1"
    metrics = ("micro_f1", "macro_f1", "micro_precision", "micro_recall", "subset_accuracy")
    columns = (
        Column(
            "text", "what is classified", ("sentence", "sentence1", "review", "content", "question", "comment_text")
        ),
        Column(
            "pair",
            "a second text, where pairs are classified",
            ("text_pair", "sentence2", "hypothesis"),
            required=False,
        ),
        Column(
            "labels",
            "its labels: a list, a text with separators, or several columns of 0 and 1",
            ("intents", "tags", "categories", "topics", "emotions", "label"),
            required=False,
            label=True,
            several=True,
        ),
    )
    default_head = "multilabel"
    target = OfLabels

    def example(self, row: Row) -> Example:
        first = text_of(row, "text")
        second = text_of(row, "pair") if "pair" in row.values else None
        if "labels" not in row.values and self.absent == "refuse":
            return Example(row, (Sequence(first, second),))
        labels = in_order(self._labels(row)) if "labels" in row.values else ()
        return Example(row, (Sequence(first, second, OfLabels(labels)),), labels)

    def labels(self, examples: Several[Example]) -> Labels:
        all_labelled(examples)
        counts = Counter(label for example in examples for label in example.expected)
        if not counts:
            raise DataError(f"none of the {len(examples)} training rows has a label; check the column of labels")
        names = in_order(counts)
        return Labels(names, tuple(counts[name] for name in names))

    def score(self, predicted: Several[Any], expected: Several[Any]) -> Scores:
        some_to_score(expected)
        classes = in_order({label for labels in (*predicted, *expected) for label in labels})
        given, wanted = _table(predicted, classes), _table(expected, classes)
        right, guessed, support = (given & wanted).sum(axis=0), given.sum(axis=0), wanted.sum(axis=0)
        precision, recall, f1 = ratio(right, guessed), ratio(right, support), ratio(2 * right, guessed + support)
        columns = zip(precision.tolist(), recall.tolist(), f1.tolist(), support.tolist(), strict=True)
        names = ("precision", "recall", "f1", "support")
        return Scores(
            values={
                "micro_f1": float(ratio(2 * right.sum(), guessed.sum() + support.sum())),
                "macro_f1": float(f1.mean()) if classes else 0.0,
                "micro_precision": float(ratio(right.sum(), guessed.sum())),
                "micro_recall": float(ratio(right.sum(), support.sum())),
                "subset_accuracy": float((given == wanted).all(axis=1).mean()),
            },
            per_class={name: dict(zip(names, row, strict=True)) for name, row in zip(classes, columns, strict=True)},
        )

    def score_probabilities(self, answers: Several[Answer], expected: Several[Any], labels: Labels) -> dict[str, float]:
        """Area under the ROC curve, over all pairs of row and label, and the mean over labels that some rows have and
        some have not."""
        wanted = _table(expected, labels.names)
        given = np.array([answer.probabilities for answer in answers])
        both = wanted.any(axis=0) & ~wanted.all(axis=0)
        if not both.any():
            return {}
        by_label = sklearn_metrics.roc_auc_score(wanted[:, both], given[:, both], average="macro")
        return {
            "micro_auroc": float(sklearn_metrics.roc_auc_score(wanted.ravel(), given.ravel())),
            "macro_auroc": float(by_label),
        }

    def is_right(self, predicted: Any, expected: Any) -> bool:
        return set(predicted) == set(expected)

    def counts(self, predicted: Several[Any], expected: Several[Any]) -> Array:
        """(R, 3) labels that are right, labels predicted, labels expected"""
        sets = [(set(given), set(wanted)) for given, wanted in zip(predicted, expected, strict=True)]
        return np.array([(len(given & wanted), len(given), len(wanted)) for given, wanted in sets], dtype=np.int64)

    def metric_of(self, totals: Array) -> Array:
        """2 right / (predicted + expected); 0 where there are neither."""
        return ratio(2 * totals[..., 0], totals[..., 1] + totals[..., 2])

    def strata(self, examples: Several[Example]) -> list[str]:
        """The rarest label of each row, so that rare labels are spread evenly (after Sechidis et al., 2011)."""
        rows = Counter(label for example in examples for label in example.expected)
        return [min(example.expected, key=lambda label: (rows[label], label), default="") for example in examples]

    def describe(self, example: Example, answer: Answer) -> dict[str, Any]:
        probabilities = answer.of_each or [None] * len(answer.value)
        pairs = zip(answer.value, probabilities, strict=True)
        return {"labels": [{"label": label, "probability": probability} for label, probability in pairs]}

    def baselines(self, train: Several[Example], test: Several[Example]) -> Mapping[str, list[Any]]:
        answers = [example.expected for example in train]
        often = most_common([label for labels in answers for label in labels])
        return {
            "most_frequent_label": [(often,)] * len(test),
            "tfidf_logistic_regression": tfidf_labels(joined(train), answers, joined(test)),
        }

    def _labels(self, row: Row) -> set[str]:
        """The labels as they are written: a list, a text with separators, or yes and no for each."""
        value = row.values["labels"]
        where = f"{row.where}, column 'labels'"
        if isinstance(value, Mapping):
            return {name for name, said in value.items() if _said(where, name, said)}
        if isinstance(value, str):
            value = [part.strip() for part in value.split(self.separator)] if value.strip() else []
        if not isinstance(value, (list, tuple)):
            raise DataError(
                f"{where}: {value!r} is neither a list of labels nor text; correct the row, or set task.absent: none "
                "where such a row has no labels"
            )
        if inner := [label for label in value if isinstance(label, (list, tuple))]:
            raise DataError(f"{where}: the label {inner[0]!r} is a list itself; write the labels in one list")
        labels = [label_of(row, "labels", label) for label in value]
        twice = [label for label, count in Counter(labels).items() if count > 1]
        if twice:
            raise DataError(f"{where}: the label {twice[0]!r} stands there twice; remove one")
        return set(labels)


def _said(where: str, name: str, value: Any) -> bool:
    """Whether a row has the label of a column."""
    said = _SAID.get(str(value).strip().lower())
    if said is None:
        raise DataError(f"{where}, {name!r}: {value!r} is neither 0 nor 1; correct the row")
    return said


def _table(rows: Several[Any], classes: Several[str]) -> Array:
    """(R, C) whether a row has a label; labels beside the classes are left out."""
    index = {name: position for position, name in enumerate(classes)}
    table = np.zeros((len(rows), len(classes)), dtype=bool)
    for row, labels in enumerate(rows):
        table[row, [index[label] for label in labels if label in index]] = True
    return table
