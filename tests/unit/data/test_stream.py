"""Streamed rows are the rows that are read whole: the same examples, parts, refusals and remarks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adaptune.core.errors import DataError
from adaptune.core.task import Task
from adaptune.data import stream
from adaptune.data.config import DataConfig
from adaptune.data.doctor import diagnose
from adaptune.data.examine import examine
from adaptune.data.load import MOST_CUT, load_splits
from adaptune.data.stored import Stored, answered
from adaptune.data.stream import is_streamed, load_examples
from adaptune.tasks import TASKS

WORDS = [(thing, word) for thing in ("film", "book") for word in ("good", "bad")]
SENTENCES = [f"the {thing} was {word}, {place}" for thing, word in WORDS for place in "abc"]
CSV = "text,label\n" + "".join(f'"{text}",{"good" if "good" in text else "bad"}\n' for text in SENTENCES)
JSONL = "".join(
    json.dumps({"label": number % 2, "text": text} | ({"more": number} if number > 5 else {})) + "\n"
    for number, text in enumerate(SENTENCES)
)
BIOES = "Ann\tS-PER\nLee\tO\n\nNew\tB-LOC\nYork\tE-LOC\n\nin\tO\nRome\tS-LOC\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str | bytes], str]:
    """Writes a file and gives its name; few rows are read at once, so that there are several batches of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stream, "AT_ONCE", 3)

    def write(name: str, content: str | bytes) -> str:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    return write


def task(name: str = "classify") -> Task:
    return TASKS.get(name)()


def both(source: str, name: str = "classify", **settings: Any) -> list[stream.Understood]:
    """The rows of a file read whole, and streamed."""
    configs = [DataConfig.model_validate({"train": source, "stream": how} | settings) for how in ("never", "always")]
    return [load_examples(source, config, task(name), part="train") for config in configs]


@pytest.mark.parametrize(
    ("name", "content", "kind", "settings"),
    [
        ("a.csv", CSV, "classify", {}),
        ("a.csv", CSV.replace("\n", "\r\n"), "classify", {}),
        ("a.csv", "\ufeff" + CSV, "classify", {}),
        ("a.csv", CSV.encode("utf-16"), "classify", {}),
        ("a.csv", CSV.replace("film", "café").encode("cp1252"), "classify", {"encoding": "cp1252"}),
        ("a.csv", CSV.replace("film", "café").encode("cp1252"), "classify", {}),
        ("a.csv", CSV.replace(",", ";"), "classify", {}),
        ("a.csv", 'text,label\n"two\nlines",x\n\nb,y\n', "classify", {}),
        ("a.csv", CSV, "classify", {"labels": {"good": "+", "bad": "-"}}),
        ("a.csv", "a,x\nb,y\n", "classify", {"header": False, "columns": {"text": 1, "label": 2}}),
        ("a.tsv", 'text\tlabel\nsay "a\tx\n"b" he said\ty\nc"\tx\n', "classify", {}),
        ("a.txt", CSV, "classify", {}),
        ("a.jsonl", JSONL, "classify", {}),
        ("a.jsonl", JSONL.replace("\n", "\r\n\r\n"), "classify", {}),
        ("a.json", json.dumps([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]), "classify", {}),
        ("a.txt", "one\n\ntwo\nthree, four\n", "pretrain", {}),
        ("a.txt", "one\ntwo\n\nthree\n", "pretrain", {"format": "paragraphs"}),
        ("a.conll", BIOES, "tag", {}),
        ("a.jsonl", '{"tokens": ["a", "b"], "tags": ["S-X", "O"]}\n{"tokens": ["c"], "tags": ["S-Y"]}\n', "tag", {}),
        ("a.csv", "text,rude,sad\na,1,0\nb,0,0\n", "multilabel", {"columns": {"labels": ["rude", "sad"]}}),
        ("a.csv", "text,score\na,1.5\nb,2\n", "regress", {}),
    ],
)
def test_streamed_rows_are_those_of_the_whole_file(file, name, content, kind, settings):
    whole, streamed = both(file(name, content), kind, **settings)
    assert isinstance(streamed.examples, Stored)
    assert list(streamed.examples) == list(whole.examples) != []
    assert [example.group for example in streamed.examples] == [example.group for example in whole.examples]
    assert streamed.columns == whole.columns
    assert streamed.notices == whole.notices
    assert streamed.fingerprint == whole.fingerprint


def test_rows_of_parquet_are_streamed(file):
    parquet = pytest.importorskip("pyarrow.parquet", reason="parquet needs pyarrow")
    arrow = pytest.importorskip("pyarrow")
    parquet.write_table(arrow.table({"text": SENTENCES, "label": ["x", "y"] * 6}), "a.parquet")
    whole, streamed = both("a.parquet")
    assert list(streamed.examples) == list(whole.examples)
    assert (streamed.columns, streamed.fingerprint) == (whole.columns, whole.fingerprint)


def test_the_files_of_a_pattern_are_streamed_one_after_another(file):
    file("fold2.csv", "text,label\nc,x\n")
    file("fold1.csv", "text,label\na,x\nb,y\n")
    whole, streamed = both("fold*.csv")
    assert [example.row.where for example in streamed.examples] == [
        "fold1.csv, row 2",
        "fold1.csv, row 3",
        "fold2.csv, row 2",
    ]
    assert list(streamed.examples) == list(whole.examples)
    assert streamed.fingerprint == whole.fingerprint


@pytest.mark.parametrize(
    "content",
    [
        "text,label\na,x\n",
        "text,label\na,x\n,y\nb,y\nc\n",
        "text,label\na,\nb,\nc,\nd,\ne,\n",
        "text,label\n\0a,x\nb,y\n",
        'text,label\n"a" b,x\nc,y\n',
        'text,label\n"a,x\nc,y\n',
        "text,label\n",
        "   \n",
        "words,label\na,x\n",
        "text,label,label\na,x,y\n",
        "text,label\na,x\nb\udc80,y\n".encode("utf-8", "surrogateescape"),
        b"PK\x03\x04 and more",
        "a,x\n".encode("utf-16-le") * 20,
        b"text,label\n\x81\x8d\x8f\x90\x9d,x\n",
    ],
)
@pytest.mark.parametrize("on_bad_row", ["fail", "skip"])
def test_what_is_refused_is_refused_in_the_same_words(file, content, on_bad_row):
    file("a.csv", content)

    def outcome(how: str) -> object:
        config = DataConfig(train="a.csv", stream=how, on_bad_row=on_bad_row)
        try:
            found = load_examples("a.csv", config, task(), part="train")
        except DataError as error:
            return str(error)
        return list(found.examples), found.rejected, found.notices

    assert outcome("always") == outcome("never")


def test_a_jsonl_file_that_was_cut_off_is_refused_in_the_same_words(file):
    file("a.jsonl", '{"text": "a", "label": "x"}\n[1]\n{"text": "b", "la')
    messages = []
    for how in ("never", "always"):
        with pytest.raises(DataError, match="it is the last line and was probably cut off") as refused:
            load_examples("a.jsonl", DataConfig(train="a.jsonl", stream=how), task(), part="train")
        messages.append(str(refused.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("settings", [{}, {"train_rows": 60, "valid_rows": 7, "test_rows": 9}])
@pytest.mark.parametrize("name", ["classify", "regress", "multilabel"])
def test_parts_are_cut_alike_and_remarked_on_alike(file, name, settings):
    rows = [f"{'same' if number % 9 == 0 else number} text,{number % 3}" for number in range(300)]
    column = {"classify": "label", "regress": "score", "multilabel": "labels"}[name]
    source = file("a.csv", f"text,{column}\n" + "\n".join(rows) + "\n")
    configs = [DataConfig.model_validate({"train": source, "stream": how} | settings) for how in ("never", "always")]
    whole, streamed = (load_splits(config, task(name), seed=3) for config in configs)
    for part in ("train", "valid", "test"):
        assert list(streamed.parts[part]) == list(whole.parts[part]) != []
    assert diagnose(streamed.parts, task(name)) == diagnose(whole.parts, task(name))
    assert examine(configs[1], task(name)) == examine(configs[0], task(name))


def test_parts_that_stay_stored_are_remarked_on_like_those_in_memory(file, monkeypatch):
    monkeypatch.setattr("adaptune.data.load.KEPT", 0)
    rows = [f"{number % 150} text,{'x' if number % 7 else 'y'}" for number in range(300)] + ["alone,z"]
    source = file("a.csv", "text,label\n" + "\n".join(rows) + "\n")
    test = file("b.csv", "text,label\n3 text,y\nnew,odd\n")
    whole, streamed = (
        load_splits(DataConfig(train=source, test=test, stream=how), task(), seed=3) for how in ("never", "always")
    )
    assert all(isinstance(part, Stored) for part in streamed.parts.values())
    findings = diagnose(streamed.parts, task())
    assert findings == diagnose(whole.parts, task())
    assert {finding.level for finding in findings.all} == {"error", "warning", "note"}


def test_of_a_part_cut_from_streamed_rows_some_are_kept_and_that_is_said(file, monkeypatch, capsys):
    monkeypatch.setitem(MOST_CUT, "valid", 5)
    source = file("a.csv", "text,label\n" + "\n".join(f"text {n},{n % 2}" for n in range(200)) + "\n")
    found = load_splits(DataConfig(train=source, stream="always"), task(), seed=1)
    assert {name: len(part) for name, part in found.parts.items()} == {"train": 162, "valid": 5, "test": 20}
    assert "valid: 5 of the 18 rows that were cut off, for time; set data.valid_rows" in capsys.readouterr().err
    found = load_splits(DataConfig(train=source, stream="always", valid_rows=7), task(), seed=1)
    assert len(found.valid) == 7


def test_only_large_files_are_streamed_by_themselves(file, monkeypatch):
    source = file("a.csv", CSV)
    assert not is_streamed(source, DataConfig(train=source))
    monkeypatch.setattr(stream, "LARGE", 100)
    assert is_streamed(source, DataConfig(train=source))
    assert not is_streamed(source, DataConfig(train=source, stream="never"))


def test_stored_examples_are_a_sequence(file):
    _, streamed = both(file("a.csv", CSV))
    examples = streamed.examples
    assert isinstance(examples, Stored)
    every = list(examples)
    assert (examples[0], examples[-1], examples[2:4]) == (every[0], every[-1], tuple(every[2:4]))
    assert list(examples.take([5, 1]).take([1, 0])) == [every[1], every[5]]
    assert examples[::5] == tuple(every[::5])
    with pytest.raises(IndexError):
        examples[len(every)]


def test_too_many_different_answers_are_made_from_their_rows(file, monkeypatch):
    monkeypatch.setattr("adaptune.data.outline.REMEMBERED", 4)
    source = file("a.csv", "text,score\n" + "\n".join(f"text {n},{n}" for n in range(40)) + "\n")
    whole, streamed = both(source, "regress")
    assert answered(streamed.examples) is streamed.examples
    assert task("regress").labels(answered(streamed.examples)).moments == task("regress").labels(whole.examples).moments
    parts = [
        load_splits(DataConfig(train=source, stream=how), task("regress"), seed=1).parts for how in ("never", "always")
    ]
    assert parts[0] == parts[1]
