"""Classification: rows, label order, scores against scikit-learn, baselines."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from adaptune.core.errors import DataError
from adaptune.core.types import Answer, Example, Labels, OfSequence, Row, Sequence
from adaptune.tasks.classify import Classify

TASK = Classify()


def example(text: str, label: object) -> Example:
    return TASK.example(Row("train.csv", 2, {"text": text, "label": label}))


def test_a_row_becomes_one_sequence_with_its_label() -> None:
    row = Row("train.csv", 2, {"text": "Where is my card?", "label": "card_arrival"})
    target = OfSequence("card_arrival")
    assert TASK.example(row) == Example(row, (Sequence("Where is my card?", None, target),), "card_arrival")


def test_a_second_text_becomes_the_second_part() -> None:
    row = Row("mnli.jsonl", 1, {"text": "It rains.", "pair": "It is wet.", "label": "entailment"})
    assert TASK.example(row).sequences == (Sequence("It rains.", "It is wet.", OfSequence("entailment")),)


def test_a_row_without_the_label_column_is_unlabelled() -> None:
    row = Row("new.jsonl", 1, {"text": "Where is my card?"})
    assert TASK.example(row) == Example(row, (Sequence("Where is my card?"),), None)


@pytest.mark.parametrize(
    ("label", "expected"),
    [(1, "1"), (0, "0"), (True, "true"), (False, "false"), (2.5, "2.5"), ("1", "1"), ("neg", "neg")],
)
def test_labels_are_text_as_json_writes_it(label: object, expected: str) -> None:
    assert example("good", label).expected == expected


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_text_is_refused_with_row_and_column(text: str) -> None:
    with pytest.raises(DataError, match=r"train\.csv, row 2, column 'text': the text .* is empty"):
        example(text, "a")


def test_a_missing_text_is_refused() -> None:
    with pytest.raises(DataError, match=r"train\.csv, row 7, column 'text': the text is missing"):
        TASK.example(Row("train.csv", 7, {"label": "a"}))


def test_a_number_in_place_of_text_is_refused_with_its_value() -> None:
    with pytest.raises(DataError, match=r"row 3, column 'pair': the text is 13, expected text"):
        TASK.example(Row("x.jsonl", 3, {"text": "a", "pair": 13}))


@pytest.mark.parametrize("label", [None, "", "  ", float("nan")])
def test_a_missing_label_is_refused_with_row_and_column(label: object) -> None:
    with pytest.raises(DataError, match=r"train\.csv, row 2, column 'label': the label is missing"):
        example("good", label)


def test_several_labels_are_refused() -> None:
    with pytest.raises(DataError, match=r"\['a', 'b'\] is no label; expected one"):
        example("good", ["a", "b"])


def test_labels_are_sorted_numbers_by_size() -> None:
    examples = [example("t", label) for label in ("10", "9", "-1", "2.5", "b", "B", "nan", "b")]
    assert TASK.labels(examples) == Labels(("-1", "2.5", "9", "10", "B", "b", "nan"))


def test_labels_carry_their_counts() -> None:
    assert TASK.labels([example("t", label) for label in ("b", "a", "b")]).counts == (1, 2)


def test_training_data_of_one_label_are_refused() -> None:
    with pytest.raises(DataError, match=r"only the label 'a'; a classifier needs rows of at least two labels"):
        TASK.labels([example("t", "a")])


def test_an_unlabelled_training_row_is_refused_by_number() -> None:
    with pytest.raises(DataError, match=r"train\.csv, row 9 has no label"):
        TASK.labels([example("t", "a"), TASK.example(Row("train.csv", 9, {"text": "t"}))])


def test_scores_equal_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    names = np.array(["a", "b", "c", "d", "never predicted"])
    expected = names[generator.integers(0, 5, 400)].tolist()
    predicted = names[generator.integers(0, 4, 400)].tolist()
    scores = TASK.score(predicted, expected)
    macro = precision_recall_fscore_support(expected, predicted, average="macro", zero_division=0)
    weighted = precision_recall_fscore_support(expected, predicted, average="weighted", zero_division=0)
    reference = (accuracy_score(expected, predicted), macro[2], macro[0], macro[1], weighted[2])
    assert tuple(scores.values) == TASK.metrics
    assert tuple(scores.values.values()) == pytest.approx(reference, abs=1e-12)
    assert scores.confusion == tuple(map(tuple, confusion_matrix(expected, predicted).tolist()))
    each = np.array(precision_recall_fscore_support(expected, predicted, average=None, zero_division=0)).T
    assert [list(row.values()) for row in scores.per_class.values()] == pytest.approx(each)
    assert tuple(scores.per_class) == scores.classes == ("a", "b", "c", "d", "never predicted")


def test_scores_of_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no rows to score"):
        TASK.score([], [])


def test_an_answer_is_described_by_label_and_probability() -> None:
    row = example("t", "a")
    assert TASK.describe(row, Answer("a", 0.75, (0.75, 0.25))) == {"label": "a", "probability": 0.75}


def test_the_majority_baseline_answers_the_most_frequent_label() -> None:
    train = [example("one text", "a"), example("two text", "b"), example("three text", "b")]
    assert TASK.baselines(train, train)["majority"] == ["b", "b", "b"]


def test_the_regression_baseline_learns_words_that_decide() -> None:
    train = [example(text, label) for text, label in (("good film", "1"), ("bad film", "0")) for _ in range(5)]
    answers = TASK.baselines(train, [example("a good book", "1"), example("a bad book", "0")])
    assert answers["tfidf_logistic_regression"] == ["1", "0"]


def test_the_regression_baseline_reads_chinese_by_characters() -> None:
    train = [example(text, label) for text, label in (("这家酒店很好", "1"), ("这家酒店很差", "0")) for _ in range(5)]
    answers = TASK.baselines(train, [example("房间好极了", "1"), example("房间差极了", "0")])
    assert answers["tfidf_logistic_regression"] == ["1", "0"]


def test_the_regression_baseline_reads_both_texts_of_a_pair() -> None:
    rows = [
        Row("x", 1, {"text": "same start", "pair": second, "label": label})
        for second, label in (("yes", "a"), ("no", "b"))
        for _ in range(5)
    ]
    train = [TASK.example(row) for row in rows]
    assert TASK.baselines(train, train)["tfidf_logistic_regression"] == ["a"] * 5 + ["b"] * 5


def test_the_regression_baseline_takes_seconds_on_banking77(data: Callable[[str], Path]) -> None:
    splits = []
    for name in ("train.csv", "test.csv"):
        with (data("banking77") / name).open(encoding="utf-8", newline="") as file:
            splits.append([example(row["text"], row["category"]) for row in csv.DictReader(file)])
    started = time.perf_counter()
    answers = TASK.baselines(*splits)["tfidf_logistic_regression"]
    seconds = time.perf_counter() - started
    assert TASK.score(answers, [test.expected for test in splits[1]]).values["accuracy"] > 0.89
    assert seconds < 20


def test_checking_rows_imports_no_heavy_library() -> None:
    code = (
        "import sys; from adaptune.tasks import TASKS; from adaptune.core.types import Row\n"
        "for name in TASKS.names(): TASKS.get(name)\n"
        "TASKS.get('classify')().example(Row('x', 1, {'text': 'a', 'label': 'b'}))\n"
        "print([m for m in ('torch', 'sklearn', 'seqeval', 'transformers') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
