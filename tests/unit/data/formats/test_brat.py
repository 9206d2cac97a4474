"""brat's stand-off files."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptune.core.errors import DataError
from adaptune.core.types import Answer
from adaptune.data.config import DataConfig
from adaptune.data.guess import guess
from adaptune.data.read import Read, examples_of, read
from adaptune.tasks import TASKS

TAG, RELATE = TASKS.make({"name": "tag"}), TASKS.make({"name": "relate"})
ANSWER = Answer("x", 1.0)
TEXT = "Ann Lee works at\nAcme Corp. in Paris."
ENTITIES = "T1\tperson 0 7\tAnn Lee\nT2\tcompany 17 26\tAcme Corp\nT3\tcity 31 36\tParis\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write(here: Path, marks: str, name: str = "a", text: str = TEXT) -> None:
    (here / f"{name}.txt").write_bytes(text.encode())
    (here / f"{name}.ann").write_bytes(marks.encode())


def _read(name: str, task: str = "tag", **settings: str) -> Read:
    config = DataConfig.model_validate({"train": name, **settings})
    return read(name, config, (TAG if task == "tag" else RELATE).columns)


def test_a_document_is_a_row_with_its_spans_in_the_order_of_the_text(here: Path) -> None:
    _write(here, "T9\tcity 31 36\tParis\n" + ENTITIES.replace("T3\tcity 31 36\tParis\n", ""))
    [row] = _read("a.ann").rows
    assert row.where == "a.ann, row 1"
    assert row.values["text"] == TEXT
    assert [(span["id"], span["start"], span["end"]) for span in row.values["spans"]] == [
        ("T1", 0, 7),
        ("T2", 17, 26),
        ("T9", 31, 36),
    ]


def test_either_file_names_the_document(here: Path) -> None:
    _write(here, ENTITIES)
    assert _read("a.txt").rows == _read("a.ann").rows
    assert _read("a.{txt,ann}").rows == _read("a.ann").rows
    assert _read("a.ann", format="brat").rows == _read("a.ann").rows


def test_a_line_end_within_a_span_may_be_written_as_a_space(here: Path) -> None:
    _write(here, "T1\tx 14 21\tat Acme\n")
    [example] = examples_of(_read("a.ann").rows, TAG, DataConfig(train="a.ann")).examples
    assert example.expected == ("O", "O", "O", "B-x", "I-x", "O", "O", "O", "O", "O")


def test_a_span_over_the_end_of_a_line_is_one_though_brat_writes_two_parts(here: Path) -> None:
    _write(here, "T1\tx 14 16;17 21\tat Acme\n")
    [row] = _read("a.ann").rows
    assert row.values["spans"] == [{"start": 14, "end": 21, "label": "x", "id": "T1"}]


def test_a_text_with_windows_line_ends_keeps_its_offsets(here: Path) -> None:
    _write(here, "T1\tx 4 5\tb\r\n", text="a\r\n b\r\n")
    [example] = examples_of(_read("a.ann").rows, TAG, DataConfig(train="a.ann")).examples
    assert example.expected == ("O", "B-x")


def test_a_relation_is_a_row_with_both_entities(here: Path) -> None:
    marks = "R1\tworks_for Arg1:T1 Arg2:T2\t\n" + ENTITIES + "R2\tbased_in Org:T2 Place:T3\n*\tEquiv T1 T2\n"
    _write(here, marks)
    found = _read("a.ann", "relate")
    examples = examples_of(found.rows, RELATE, DataConfig(train="a.ann")).examples
    assert [example.row.where for example in examples] == ["a.ann, row 1", "a.ann, row 5"]
    assert [example.expected for example in examples] == ["works_for", "based_in"]
    assert [RELATE.describe(example, ANSWER)["head"] for example in examples] == ["Ann Lee", "Acme Corp"]
    assert [RELATE.describe(example, ANSWER)["tail"] for example in examples] == ["Acme Corp", "Paris"]


def test_pairs_of_one_document_stay_together(here: Path) -> None:
    _write(here, ENTITIES + "R1\ta Arg1:T1 Arg2:T2\nR2\tb Arg1:T2 Arg2:T3\n")
    rows = _read("a.ann", "relate").rows
    one, other = examples_of(rows, RELATE, DataConfig(train="a.ann")).examples
    assert one.group == other.group == TEXT


def test_documents_without_relations_are_passed_over(here: Path) -> None:
    _write(here, ENTITIES + "R1\ta Arg1:T1 Arg2:T2\n", "b")
    _write(here, ENTITIES, "a")
    _write(here, "", "c")
    assert [row.where for row in _read(".", "relate").rows] == ["b.ann, row 4"]
    with pytest.raises(DataError, match=r"a.ann has no rows; expected at least one"):
        _read("a.ann", "relate")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("T4\tx 30 99\tParis", "the text has characters 0 to 37; expected a span within it"),
        ("T4\tx 31 31\tParis", "expected a span within it"),
        ("T4\tx 36 31\tParis", "expected a span within it"),
        ("T4\tx 30 35\tParis", "at 30 to 35 the text has ' Pari'; correct the offsets"),
        ("T4\tx 0 3;31 36\tAnn Paris", "has several parts with text between them, and a span is one"),
        ("T4\tx 4 7;0 3\tLee Ann", "has several parts"),
        ("T4\tx 31\tParis", "is no entity; expected T1, tab, type start end, tab, the text"),
        ("T4 x 31 36 Paris", "is no entity; expected T1, tab"),
        ("T4\tx 31 36", "is no entity; expected T1, tab"),
        ("T1\tx 31 36\tParis", "there is another T1 above"),
    ],
)
def test_a_malformed_entity_names_file_and_line(here: Path, line: str, message: str) -> None:
    _write(here, ENTITIES + line + "\n")
    _write(here, ENTITIES, "b")
    with pytest.raises(DataError, match=message) as refusal:
        _read(".")
    assert str(refusal.value).startswith("a.ann, row 4: ")
    assert [row.source for row in _read(".", on_bad_row="skip").rejected] == ["a.ann"]
    assert [row.source for row in _read(".", on_bad_row="skip").rows] == ["b.ann"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("R1\tx Arg1:T1 Arg2:T8", "there is no entity T8 in this file; add or correct it"),
        ("R1\tx Arg1:E1 Arg2:T2", "there is no entity E1 in this file"),
        ("R1\tx Arg1:T1", "is no relation; expected R1, tab, type Arg1:T1 Arg2:T2"),
        ("R1 x Arg1:T1 Arg2:T2", "is no relation; expected R1, tab"),
        ("R1\tx Arg1:T1 Arg2:T4", "T4 in line 4 cannot be used: .* the text has ' Pari'; correct the offsets"),
    ],
)
def test_a_malformed_relation_names_file_and_line(here: Path, line: str, message: str) -> None:
    _write(here, ENTITIES + "T4\tx 30 35\tParis\nR9\tx Arg1:T1 Arg2:T2\n" + line + "\n")
    with pytest.raises(DataError, match=message) as refusal:
        _read("a.ann", "relate")
    assert str(refusal.value).startswith("a.ann, row 6: ")


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        (ENTITIES + "T4\tx 0 3\tAnn\n", "'T1'} overlaps .*'T4'}; a word has one tag"),
        ("T1\tx 0 5\tAnn L\n", r"it cuts into the word 'Lee' \(4 to 7\)"),
    ],
)
def test_spans_that_no_tags_can_say_are_refused(here: Path, marks: str, message: str) -> None:
    _write(here, marks)
    with pytest.raises(DataError, match=message) as refusal:
        examples_of(_read("a.ann").rows, TAG, DataConfig(train="a.ann"))
    assert "a.ann, row 1, column 'spans'" in str(refusal.value)


def test_a_file_without_its_partner_is_refused(here: Path) -> None:
    (here / "a.ann").write_text(ENTITIES)
    with pytest.raises(DataError, match=r"a.ann has no a.txt beside it; brat keeps a text as NAME.txt"):
        _read("a.ann")
    (here / "b.txt").write_text(TEXT)
    with pytest.raises(DataError, match=r"b.txt has no b.ann beside it"):
        _read("b.txt", format="brat")


def test_a_folder_without_documents_is_refused_as_any_other(here: Path) -> None:
    (here / "b.txt").write_text(TEXT)
    with pytest.raises(DataError, match=r"is a folder; name one of its files: b.txt"):
        _read(str(here))


def test_the_task_of_a_folder_is_guessed(here: Path) -> None:
    _write(here, ENTITIES)
    found = guess(str(here))
    assert (found.task, found.format, found.columns) == ("tag", "brat", {"text": "text", "spans": "spans"})
