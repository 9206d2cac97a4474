"""Files of every format as the rows of a task."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adaptune.core.errors import DataError
from adaptune.core.types import Row
from adaptune.data.config import DataConfig
from adaptune.data.read import examples_of, read
from adaptune.tasks.classify import Classify
from adaptune.tasks.multilabel import Multilabel
from adaptune.tasks.tag import Tag


@pytest.fixture
def file(tmp_path, monkeypatch):
    """file("train.csv", "text,label\\n"): write a file into the folder in which the test runs."""
    monkeypatch.chdir(tmp_path)

    def write(name, content):
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    return write


def classify(path, *, labelled=True, **settings):
    return read(path, DataConfig(train=path, **settings), Classify.columns, labelled=labelled)


def tag(path, *, labelled=True, **settings):
    return read(path, DataConfig(train=path, **settings), Tag.columns, labelled=labelled)


SAME_ROWS = [
    ("train.csv", "id,review,category\n7,so good,1\n8,so bad,0\n", (2, 3)),
    ("train.tsv", "id\treview\tcategory\n7\tso good\t1\n8\tso bad\t0\n", (2, 3)),
    ("train.jsonl", '{"review": "so good", "category": "1"}\n{"review": "so bad", "category": "0"}\n', (1, 2)),
    ("train.json", '[{"review": "so good", "category": "1"},\n {"review": "so bad", "category": "0"}]', (1, 2)),
    ("train.ndjson", '{"review": "so good", "category": "1"}\n{"review": "so bad", "category": "0"}\n', (1, 2)),
    ("TRAIN.CSV", "review;category\r\nso good;1\r\nso bad;0\r\n", (2, 3)),
    ("data.txt", '{"review": "so good", "category": "1"}\n{"review": "so bad", "category": "0"}\n', (1, 2)),
    ("data.txt", "review\tcategory\nso good\t1\nso bad\t0\n", (2, 3)),
    ("data", "review,category\nso good,1\nso bad,0\n", (2, 3)),
    ("data", '[{"review": "so good", "category": "1"}, {"review": "so bad", "category": "0"}]', (1, 2)),
]


@pytest.mark.parametrize(("name", "content", "numbers"), SAME_ROWS)
def test_every_format_gives_the_same_rows(file, name, content, numbers):
    found = classify(file(name, content))
    assert found.rows == [
        Row(name, numbers[0], {"text": "so good", "label": "1"}),
        Row(name, numbers[1], {"text": "so bad", "label": "0"}),
    ]
    assert found.columns == {"text": "review", "label": "category"}
    assert found.rejected == []
    assert found.fingerprint == hashlib.sha256(content.encode()).hexdigest()


@pytest.mark.parametrize("name", ["train.parquet", "train.bin"])
def test_a_parquet_file_is_known_by_its_name_or_its_first_bytes(file, tmp_path, name):
    pyarrow = pytest.importorskip("pyarrow")
    write = pytest.importorskip("pyarrow.parquet").write_table
    write(pyarrow.table({"text": ["good", "a\0b"], "label": [True, False]}), tmp_path / name)
    found = classify(name, on_bad_row="skip")
    assert found.rows == [Row(name, 1, {"text": "good", "label": True})]
    assert [str(row) for row in found.rejected] == [
        f"{name}, row 2, column 'text' holds a NUL character at position 2; remove it"
    ]


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_not_part_of_the_first_column(file, mark):
    found = classify(file("train.csv", "text,label\n好,1\n".encode(mark)))
    assert [row.values for row in found.rows] == [{"text": "好", "label": "1"}]


def test_a_file_that_is_not_utf_8_is_read_with_a_notice(file):
    found = classify(file("train.csv", "text,label\nsehr schön,1\nzu süß,0\n".encode("latin-1")))
    assert [row.values["text"] for row in found.rows] == ["sehr schön", "zu süß"]
    assert found.notices == [
        (
            "train.csv is not UTF-8; it is read as Windows-1252 (Latin-1, Western European); "
            "set data.encoding where that is wrong"
        )
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "train.csv",
            b"text,label\n\xe5\xa5\xbd caf\xe9,1\n" + "不好，很差的书本就,0\n".encode(),
            (
                "train.csv, row 2, column 'text' holds the byte 0xE9, which is not UTF-8, at position 6; "
                "correct or remove it"
            ),
        ),
        (
            "train.csv",
            "text,label\na\0b,1\nfine,0\n",
            "train.csv, row 2, column 'text' holds a NUL character at position 2; remove it",
        ),
        (
            "train.jsonl",
            '{"text": "a\\u0000b", "label": 1}\n{"text": "b", "label": 0}\n',
            "train.jsonl, row 1, column 'text' holds a NUL character at position 2; remove it",
        ),
        (
            "train.jsonl",
            '{"text": "a \\ud83d", "label": 1}\n{"text": "a \\ud83d\\ude00", "label": 0}\n',
            "train.jsonl, row 1, column 'text' holds half a character, U+D83D, at position 3; correct or remove it",
        ),
        (
            "train.csv",
            "text,label\ngood\nfine,0\n",
            (
                "train.csv, row 2: 1 field separated by comma, the last 'good'; the header has 2 (text, label); "
                "fill the missing ones"
            ),
        ),
        (
            "train.jsonl",
            '{"text": "b", "label": 0}\n{"text": "a"}\n',
            "train.jsonl, row 2, column 'label' is missing; the row has: 'text'; add it or remove the row",
        ),
        (
            "train.jsonl",
            '{"text": "b", "label": 0}\n{"text": "a", "la',
            (
                "train.jsonl, row 2: not valid JSON at position 15 (Unterminated string starting at): "
                '\'{"text": "a", "la\'; '
                "it is the last line and was probably cut off: complete or remove it"
            ),
        ),
    ],
)
def test_a_bad_row_ends_the_run_by_name_or_is_left_out(file, name, content, message):
    path = file(name, content)
    with pytest.raises(DataError) as caught:
        classify(path)
    assert str(caught.value) == f"{message}; data.on_bad_row: skip would leave the row out"
    found = classify(path, on_bad_row="skip")
    assert len(found.rows) == 1
    assert [str(row) for row in found.rejected] == [message]


def test_several_bad_rows_are_named_together(file):
    path = file("train.csv", "text,label\nfine,1\n" + "bad\n" * 5)
    with pytest.raises(DataError) as caught:
        classify(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == ("train.csv: 5 rows cannot be used; correct them; data.on_bad_row: skip would leave them out")
    assert lines[1].startswith("  - train.csv, row 3: 1 field")
    assert lines[4] == "  - and 2 more, listed by: adaptune doctor train.csv"


def test_rejected_rows_are_records_for_the_run_folder(file):
    found = classify(file("train.jsonl", '{"text": "a", "label": 1}\n{"label": 0}\n'), on_bad_row="skip")
    assert [row.record() for row in found.rejected] == [
        {
            "file": "train.jsonl",
            "row": 2,
            "reason": "column 'text' is missing; the row has: 'label'; add it or remove the row",
        }
    ]


def test_a_file_of_bad_rows_alone_is_refused_even_where_bad_rows_are_skipped(file):
    with pytest.raises(DataError, match=r"train.jsonl: none of its 2 rows can be used"):
        classify(file("train.jsonl", '{"text"\n{"text": "a'), on_bad_row="skip")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "train.csv is empty; expected rows"),
        (" \n\n", "train.csv is empty; expected rows"),
        ("text,label\n", "train.csv has no rows; expected at least one below its header"),
        (b"\xef\xbb\xbf", "train.csv has no rows"),
    ],
)
def test_a_file_without_rows_is_refused(file, content, message):
    with pytest.raises(DataError, match=message):
        classify(file("train.csv", content))


def test_a_missing_file_is_refused_with_the_nearest_name(file):
    file("train.csv", "text,label\na,1\n")
    with pytest.raises(DataError, match=r"tarin.csv does not exist; did you mean 'train.csv'\?; paths are relative"):
        classify("tarin.csv")
    with pytest.raises(DataError, match="there is no folder nowhere either"):
        classify("nowhere/train.csv")


def test_a_folder_is_refused_with_its_files(file, tmp_path):
    file("train.csv", "text,label\na,1\n")
    with pytest.raises(DataError, match=r"is a folder; name one of its files: train.csv"):
        classify(str(tmp_path))


def test_a_format_that_cannot_be_told_is_asked_for(file):
    with pytest.raises(DataError, match=r"first line '1 a stirring film'; set data.format: jsonl, json, csv"):
        classify(file("train.txt", "1 a stirring film\n0 a dull one\n"))


def test_a_format_that_is_given_is_used(file):
    found = classify(file("data.json", "text,label\ngood,1\n"), format="csv")
    assert found.rows == [Row("data.json", 2, {"text": "good", "label": "1"})]


def test_values_that_are_null_count_as_absent_only_where_the_column_is_optional(file):
    rows = '{"text": "a", "pair": null, "label": null}\n{"text": "a", "pair": "b", "label": 1}\n'
    found = classify(file("train.jsonl", rows))
    assert [row.values for row in found.rows] == [{"text": "a", "label": None}, {"text": "a", "pair": "b", "label": 1}]


def test_labels_are_left_out_where_rows_are_only_predicted(file):
    found = classify(file("new.csv", "text,label\ngood,\n"), labelled=False)
    assert found.rows == [Row("new.csv", 2, {"text": "good"})]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", "text,label\na,0\nb,1\n"),
        ("train.jsonl", '{"text": "a", "label": 0}\n{"text": "b", "label": 1.0}\n'),
        ("train.jsonl", '{"text": "a", "label": "0"}\n{"text": "b", "label": "1"}\n'),
    ],
)
def test_labels_are_spelt_as_the_recipe_says(file, name, content):
    found = classify(file(name, content), labels={"0": "negative", "1": "positive"})
    assert [row.values["label"] for row in found.rows] == ["negative", "positive"]


def test_a_label_that_the_recipe_does_not_list_is_named(file):
    with pytest.raises(DataError) as caught:
        classify(file("train.csv", "text,label\na,0\nb,2\n"), labels={"0": "negative", "1": "positive"})
    assert str(caught.value) == (
        "train.csv, row 3, column 'label': '2' is not listed in data.labels (0, 1); list it or correct the row; "
        "data.on_bad_row: skip would leave the row out"
    )


def test_numbered_tags_get_their_names_before_their_scheme_is_told(file):
    found = tag(
        file("train.jsonl", '{"tokens": ["Ann", "Lee", "ran"], "ner_tags": [1, 2, 0]}\n'),
        labels={"0": "O", "1": "B-PER", "2": "I-PER"},
    )
    assert found.rows == [Row("train.jsonl", 1, {"tokens": ["Ann", "Lee", "ran"], "tags": ["B-PER", "I-PER", "O"]})]


@pytest.mark.parametrize(
    "content",
    [
        "Ann\tB-PER\nLee\tI-PER\n\nran\tO\n",
        "Ann\tI-PER\nLee\tI-PER\n\nran\tO\n",
        "Ann B-PER\nLee E-PER\n\nran O\n",
        "Ann B-PER\nLee L-PER\n\nran O\n",
        "Ann PER\nLee PER\n\nran O\n",
        "-DOCSTART- O\n\n# first\nAnn B-PER\nLee E-PER\n\nran O",
    ],
)
def test_every_tagging_scheme_is_read_as_bio(file, content):
    rows = tag(file("train.conll", content)).rows
    assert [row.values for row in rows] == [
        {"tokens": ["Ann", "Lee"], "tags": ["B-PER", "I-PER"]},
        {"tokens": ["ran"], "tags": ["O"]},
    ]


def test_tags_of_other_formats_become_bio_too(file):
    found = tag(file("train.jsonl", '{"tokens": ["Ann", "Lee"], "tags": ["B-PER", "E-PER"]}\n'))
    assert found.rows[0].values["tags"] == ["B-PER", "I-PER"]
    found = tag(file("train.csv", "tokens,tags\nAnn Lee,B-PER E-PER\n"))
    assert found.rows[0].values["tags"] == ["B-PER", "I-PER"]


def test_a_scheme_that_is_given_is_used(file):
    path = file("train.conll", "Ann I-PER\nBob B-PER\n")
    assert tag(path, scheme="iob1").rows[0].values["tags"] == ["B-PER", "B-PER"]
    with pytest.raises(DataError, match=r"the tags are read as bio; if they are of another scheme, set data.scheme"):
        tag(path, scheme="bio")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "train.conll",
            "Bob B-PER\n\nAnn B-PER\nLee I-LOC\n",
            (
                "train.conll, row 4, column 2, 'I-LOC': it continues no span after 'B-PER'; a span starts with B-LOC "
                "(the tags are read as bio; if they are of another scheme, set data.scheme)"
            ),
        ),
        (
            "train.jsonl",
            '{"tokens": ["Bob"], "tags": ["B-PER"]}\n{"tokens": ["Ann", "Lee"], "tags": ["O", "I-PER"]}\n',
            (
                "train.jsonl, row 2, column 'tags', word 2, 'I-PER': it continues no span after 'O'; "
                "a span starts with B-PER "
                "(the tags are read as bio; if they are of another scheme, set data.scheme)"
            ),
        ),
    ],
)
def test_a_malformed_tag_is_named_by_row_column_and_value(file, name, content, message):
    path = file(name, content)
    with pytest.raises(DataError) as caught:
        tag(path)
    assert str(caught.value) == f"{message}; data.on_bad_row: skip would leave the row out"
    found = tag(path, on_bad_row="skip")
    assert [row.values["tokens"] for row in found.rows] == [["Bob"]]
    assert [str(row) for row in found.rejected] == [message]


def test_a_conll_file_is_known_by_its_tags(file):
    found = tag(file("test.annotated", "Ann\tB-PER\nran\tO\n\t\n" * 50))
    assert len(found.rows) == 50


def test_rows_that_the_task_refuses_are_treated_like_unreadable_ones(file):
    path = file("train.csv", "text,label\ngood,1\n ,0\nbad,0\n")
    rows = classify(path).rows
    with pytest.raises(DataError) as caught:
        examples_of(rows, Classify(), DataConfig(train=path))
    assert str(caught.value).startswith("train.csv, row 3, column 'text': the text ' ' is empty")
    found = examples_of(rows, Classify(), DataConfig(train=path, on_bad_row="skip"))
    assert [example.expected for example in found.examples] == ["1", "0"]
    assert [(row.where, row.reason[:30]) for row in found.rejected] == [
        ("train.csv, row 3", "column 'text': the text ' ' is")
    ]


def test_a_csv_file_of_100_000_rows_takes_a_second_or_two(file):
    path = file(
        "train.csv", "text,label\n" + '"a sentence, of usual length, with so many words in it",label\n' * 100_000
    )
    start = time.process_time()
    assert len(classify(path).rows) == 100_000
    assert time.process_time() - start < 5


def test_reading_imports_no_torch(file):
    path = file("train.csv", "text,label\ngood,1\n")
    code = (
        "import sys; from adaptune.data.config import DataConfig; from adaptune.data.read import read; "
        "from adaptune.data import doctor, guess; from adaptune.tasks.classify import Classify; "
        f"read({path!r}, DataConfig(train={path!r}), Classify.columns); guess.guess({path!r}); "
        "assert not {'torch', 'transformers', 'pyarrow', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_pattern_names_the_rows_of_every_file_that_fits(file):
    file("fold2.csv", "text,label\nc,x\n")
    file("fold1.csv", "text,label\na,x\nb,y\n")
    file("fold10.txt", "not one of them")
    found = classify("fold*.csv")
    assert [(row.where, row.values["text"]) for row in found.rows] == [
        ("fold1.csv, row 2", "a"),
        ("fold1.csv, row 3", "b"),
        ("fold2.csv, row 2", "c"),
    ]
    file("fold2.csv", "text,label\nd,x\n")
    assert classify("fold*.csv").fingerprint != found.fingerprint


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(file):
    file("fold[1].csv", "text,label\na,x\n")
    assert [row.where for row in classify("fold[1].csv").rows] == ["fold[1].csv, row 2"]


def test_several_columns_of_0_and_1_stand_for_one_column_of_labels(file):
    path = file("train.csv", "text,rude,sad\na,1,0\nb,0,0\n")
    config = DataConfig(train=path, columns={"labels": ["rude", "sad"]})
    found = read(path, config, Multilabel.columns)
    assert [row.values["labels"] for row in found.rows] == [{"rude": "1", "sad": "0"}, {"rude": "0", "sad": "0"}]
    assert [example.expected for example in examples_of(found.rows, Multilabel(), config).examples] == [("rude",), ()]


def test_several_columns_of_which_one_is_missing_are_refused(file):
    path = file("train.csv", "text,rude\na,1\n")
    with pytest.raises(DataError, match=r"train.csv has no column 'rude, sad', which data.columns gives for 'labels'"):
        read(path, DataConfig(train=path, columns={"labels": "rude, sad"}), Multilabel.columns)
