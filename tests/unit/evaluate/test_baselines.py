"""Plain models beside a trained one."""

from __future__ import annotations

from adaptune.core.types import Row
from adaptune.evaluate.baselines import baselines
from adaptune.tasks.classify import Classify
from adaptune.tasks.tag import Tag


def test_classification_has_the_majority_and_a_regression_beside_it() -> None:
    task = Classify()
    rows = [("good one", "1"), ("good two", "1"), ("bad one", "0")] * 4
    train = [task.example(Row("x.csv", 1, {"text": text, "label": label})) for text, label in rows]
    test = [task.example(Row("x.csv", 1, {"text": text, "label": label})) for text, label in rows[1:3]]
    found = baselines(task, train, test)
    assert {name: plain.scores.values["accuracy"] for name, plain in found.items()} == {
        "majority": 0.5,
        "tfidf_logistic_regression": 1.0,
    }


def test_tagging_has_the_most_frequent_tag_beside_it() -> None:
    task = Tag()
    train = [task.example(Row("x", 1, {"tokens": "in Paris", "tags": "O B-place"}))]
    test = [task.example(Row("x", 1, {"tokens": "Paris or Rome", "tags": "B-place O B-place"}))]
    assert baselines(task, train, test)["most_frequent_tag"].scores.values["recall"] == 0.5
