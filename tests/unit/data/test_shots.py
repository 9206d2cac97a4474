"""A few rows of each label: which ones, and what is said where there are fewer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from adaptune.core.errors import DataError
from adaptune.core.types import (
    Example,
    OfLabels,
    OfMarked,
    OfNumber,
    OfSequence,
    OfText,
    OfWords,
    Row,
    Sequence,
    Target,
)
from adaptune.data.config import DataConfig
from adaptune.data.load import load_splits
from adaptune.data.shots import few, fewer
from adaptune.tasks import TASKS


def _examples(*targets: Target, expected: object = None) -> list[Example]:
    return [
        Example(Row("rows.csv", number, {}), (Sequence(f"text {number}", None, target),), expected)
        for number, target in enumerate(targets, start=1)
    ]


LABELLED = _examples(*[OfSequence(label) for label in "abcabcabcabaaa"])


def _drawn(shots: int, draw: int = 1) -> list[str]:
    return [LABELLED[place].sequences[0].target.value for place in few(LABELLED, shots, draw)]  # type: ignore[union-attr]


def test_each_label_has_as_many_rows_as_asked_for_or_all_that_it_has() -> None:
    assert Counter(_drawn(2)) == {"a": 2, "b": 2, "c": 2}
    assert Counter(_drawn(4)) == {"a": 4, "b": 4, "c": 3}
    assert _drawn(0) == []


def test_fewer_shots_are_among_more_of_the_same_draw() -> None:
    assert set(few(LABELLED, 1, 3)) < set(few(LABELLED, 2, 3)) < set(few(LABELLED, 4, 3))
    assert few(LABELLED, 2, 3) == sorted(few(LABELLED, 2, 3))


def test_the_draw_decides_which_rows() -> None:
    draws = {tuple(few(LABELLED, 2, draw)) for draw in range(1, 9)}
    assert len(draws) > 4
    assert few(LABELLED, 2, 1) == few(LABELLED, 2, 1)


def test_rows_of_one_label_do_not_depend_on_those_of_others() -> None:
    only = [example for example in LABELLED if example.sequences[0].target != OfSequence("b")]
    kept = [LABELLED[place] for place in few(LABELLED, 2, 1)]
    assert [only[place] for place in few(only, 2, 1)] == [example for example in kept if example in only]


def test_a_row_of_several_labels_is_taken_where_one_of_them_has_too_few() -> None:
    rows = _examples(*[OfLabels(labels) for labels in (("a", "b"), ("a",), ("b",), ("a", "b"), ())])
    counts = Counter(label for place in few(rows, 1, 1) for label in rows[place].sequences[0].target.values)  # type: ignore[union-attr]
    assert counts["a"] >= 1
    assert counts["b"] >= 1
    assert 4 not in few(rows, 1, 1)


def test_of_tagged_words_types_of_entities_are_counted() -> None:
    tags = ("B-place", "I-place", "O")
    rows = _examples(*[OfWords(tags)] * 5, expected=tags)
    assert len(few(rows, 2, 1)) == 2


def test_relations_are_labels() -> None:
    assert len(few(_examples(*[OfMarked("cause")] * 3), 1, 1)) == 1


@pytest.mark.parametrize("target", [OfNumber(1.0), OfText("a text")], ids=["a number", "a text"])
def test_answers_that_are_no_labels_are_refused(target: Target) -> None:
    with pytest.raises(DataError, match=r"the answer of rows.csv, row 1 is none.*use data.train_rows"):
        few(_examples(target), 2, 1)


def test_labels_with_fewer_rows_are_named() -> None:
    assert fewer(LABELLED, 4) == "data.shots is 4, and these labels have fewer training rows: c (3)"
    assert fewer(LABELLED, 3) is None


def test_a_run_has_the_shots_of_its_training_rows_and_all_others(tmp_path: Path) -> None:
    lines = [f"review number {number},{'bad' if number % 3 == 0 else 'good'}" for number in range(90)]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    task = TASKS.make({"name": "classify"})

    def load(**settings: int) -> dict[str, list[int]]:
        config = DataConfig.model_validate({"train": str(tmp_path / "reviews.csv")} | settings)
        parts = load_splits(config, task, seed=1).parts
        return {name: [example.row.number for example in part] for name, part in parts.items()}

    whole, drawn, other = load(), load(shots=4), load(shots=4, draw=2)
    assert len(drawn["train"]) == 8
    assert set(drawn["train"]) < set(whole["train"])
    assert (drawn["valid"], drawn["test"]) == (whole["valid"], whole["test"])
    assert drawn["train"] != other["train"]


def test_without_shots_the_labels_are_still_known(tmp_path: Path) -> None:
    lines = [f"review number {number},{'bad' if number % 3 == 0 else 'good'}" for number in range(90)]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    config = DataConfig(train=str(tmp_path / "reviews.csv"), shots=0)
    splits = load_splits(config, TASKS.make({"name": "classify"}), seed=1)
    assert (splits.train, splits.named) == ((), ("bad", "good"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shots": 2, "train_rows": 9}, "leave one of them out"),
        ({"draw": 2}, "nothing would be drawn; set shots"),
        ({"train": None, "valid": "valid.csv", "shots": 2}, "leave them out, or name it"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataConfig.model_validate({"train": "train.csv"} | settings)
