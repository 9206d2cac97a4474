"""What is remarked about labelled rows."""

from __future__ import annotations

import json

import pytest

from adaptune.core.types import Row
from adaptune.data.doctor import class_counts, diagnose
from adaptune.data.findings import Finding, Findings
from adaptune.data.table import Rejected
from adaptune.tasks.classify import Classify
from adaptune.tasks.tag import Tag


def texts(source, *rows):
    """Classified examples from line 2 on: pairs of text and label, or a text alone."""
    task = Classify()
    values = [{"text": row} if isinstance(row, str) else {"text": row[0], "label": row[1]} for row in rows]
    return [task.example(Row(source, number, value)) for number, value in enumerate(values, 2)]


def sentences(source, *rows):
    """Tagged examples from line 1 on: words with their tags, `Ann/B-PER ran/O`."""
    task = Tag()
    pairs = [[word.split("/") for word in row.split()] for row in rows]
    values = [{"tokens": [word for word, _ in row], "tags": [tag for _, tag in row]} for row in pairs]
    return [task.example(Row(source, number, value)) for number, value in enumerate(values, 1)]


GOOD = [(f"fine {number}", "good") for number in range(6)]
BAD = [(f"awful {number}", "bad") for number in range(6)]


def found(findings, level):
    return [str(finding) for finding in findings.all if finding.level == level]


def test_there_is_nothing_to_remark_about_good_data():
    findings = diagnose(
        {"train": texts("train.csv", *GOOD, *BAD), "test": texts("test.csv", ("so", "good"))}, Classify()
    )
    assert findings == Findings((), {"train": 12, "test": 1}, {"train": {"bad": 6, "good": 6}, "test": {"good": 1}})
    assert str(findings).splitlines() == [
        "rows: train 12, test 1",
        "class    train     test",
        "bad          6        0",
        "good         6        1",
        "nothing to remark",
    ]


def test_a_label_that_no_training_row_has_is_an_error():
    splits = {"train": texts("train.csv", *GOOD, *BAD), "test": texts("test.csv", ("so", "mixed"), ("la", "mixed"))}
    findings = diagnose(splits, Classify())
    assert [str(error) for error in findings.errors] == [
        (
            "test: the label 'mixed' stands in no training row; add training rows of it, or correct "
            "or remove these rows "
            "[test.csv, rows 2, 3]"
        )
    ]


def test_a_type_that_no_training_row_has_is_an_error():
    splits = {
        "train": sentences("train.conll", "Ann/B-PER ran/O"),
        "valid": sentences("dev.conll", "New/B-LOC York/I-LOC"),
    }
    assert [str(error) for error in diagnose(splits, Tag()).errors] == [
        (
            "valid: the label 'LOC' stands in no training row; add training rows of it, or correct or remove this row "
            "[dev.conll, row 1]"
        )
    ]


def test_a_longer_entity_of_a_known_type_is_none():
    splits = {
        "train": sentences("train.conll", "Ann/B-PER ran/O"),
        "valid": sentences("dev.conll", "Bo/B-PER Li/I-PER"),
    }
    assert diagnose(splits, Tag()).errors == ()


def test_a_single_label_is_an_error():
    assert "only the label 'good'" in found(diagnose({"train": texts("train.csv", *GOOD)}, Classify()), "error")[0]


def test_unlabelled_rows_are_an_error():
    findings = diagnose({"train": texts("train.csv", *GOOD, *BAD, "why")}, Classify())
    assert found(findings, "error") == ["train: 1 row without a label; label or remove them [train.csv, row 14]"]


def test_rows_that_could_not_be_used_are_errors():
    rejected = [Rejected("train.csv", 9, "column 'text': the text '' is empty; fill it or remove the row")]
    findings = diagnose({"train": texts("train.csv", *GOOD, *BAD)}, Classify(), rejected)
    assert found(findings, "error") == [
        "train.csv, row 9, column 'text': the text '' is empty; fill it or remove the row"
    ]


def test_an_empty_word_list_is_an_error():
    example = sentences("train.conll", "Ann/B-PER ran/O")[0]
    empty = Row("train.conll", 5, {})
    blank = type(example)(empty, (type(example.sequences[0])((" ",)),), ("O",))
    findings = diagnose({"train": [example, blank]}, Tag())
    assert "train: 1 row without text; fill or remove them [train.conll, row 5]" in found(findings, "error")


def test_repeated_rows_are_a_warning():
    findings = diagnose({"train": texts("train.csv", *GOOD, *BAD, ("fine  0", "good"), ("fine 1", "good"))}, Classify())
    assert found(findings, "warning") == [
        (
            "train: 2 rows with the text and label of an earlier one; remove repetitions that your "
            "users' data would not "
            "have [train.csv, rows 14 (as in row 2), 15 (as in row 3)]"
        )
    ]


@pytest.mark.parametrize(
    ("parts", "one", "other"), [(("train", "test"), "train", "test"), (("train", "valid"), "train", "valid")]
)
def test_a_text_in_two_parts_is_a_warning(parts, one, other):
    splits = {parts[0]: texts("a.csv", *GOOD, *BAD), parts[1]: texts("b.csv", ("new", "bad"), ("fine 3", "good"))}
    assert found(diagnose(splits, Classify()), "warning") == [
        (
            f"1 row of {other} has a text that is also in {one}, which flatters the scores; remove it from one of them "
            "[b.csv, row 3 (as in a.csv, row 5)]"
        )
    ]


def test_a_text_with_two_labels_is_a_warning():
    findings = diagnose({"train": texts("train.csv", *GOOD, *BAD, ("fine 0", "bad"))}, Classify())
    assert found(findings, "warning") == [
        (
            "1 row with a text that has another label elsewhere; correct the labels, or remove one of each pair "
            "[train.csv, row 14 (as in row 2: 'bad', there 'good')]"
        )
    ]


def test_a_sentence_with_two_taggings_is_a_warning():
    splits = {"train": sentences("train.conll", "May/B-PER ran/O", "May/O ran/O")}
    assert "1 row with a text that has another label elsewhere" in found(diagnose(splits, Tag()), "warning")[0]


def test_rare_classes_are_a_warning_and_uneven_ones_a_note():
    findings = diagnose(
        {"train": texts("train.csv", *[(f"x {n}", "often") for n in range(40)], *BAD, *GOOD[:4])}, Classify()
    )
    assert found(findings, "warning") == ["train: fewer than 5 items of good 4; add rows of them, or leave them out"]
    assert found(findings, "note") == [
        (
            "train: 'often' is 10 times as frequent as 'good' (40 to 4); rare classes are easily "
            "missed: watch macro_f1, or "
            "weight the classes"
        )
    ]


def test_tagged_words_are_counted_as_spans():
    examples = sentences("train.conll", "Ann/B-PER Lee/I-PER saw/O Bo/B-PER", "in/O Rome/B-LOC")
    assert class_counts(examples) == {"PER": 2, "LOC": 1}


def test_errors_come_first_and_all_of_it_is_json():
    rows = [("same", "good")] * 2
    findings = diagnose(
        {"train": texts("train.csv", *GOOD, *BAD, *rows), "test": texts("t.csv", ("so", "odd"))}, Classify()
    )
    assert [finding.level for finding in findings.all] == ["error", "warning"]
    record = json.loads(json.dumps(findings.record()))
    assert record["rows"] == {"train": 14, "test": 1}
    assert record["counts"]["test"] == {"odd": 1}
    assert record["findings"][1]["level"] == "warning"
    assert record["findings"][1]["rows"] == ["train.csv, row 15 (as in row 14)"]


def test_more_findings_are_added_by_their_weight():
    findings = Findings((Finding("note", "b"),), {}, {}).plus([Finding("note", "c"), Finding("error", "a")])
    assert [finding.text for finding in findings.all] == ["a", "b", "c"]
    assert [finding.text for finding in findings.errors] == ["a"]


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ((), "odd"),
        (("a.csv, row 2",), "odd [a.csv, row 2]"),
        (("a.csv, row 2", "b.csv, row 2"), "odd [a.csv, row 2; b.csv, row 2]"),
        (tuple(f"a.csv, row {n}" for n in range(1, 9)), "odd [a.csv, rows 1, 2, 3, 4, 5 and 3 more]"),
    ],
)
def test_a_finding_names_a_few_rows_and_their_file_once(rows, text):
    assert str(Finding("note", "odd", rows)) == text
