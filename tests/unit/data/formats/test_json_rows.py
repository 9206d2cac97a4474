"""JSON: one object a line, or one list."""

from __future__ import annotations

import pytest

from adaptune.core.errors import DataError
from adaptune.data.formats.json_rows import read_json, read_jsonl


def values(table):
    return [(record.number, dict(record.values)) for record in table.records]


def test_every_line_is_a_row_and_blank_lines_are_none():
    table = read_jsonl('{"text": "good", "label": 1}\r\n\r\n{"text": "a\\nb", "extra": null}\n', "train.jsonl")
    assert values(table) == [(1, {"text": "good", "label": 1}), (3, {"text": "a\nb", "extra": None})]
    assert table.columns == ("text", "label", "extra")


def test_separators_of_unicode_within_a_text_end_no_line():
    assert values(read_jsonl('{"text": "a\u2028b"}\n', "train.jsonl")) == [(1, {"text": "a\u2028b"})]


def test_a_half_written_last_line_is_named_as_such():
    table = read_jsonl('{"text": "good", "label": 1}\n{"text": "ba', "train.jsonl")
    assert values(table) == [(1, {"text": "good", "label": 1})]
    assert table.rejected[0].where == "train.jsonl, row 2"
    assert table.rejected[0].reason == (
        'not valid JSON at position 10 (Unterminated string starting at): \'{"text": "ba\'; '
        "it is the last line and was probably cut off: complete or remove it"
    )


def test_a_bad_line_in_the_middle_is_set_aside():
    table = read_jsonl('{"text": "good"}\n{text: bad}\n{"text": "fine"}\n', "train.jsonl")
    assert [record.number for record in table.records] == [1, 3]
    assert table.rejected[0].where == "train.jsonl, row 2"
    assert table.rejected[0].reason.endswith("'{text: bad}'; correct or remove it")


@pytest.mark.parametrize("line", ['["good", 1]', '"good"', "3", "null"])
def test_a_line_that_is_no_object_is_set_aside(line):
    table = read_jsonl(line + "\n", "train.jsonl")
    assert table.records == []
    assert 'is no row; expected an object, {"text": ..., "label": ...}' in table.rejected[0].reason


def test_nesting_without_end_is_set_aside():
    table = read_jsonl("[" * 100_000 + "\n", "train.jsonl")
    assert table.rejected[0].number == 1


@pytest.mark.parametrize(
    "text",
    ['[{"text": "good"}, {"text": "bad"}]', '{"data": [{"text": "good"}, {"text": "bad"}], "version": "1.1"}'],
)
def test_a_list_of_objects_is_read_bare_or_under_data(text):
    assert values(read_json(text, "train.json")) == [(1, {"text": "good"}), (2, {"text": "bad"})]


def test_an_item_that_is_no_object_is_set_aside():
    table = read_json('[{"text": "good"}, "bad"]', "train.json")
    assert [str(rejected) for rejected in table.rejected] == [
        'train.json, row 2: \'bad\' is no row; expected an object, {"text": ..., "label": ...}'
    ]


def test_a_json_file_that_holds_an_object_a_line_is_read_so_and_named():
    table = read_json('{"text": "good"}\n{"text": "bad"}\n', "train.json")
    assert values(table) == [(1, {"text": "good"}), (2, {"text": "bad"})]
    assert table.notices == ["train.json holds one JSON object a line; it is read as jsonl"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"text": "good"},\n{"text": "ba', "train.json, row 2: not valid JSON at position 10 .* it is the last line"),
        ('{"train": [], "test": []}', "holds an object with 'train', 'test'; expected a list of objects"),
        ('"text"', "holds 'text'; expected a list of objects"),
    ],
)
def test_a_file_without_a_list_of_rows_is_refused(text, message):
    with pytest.raises(DataError, match=message):
        read_json(text, "train.json")


def test_lists_of_rows_by_relation_are_rows_with_a_relation():
    text = '{"Cause": [{"tokens": ["a"], "h": 1, "t": 2}, {"tokens": ["b"], "h": 1, "t": 2}], "Part": [%s]}'
    text = text % '{"tokens": ["c"], "h": 1, "t": 2}'
    table = read_json(text, "fewrel.json")
    assert table.columns == ("relation", "tokens", "h", "t")
    assert [(number, values["relation"], values["tokens"]) for number, values in table.records] == [
        (1, "Cause", ["a"]),
        (2, "Cause", ["b"]),
        (3, "Part", ["c"]),
    ]
