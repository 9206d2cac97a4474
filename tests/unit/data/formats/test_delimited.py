"""csv and tsv: rows, fields, quotes, delimiters."""

from __future__ import annotations

import pytest

from adaptune.core.errors import DataError
from adaptune.data.config import DataConfig
from adaptune.data.formats.delimited import read_delimited


def csv(text, **settings):
    return read_delimited(text, "train.csv", DataConfig(train="train.csv", **settings), ",")


def tsv(text, **settings):
    return read_delimited(text, "train.tsv", DataConfig(train="train.tsv", **settings), "\t")


def values(table):
    return [(record.number, *record.values.values()) for record in table.records]


def test_a_row_is_numbered_by_the_line_where_it_starts():
    table = csv('text,label\n"two\nlines",a\n\nplain,b\n')
    assert table.columns == ("text", "label")
    assert values(table) == [(2, "two\nlines", "a"), (5, "plain", "b")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system_are_read(end):
    assert values(csv(end.join(["text,label", "good,1", "bad,0", ""]))) == [(2, "good", "1"), (3, "bad", "0")]


def test_a_file_without_a_last_line_end_keeps_its_last_row():
    assert values(csv("text,label\ngood,1")) == [(2, "good", "1")]


def test_lines_of_white_space_are_no_rows():
    assert values(csv("text,label\n\n  \ngood,1\n\t\n")) == [(4, "good", "1")]


def test_quoted_fields_hold_delimiters_and_quotes():
    assert values(csv('text,label\n"so, ""good""",1\n')) == [(2, 'so, "good"', "1")]


def test_a_quote_within_a_field_is_text():
    assert values(csv('text,label\n5" screen,1\n')) == [(2, '5" screen', "1")]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("text;label\nso, good;1\n", "semicolons"),
        ("text\tlabel\nso, good\t1\n", "tabs"),
        ("text|label\nso, good|1\n", "vertical bars"),
    ],
)
def test_another_delimiter_is_found_and_named(text, named):
    table = csv(text)
    assert values(table) == [(2, "so, good", "1")]
    assert table.notices == [
        f"train.csv is read as separated by {named}, as its first line is; else set data.delimiter"
    ]


def test_of_two_delimiters_in_the_header_the_one_that_fits_the_rows_is_taken():
    table = csv("text;label (a, b)\nfine;a\nso, so, so;b\n")
    assert values(table) == [(2, "fine", "a"), (3, "so, so, so", "b")]


def test_a_delimiter_that_is_given_is_used_without_a_word():
    table = csv("text;label\ngood;1\n", delimiter=";")
    assert values(table) == [(2, "good", "1")]
    assert table.notices == []


def test_a_single_column_needs_no_delimiter():
    assert values(csv("text\ngood\nbad\n")) == [(2, "good"), (3, "bad")]


def test_columns_without_a_header_are_numbered():
    table = tsv("7\t-0.5\tbad\n8\t2.5\tgood\n", header=False)
    assert table.columns == ("1", "2", "3")
    assert values(table) == [(1, "7", "-0.5", "bad"), (2, "8", "2.5", "good")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("good", "1 field separated by comma, the last 'good'; the header has 2 (text, label); fill the missing ones"),
        (
            "so, so,1",
            (
                "3 fields separated by comma, the last '1'; the header has 2 (text, label); "
                "a field that holds the delimiter must be in double quotes"
            ),
        ),
    ],
)
def test_a_row_with_another_number_of_fields_is_set_aside(row, reason):
    table = csv(f"text,label\nfine,1\n{row}\nbad,0\n")
    assert values(table) == [(2, "fine", "1"), (4, "bad", "0")]
    assert [(rejected.where, rejected.reason) for rejected in table.rejected] == [("train.csv, row 3", reason)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('text,label\nfine,1\n"never closed,0\nbad, bad,0\n', "train.csv, row 3: a quoted field never ends"),
        (
            'text,label\nfine,1\n"closed" too early,0\na,b,c\n',
            "train.csv, row 3: a quoted field has text behind its closing",
        ),
        (
            'text,label\nfine,1\n"opened,0\nbad,1\nclosed",0\n',
            "train.csv, row 3: a quote would join it with the lines below",
        ),
        ('text,label\n"never closed,0\nbad,0\n', "train.csv, row 2: a quoted field never ends"),
    ],
)
def test_quotes_that_do_not_fit_are_refused_by_the_row_where_they_open(text, message):
    with pytest.raises(DataError, match=message) as caught:
        csv(text)
    assert "double every quote inside a quoted field, or set data.quotes: none" in str(caught.value)


def test_quotes_can_be_declared_text():
    assert values(csv('text,label\n"never closed,0\n', quotes="none")) == [(2, '"never closed', "0")]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ('"Go" he said\t1\nfine\t0\n', "row 2: a quoted field has text behind its closing quote"),
        (
            '"it begins\t1\nfine\t1\nit ends"\t0\n',
            "row 2: a quote would join it with the lines below, which are whole rows",
        ),
    ],
)
def test_quotes_of_a_tsv_file_that_are_text_are_read_so_and_named(rows, why):
    table = tsv("text\tlabel\n" + rows)
    assert [record.values["text"] for record in table.records] == [row.split("\t")[0] for row in rows.splitlines()]
    assert table.notices == [f"train.tsv: quotes are read as text ({why}); data.quotes: double forbids it"]
    with pytest.raises(DataError, match="row 2"):
        tsv("text\tlabel\n" + rows.splitlines()[0], quotes="double")


def test_proper_quotes_of_a_tsv_file_are_taken_off():
    assert values(tsv('text\tlabel\n"a ""b"" c"\t1\n')) == [(2, 'a "b" c', "1")]


def test_a_quoted_tsv_field_may_hold_line_ends():
    table = tsv('text\tlabel\n"two\nlines"\t1\nfine\t0\n')
    assert values(table) == [(2, "two\nlines", "1"), (4, "fine", "0")]
    assert table.notices == []


def test_a_header_that_names_a_column_twice_is_refused():
    with pytest.raises(DataError, match=r"train.csv, row 1: the header has column 'text' twice; rename one"):
        csv("text,text,label\na,b,c\n")


def test_white_space_around_names_of_columns_does_not_count():
    assert csv(" text , label\ngood,1\n").columns == ("text", "label")


def test_a_field_may_be_longer_than_the_csv_module_allows_by_itself():
    assert len(csv("text,label\n" + "x" * 200_000 + ",1\n").records[0].values["text"]) == 200_000
