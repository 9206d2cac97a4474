from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score
from sklearn.preprocessing import MultiLabelBinarizer

from adaptune.core.errors import DataError
from adaptune.core.types import Answer, Example, Labels, OfLabels, Row, Sequence
from adaptune.tasks.multilabel import Multilabel

TASK = Multilabel()
EXPECTED = [("a", "b"), ("a",), (), ("b", "c"), ("c",)]
PREDICTED = [("a",), ("a", "c"), ("b",), ("b", "c"), ()]


def _rows(*labels: object) -> list[Example]:
    return [
        TASK.example(Row("rows.csv", number, {"text": "x", "labels": given})) for number, given in enumerate(labels, 2)
    ]


def test_the_scores_are_those_of_scikit_learn() -> None:
    binary = MultiLabelBinarizer(classes=["a", "b", "c"])
    wanted, given = binary.fit_transform(EXPECTED), binary.transform(PREDICTED)
    scores = TASK.score(PREDICTED, EXPECTED)
    expected = {
        "micro_f1": f1_score(wanted, given, average="micro"),
        "macro_f1": f1_score(wanted, given, average="macro"),
        "micro_precision": precision_score(wanted, given, average="micro"),
        "micro_recall": recall_score(wanted, given, average="micro"),
        "subset_accuracy": 1 / 5,
    }
    assert scores.values == pytest.approx(expected)
    by_label = f1_score(wanted, given, average=None)
    assert [scores.per_class[name]["f1"] for name in "abc"] == pytest.approx(by_label.tolist())


def test_the_auroc_is_that_of_scikit_learn_over_labels_of_which_both_kinds_stand_there() -> None:
    labels = Labels(("a", "b", "never"))
    given = [(0.9, 0.4, 0.3), (0.2, 0.6, 0.1), (0.7, 0.5, 0.2)]
    answers = [Answer((), 0.5, probabilities) for probabilities in given]
    found = TASK.measure(answers, [("a",), ("b",), ()], labels).values
    table = np.array(given)
    assert found["macro_auroc"] == pytest.approx(
        (roc_auc_score([1, 0, 0], table[:, 0]) + roc_auc_score([0, 1, 0], table[:, 1])) / 2
    )
    assert found["micro_auroc"] == pytest.approx(roc_auc_score([1, 0, 0, 0, 1, 0, 0, 0, 0], table.ravel()))


def test_no_auroc_where_every_row_has_the_same_labels() -> None:
    assert TASK.score_probabilities([Answer((), 0.5, (0.1,))], [()], Labels(("a",))) == {}


@pytest.mark.parametrize("written", [["b", "a"], "b, a", "b,a ", {"a": 1, "b": "true", "c": "0"}, ("a", "b")])
def test_labels_are_read_as_they_are_written(written: object) -> None:
    assert _rows(written)[0].expected == ("a", "b")


def test_another_separator_may_stand_between_labels() -> None:
    row = Row("rows.csv", 2, {"text": "x", "labels": "b|a, and c"})
    assert Multilabel(separator="|").example(row).expected == ("a, and c", "b")


def test_a_row_without_labels_means_none_where_the_recipe_says_so() -> None:
    row = Row("rows.jsonl", 3, {"text": "x"})
    assert Multilabel(absent="none").example(row).sequences == (Sequence("x", target=OfLabels(())),)
    assert TASK.example(row).expected is None


def test_a_list_of_no_labels_is_an_answer() -> None:
    assert [example.expected for example in _rows([], "")] == [(), ()]


def test_rows_without_any_label_are_refused() -> None:
    with pytest.raises(DataError, match="none of the 2 training rows has a label"):
        TASK.labels(_rows([], []))


def test_a_label_that_stands_twice_is_named() -> None:
    with pytest.raises(DataError, match=r"rows.csv, row 2, column 'labels': the label 'a' stands there twice"):
        _rows(["a", "b", "a"])


def test_an_answer_is_described_with_a_probability_for_each_label() -> None:
    answer = Answer(("a", "c"), 0.5, (0.9, 0.1, 0.8), (0.9, 0.8))
    assert TASK.describe(_rows(["a"])[0], answer) == {
        "labels": [{"label": "a", "probability": 0.9}, {"label": "c", "probability": 0.8}]
    }


def test_a_row_counts_to_its_rarest_label() -> None:
    assert TASK.strata(_rows(["a"], ["a", "b"], [])) == ["a", "b", ""]
