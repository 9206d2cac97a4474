"""CoNLL files: sentences, columns, comments."""

from __future__ import annotations

import pytest

from adaptune.core.errors import DataError
from adaptune.data.config import DataConfig
from adaptune.data.formats.conll import read_conll


def conll(text, **settings):
    return read_conll(text, "train.conll", DataConfig(train="train.conll", **settings))


def values(table):
    return [(record.number, *record.values.values()) for record in table.records]


@pytest.mark.parametrize(
    "text",
    [
        "Ann\tB-PER\nran\tO\n\nBob\tB-PER\n",
        "Ann B-PER\nran O\n\nBob B-PER",
        "Ann  B-PER\nran     O\n \nBob   B-PER\n\n",
        "Ann\tB-PER\r\nran\tO\r\n\t\r\nBob\tB-PER\r\n",
    ],
)
def test_a_blank_line_ends_a_sentence_numbered_by_its_first_line(text):
    table = conll(text)
    assert table.columns == ("tokens", "tags")
    assert values(table) == [(1, ["Ann", "ran"], ["B-PER", "O"]), (4, ["Bob"], ["B-PER"])]


def test_any_columns_hold_word_and_tag():
    text = "1 Ann NNP B-PER I-SBJ\n2 ran VBD O O\n"
    assert values(conll(text, token_column=2)) == [(1, ["Ann", "ran"], ["I-SBJ", "O"])]
    assert values(conll(text, token_column=2, tag_column=4)) == [(1, ["Ann", "ran"], ["B-PER", "O"])]


def test_document_marks_part_sentences_and_are_no_words():
    text = "-DOCSTART- -X- O O\n\nAnn NNP - I-PER\n-DOCSTART- -X- O O\nran VBD - O\n"
    assert values(conll(text)) == [(3, ["Ann"], ["I-PER"]), (5, ["ran"], ["O"])]


@pytest.mark.parametrize(
    "text",
    [
        "# id = 1\n# text = Ann ran\nAnn\tB-PER\nran\tO\n",
        "# id = 1\n# text = Ann ran\nAnn B-PER\nran O\n",
        "# comment\n# comment\nAnn B-PER\nran O\n",
    ],
)
def test_comments_before_a_sentence_are_passed_over(text):
    assert values(conll(text)) == [(3, ["Ann", "ran"], ["B-PER", "O"])]


@pytest.mark.parametrize("text", ["# O\n1 B-X\n", "#\tO\n1\tB-X\n"])
def test_the_word_that_is_a_hash_is_no_comment(text):
    assert values(conll(text)) == [(1, ["#", "1"], ["O", "B-X"])]


def test_an_ideographic_space_is_a_word():
    assert values(conll("张 B-NAME\n\u3000 O\n三 B-NAME\n")) == [(1, ["张", "\u3000", "三"], ["B-NAME", "O", "B-NAME"])]


def test_a_word_may_hold_spaces_where_tabs_stand_between_columns():
    assert values(conll("New York\tB-LOC\n.\tO\n")) == [(1, ["New York", "."], ["B-LOC", "O"])]


def test_a_file_of_words_alone_has_no_tags():
    table = conll("Ann\nran\n\nBob\n")
    assert table.columns == ("tokens",)
    assert values(table) == [(1, ["Ann", "ran"]), (4, ["Bob"])]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ran", "1 column in 'ran'; expected 2, as in the file's first line"),
        ("ran VBD O", "3 columns in 'ran VBD O'; expected 2, as in the file's first line"),
    ],
)
def test_a_sentence_with_a_line_of_other_columns_is_set_aside_by_that_line(line, reason):
    table = conll(f"Ann B-PER\n{line}\nfast O\n\nBob B-PER\n")
    assert values(table) == [(5, ["Bob"], ["B-PER"])]
    assert [str(rejected) for rejected in table.rejected] == [f"train.conll, row 2: {reason}"]


def test_an_empty_word_is_set_aside():
    table = conll("Ann\tB-PER\n\tO\n\nBob\tB-PER\n")
    assert [record.number for record in table.records] == [4]
    assert str(table.rejected[0]).startswith("train.conll, row 2, column 1: the word is empty in '\\tO'")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tag_column": 3}, "data.tag_column is 3, but train.conll has 2 columns; count from 1"),
        ({"token_column": 3}, "data.token_column is 3, but train.conll has 2 columns; count from 1"),
        ({"tag_column": 1}, "data.token_column and data.tag_column are both 1; name two different columns"),
    ],
)
def test_columns_that_are_not_there_are_refused(settings, message):
    with pytest.raises(DataError, match=message):
        conll("Ann B-PER\n", **settings)
