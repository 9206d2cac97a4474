from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from adaptune.core.errors import DataError
from adaptune.core.types import Answer, Example, OfNumber, OfRow, OfSequence, Row, Sequence
from adaptune.tasks.match import Match


def _row(label: Any, number: int = 2) -> Row:
    return Row("rows.csv", number, {"text": "a cat", "pair": "one cat", "label": label})


@pytest.mark.parametrize(
    ("kind", "label", "sequences"),
    [
        ("label", "1", (Sequence("a cat", "one cat", OfSequence("1")),)),
        ("score", "4.5", (Sequence("a cat", "one cat", OfNumber(4.5)),)),
    ],
)
def test_a_cross_encoder_reads_both_texts_as_one_sequence(kind: Any, label: str, sequences: Any) -> None:
    assert Match(kind=kind).example(_row(label)).sequences == sequences


@pytest.mark.parametrize(("kind", "label", "value"), [("label", "1", "1"), ("score", "4.5", 4.5)])
def test_a_bi_encoder_reads_each_text_by_itself(kind: Any, label: str, value: Any) -> None:
    example = Match(kind=kind, encoder="bi").example(_row(label))
    assert example.sequences == (Sequence("a cat", target=OfRow(value)), Sequence("one cat", target=OfRow(value)))
    assert example.expected == value


@pytest.mark.parametrize(
    ("kind", "encoder", "head", "metric", "target"),
    [
        ("label", "cross", "classify", "accuracy", OfSequence),
        ("score", "cross", "regress", "spearman", OfNumber),
        ("label", "bi", "similarity", "accuracy", OfRow),
        ("score", "bi", "similarity", "spearman", OfRow),
    ],
)
def test_head_metric_and_target_follow_kind_and_encoder(
    kind: Any, encoder: Any, head: str, metric: str, target: type
) -> None:
    task = Match(kind=kind, encoder=encoder)
    assert (task.default_head, task.metric, task.target) == (head, metric, target)
    assert metric in task.metrics


def test_the_counts_of_scores_give_spearmans_correlation() -> None:
    generator = np.random.default_rng(0)
    predicted, expected = generator.normal(size=30).tolist(), generator.integers(0, 6, 30).astype(float).tolist()
    task = Match(kind="score")
    found = float(task.metric_of(task.counts(predicted, expected).sum(axis=0)))
    assert found == pytest.approx(spearmanr(predicted, expected).statistic)
    assert found == pytest.approx(task.score(predicted, expected).values["spearman"])


def test_scores_that_are_read_as_labels_are_refused() -> None:
    examples = [Match().example(_row(str(number / 10), number)) for number in range(30)]
    with pytest.raises(DataError, match=r"30 different numbers, such as 0\.1; .*set task\.kind: score"):
        Match().labels(examples)


def test_a_label_that_is_read_as_a_score_is_refused_by_row() -> None:
    with pytest.raises(DataError, match=r"rows\.csv, row 2, column 'label': 'yes' is no finite number"):
        Match(kind="score").example(_row("yes"))


@pytest.mark.parametrize("kind", ["label", "score"])
def test_the_cosine_of_word_vectors_is_a_baseline_that_sees_both_texts(kind: Any) -> None:
    task = Match(kind=kind)
    rows = [("a cat sits", "a cat sits", 1), ("a dog runs", "a dog runs", 1), ("birds fly", "fish swim", 0)] * 4
    examples: list[Example] = [
        task.example(Row("rows.csv", line, {"text": one, "pair": two, "label": label}))
        for line, (one, two, label) in enumerate(rows, 2)
    ]
    answers = task.baselines(examples, examples)["tfidf_cosine"]
    assert task.score(answers, [example.expected for example in examples]).values[task.metric] > 0.9


def test_answers_are_described_by_kind() -> None:
    assert Match().describe(Match().example(_row("1")), Answer("1", 0.9)) == {"label": "1", "probability": 0.9}
    task = Match(kind="score")
    assert task.describe(task.example(_row("1")), Answer(3.5, None)) == {"score": 3.5}
