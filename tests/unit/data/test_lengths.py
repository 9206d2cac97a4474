"""Lengths in tokens."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from adaptune.core.types import Example, Row, Sequence
from adaptune.data.lengths import lengths


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    return AutoTokenizer.from_pretrained(tiny_bert)


def example(number, *sequences):
    return Example(Row("train.csv", number, {}), sequences)


def test_special_tokens_and_second_parts_count(tokenizer):
    found = lengths(
        [
            example(2, Sequence("good")),  # [CLS] good [SEP]
            example(3, Sequence("good", "bad")),  # [CLS] good [SEP] bad [SEP]
            example(4, Sequence(("good", "bad", "so"), overflow="window")),
            example(5, Sequence("good"), Sequence("so so so so so so")),
        ],
        tokenizer,
        max_length=6,
    )
    assert (found.median, found.most, found.nearly_all, found.longest) == (5, 8, 8, 8)
    assert (found.cut, found.windowed) == (("train.csv, row 5",), ())


def test_rows_that_are_cut_and_rows_that_are_windowed_are_told_apart(tokenizer):
    found = lengths(
        [
            example(2, Sequence("so so so so so")),
            example(3, Sequence(("so",) * 6, overflow="window")),
            example(4, Sequence("so so")),
        ],
        tokenizer,
        max_length=6,
    )
    assert [(finding.level, str(finding)) for finding in found.findings()] == [
        ("note", "tokens a row: half have at most 7, 90 % 8, 99 % 8, the longest 8; the model reads 6"),
        (
            "warning",
            (
                "1 row is longer and loses its end; raise model.max_length where the model allows it, or shorten them "
                "[train.csv, row 2]"
            ),
        ),
        ("note", "1 row is longer and read in overlapping windows [train.csv, row 3]"),
    ]


def test_a_row_just_as_long_as_the_model_reads_is_whole(tokenizer):
    assert lengths([example(2, Sequence("so so so so"))], tokenizer, max_length=6).cut == ()


def test_texts_far_longer_than_the_model_give_no_warning_of_the_tokenizer(tokenizer):
    assert lengths([example(2, Sequence("so " * 5000))], tokenizer, max_length=128).longest == 5002
