"""Which column of a file is which of the task's."""

from __future__ import annotations

import pytest

from adaptune.core.errors import DataError
from adaptune.core.task import Column
from adaptune.data.columns import resolve
from adaptune.data.table import Table

CLASSIFY = (
    Column("text", "what is classified", ("sentence", "review")),
    Column("pair", "a second text", ("sentence2",), required=False),
    Column("label", "its class", ("category", "intent"), label=True),
)
TAG = (
    Column("tokens", "the words", ("words",), required=False),
    Column("text", "in place of words", ("sentence",), required=False),
    Column("tags", "a tag a word", ("ner_tags",), required=False, label=True),
    Column("spans", "in place of tags", ("entities",), required=False, label=True),
)


def table(*columns):
    return Table("train.csv", columns, [])


@pytest.mark.parametrize(
    ("found", "mapping", "chosen"),
    [
        (("text", "label"), {}, {"text": "text", "label": "label"}),
        (("label", "id", "text"), {}, {"text": "text", "label": "label"}),
        (("Text", "LABEL"), {}, {"text": "Text", "label": "LABEL"}),
        (("review", "category"), {}, {"text": "review", "label": "category"}),
        (("Sentence", "sentence2", "intent"), {}, {"text": "Sentence", "pair": "sentence2", "label": "intent"}),
        (("text", "review", "label"), {}, {"text": "text", "label": "label"}),
        (("text", "review", "label"), {"text": "review"}, {"text": "review", "label": "label"}),
        (("text", "body", "mood"), {"text": "body", "label": "mood"}, {"text": "body", "label": "mood"}),
        (("Text", "text", "label"), {}, {"text": "text", "label": "label"}),
        (("title", "text", "label"), {"text": "title", "label": "text"}, {"text": "title", "label": "text"}),
    ],
)
def test_columns_are_mapped_or_found_by_name(found, mapping, chosen):
    assert resolve(table(*found), CLASSIFY, mapping, labelled=True) == chosen


def test_a_column_that_is_mapped_elsewhere_is_not_found_again():
    columns = (Column("text", "first", ("sentence",)), Column("pair", "second", ("sentence",), required=False))
    assert resolve(table("sentence"), columns, {"text": "sentence"}, labelled=False) == {"text": "sentence"}


def test_labels_are_not_read_where_rows_are_only_predicted():
    assert resolve(table("text", "label"), CLASSIFY, {}, labelled=False) == {"text": "text"}
    assert resolve(table("text"), CLASSIFY, {"label": "mood"}, labelled=False) == {"text": "text"}


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        (("tokens", "ner_tags", "pos_tags"), {"tokens": "tokens", "tags": "ner_tags"}),
        (("text", "entities"), {"text": "text", "spans": "entities"}),
    ],
)
def test_columns_that_stand_for_each_other_need_one_of_them(found, chosen):
    assert resolve(table(*found), TAG, {}, labelled=True) == chosen


@pytest.mark.parametrize(
    ("found", "columns", "mapping", "message"),
    [
        (
            ("text", "mood"),
            CLASSIFY,
            {},
            (
                "train.csv has no column for 'label' (its class); it has: 'text', 'mood'; say which it is: "
                "data.columns: {label: NAME}"
            ),
        ),
        (
            ("body", "mood"),
            CLASSIFY,
            {},
            (
                "train.csv has no column for 'text' (what is classified) and 'label' (its class); "
                "it has: 'body', 'mood'; "
                "say which it is: data.columns: {text: NAME, label: NAME}"
            ),
        ),
        (
            ("sentence", "review", "label"),
            CLASSIFY,
            {},
            (
                "train.csv: the column 'text' (what is classified) could be 'sentence' or 'review'; say which: "
                "data.columns: {text: sentence}"
            ),
        ),
        (
            ("Label", "LABEL", "text"),
            CLASSIFY,
            {},
            (
                "train.csv: the column 'label' (its class) could be 'Label' or 'LABEL'; say which: "
                "data.columns: {label: Label}"
            ),
        ),
        (
            ("text", "label"),
            CLASSIFY,
            {"label": "lable"},
            (
                "train.csv has no column 'lable', which data.columns gives for 'label'; did you mean 'label'? "
                "(it has: 'text', 'label')"
            ),
        ),
        (
            ("text", "label"),
            CLASSIFY,
            {"labels": "label"},
            "data.columns: the task has no column 'labels'; did you mean 'label'? (it has: text, pair, label)",
        ),
        (
            ("text", "label"),
            TAG,
            {},
            (
                "train.csv has no column for 'tags' (a tag a word) or 'spans' (in place of tags); "
                "it has: 'text', 'label'; "
                "say which it is: data.columns: {tags: NAME}"
            ),
        ),
        (
            (),
            TAG,
            {},
            (
                "train.csv has no column for 'tokens' (the words) or 'text' (in place of words); it has: none; "
                "say which it is: data.columns: {tokens: NAME}"
            ),
        ),
    ],
)
def test_what_cannot_be_found_or_told_apart_is_refused_with_what_is_there(found, columns, mapping, message):
    with pytest.raises(DataError) as caught:
        resolve(table(*found), columns, mapping, labelled=True)
    assert str(caught.value) == message


def test_of_very_many_columns_twenty_are_named():
    with pytest.raises(DataError, match=r"'c18', 'c19', and 80 more; say which"):
        resolve(table(*[f"c{number}" for number in range(100)]), CLASSIFY, {}, labelled=True)


def test_a_long_first_line_that_is_no_header_is_shortened_and_the_remedy_named():
    wrong = Table("train.csv", ("x" * 500, "1"), [], hint="; set data.header: false")
    with pytest.raises(DataError) as caught:
        resolve(wrong, CLASSIFY, {}, labelled=True)
    assert len(str(caught.value)) < 300
    assert str(caught.value).endswith("; set data.header: false")
