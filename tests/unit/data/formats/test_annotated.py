"""Spans of a text as annotation tools write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adaptune.core.errors import DataError
from adaptune.core.types import Example
from adaptune.data.config import DataConfig
from adaptune.data.read import examples_of, read
from adaptune.tasks import TASKS

TASK = TASKS.make({"name": "tag"})

ENGLISH = "Ann Lee works at Acme Corp. in Paris."
CHINESE = "浙商银行的叶老桂在2010年说"
ENGLISH_TAGS = ("B-person", "I-person", "O", "O", "B-company", "I-company", "O", "O", "B-city", "O")
CHINESE_TAGS = ("B-company", *["I-company"] * 3, "O", "B-person", "I-person", "I-person", "O", "B-date", "I-date", "O")
EXPECTED = [
    (("Ann", "Lee", "works", "at", "Acme", "Corp", ".", "in", "Paris", "."), ENGLISH_TAGS),
    ((*"浙商银行的叶老桂在", "2010", "年", "说"), CHINESE_TAGS),
    (("nobody", "here"), ("O", "O")),
]

SAMPLES = {
    "spans.jsonl": """\
{"text": "Ann Lee works at Acme Corp. in Paris.", "spans": [{"start": 0, "end": 7, "label": "person"}, \
{"start": 17, "end": 26, "label": "company"}, {"start": 31, "end": 36, "label": "city"}]}
{"text": "浙商银行的叶老桂在2010年说", "spans": [{"start": 0, "end": 4, "label": "company"}, \
{"start": 5, "end": 8, "label": "person"}, {"start": 9, "end": 14, "label": "date"}]}
{"text": "nobody here", "spans": []}
""",
    "doccano.jsonl": """\
{"id": 1, "text": "Ann Lee works at Acme Corp. in Paris.", \
"label": [[0, 7, "person"], [17, 26, "company"], [31, 36, "city"]], "Comments": []}
{"id": 2, "text": "浙商银行的叶老桂在2010年说", "label": [[5, 8, "person"], [0, 4, "company"], [9, 14, "date"]]}
{"id": 3, "text": "nobody here", "label": []}
""",
    "doccano-labels.jsonl": """\
{"text": "Ann Lee works at Acme Corp. in Paris.", "labels": [[0, 7, "person"], [17, 26, "company"], [31, 36, "city"]]}
{"text": "浙商银行的叶老桂在2010年说", "labels": [[0, 4, "company"], [5, 8, "person"], [9, 14, "date"]]}
{"text": "nobody here", "labels": []}
""",
    "doccano-entities.jsonl": """\
{"id": 9, "text": "Ann Lee works at Acme Corp. in Paris.", "relations": [], "Comments": [], "entities": [\
{"id": 1, "label": "person", "start_offset": 0, "end_offset": 7}, \
{"id": 2, "label": "company", "start_offset": 17, "end_offset": 26}, \
{"id": 3, "label": "city", "start_offset": 31, "end_offset": 36}]}
{"id": 10, "text": "浙商银行的叶老桂在2010年说", "relations": [], "Comments": [], "entities": [\
{"id": 4, "label": "company", "start_offset": 0, "end_offset": 4}, \
{"id": 5, "label": "person", "start_offset": 5, "end_offset": 8}, \
{"id": 6, "label": "date", "start_offset": 9, "end_offset": 14}]}
{"id": 11, "text": "nobody here", "relations": [], "Comments": [], "entities": []}
""",
    "label-studio.json": """\
[{"id": 1, "data": {"text": "Ann Lee works at Acme Corp. in Paris."}, "predictions": [], "annotations": [
  {"id": 3, "was_cancelled": true, "result": []},
  {"id": 4, "was_cancelled": false, "result": [
   {"id": "a", "from_name": "label", "to_name": "text", "type": "labels",
    "value": {"start": 0, "end": 7, "text": "Ann Lee", "labels": ["person"]}},
   {"id": "b", "from_name": "label", "to_name": "text", "type": "labels",
    "value": {"start": 31, "end": 36, "text": "Paris", "labels": ["city"]}},
   {"id": "c", "from_name": "label", "to_name": "text", "type": "labels",
    "value": {"start": 17, "end": 26, "text": "Acme Corp", "labels": ["company"]}}]}]},
 {"id": 2, "data": {"text": "浙商银行的叶老桂在2010年说"}, "annotations": [{"result": [
   {"type": "labels", "value": {"start": 0, "end": 4, "text": "浙商银行", "labels": ["company"]}},
   {"type": "labels", "value": {"start": 5, "end": 8, "text": "叶老桂", "labels": ["person"]}},
   {"type": "labels", "value": {"start": 9, "end": 14, "text": "2010年", "labels": ["date"]}}]}]},
 {"id": 3, "data": {"text": "nobody here"}, "annotations": [{"result": []}]}]
""",
    "label-studio-min.json": """\
[{"id": 1, "text": "Ann Lee works at Acme Corp. in Paris.", "annotator": 1, "label": [
  {"start": 0, "end": 7, "text": "Ann Lee", "labels": ["person"]},
  {"start": 17, "end": 26, "text": "Acme Corp", "labels": ["company"]},
  {"start": 31, "end": 36, "text": "Paris", "labels": ["city"]}]},
 {"id": 2, "text": "浙商银行的叶老桂在2010年说", "annotator": 1, "label": [
  {"start": 0, "end": 4, "text": "浙商银行", "labels": ["company"]},
  {"start": 5, "end": 8, "text": "叶老桂", "labels": ["person"]},
  {"start": 9, "end": 14, "text": "2010年", "labels": ["date"]}]},
 {"id": 3, "text": "nobody here", "annotator": 1, "label": []}]
""",
    "cluener.json": """\
{"text": "Ann Lee works at Acme Corp. in Paris.", "label": {"city": {"Paris": [[31, 35]]}, \
"person": {"Ann Lee": [[0, 6]]}, "company": {"Acme Corp": [[17, 25]]}}}
{"text": "浙商银行的叶老桂在2010年说", "label": {"person": {"叶老桂": [[5, 7]]}, "company": {"浙商银行": [[0, 3]]}, \
"date": {"2010年": [[9, 13]]}}}
{"text": "nobody here", "label": {}}
""",
    "spacy.json": """\
[["Ann Lee works at Acme Corp. in Paris.", {"entities": [[0, 7, "person"], [17, 26, "company"], [31, 36, "city"]]}],
 ["浙商银行的叶老桂在2010年说", {"entities": [[0, 4, "company"], [5, 8, "person"], [9, 14, "date"]]}],
 ["nobody here", {"entities": []}]]
""",
}


def _examples(name: str, **settings: Any) -> list[Example]:
    config = DataConfig.model_validate({"train": name, **settings})
    return examples_of(read(name, config, TASK.columns).rows, TASK, config).examples


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", SAMPLES)
def test_the_same_annotations_give_the_same_examples_in_every_tools_form(here: Path, name: str) -> None:
    (here / name).write_text(SAMPLES[name], encoding="utf-8")
    assert [(example.sequences[0].first, example.expected) for example in _examples(name)] == EXPECTED


def test_the_same_annotations_in_brats_form_give_the_same_examples(here: Path) -> None:
    (here / "a.txt").write_text(ENGLISH, encoding="utf-8")
    (here / "a.ann").write_text(
        "T1\tperson 0 7\tAnn Lee\nT3\tcity 31 36\tParis\nR1\tlives_in Arg1:T1 Arg2:T3\t\n"
        "T2\tcompany 17 26\tAcme Corp\n#1\tAnnotatorNotes T1\tsure\nA1\tNegation T1\n",
        encoding="utf-8",
    )
    (here / "b.txt").write_text(CHINESE, encoding="utf-8")
    (here / "b.ann").write_text(
        "T1\tcompany 0 4\t浙商银行\nT2\tperson 5 8\t叶老桂\nT3\tdate 9 14\t2010年\n", encoding="utf-8"
    )
    (here / "c.txt").write_text("nobody here", encoding="utf-8")
    (here / "c.ann").write_text("", encoding="utf-8")
    for name in (str(here), "*.ann", "*.txt", "*", "*.{txt,ann}", "*.{ann,txt}"):
        assert [(example.sequences[0].first, example.expected) for example in _examples(name)] == EXPECTED, name


def test_a_document_of_spacy_keeps_its_own_words(here: Path) -> None:
    document = {
        "text": "re-open Paris",
        "ents": [{"start": 8, "end": 13, "label": "city"}],
        "sents": [{"start": 0, "end": 13}],
        "tokens": [{"id": 0, "start": 0, "end": 7}, {"id": 1, "start": 8, "end": 13}],
    }
    (here / "a.json").write_text(json.dumps([document]))
    [example] = _examples("a.json")
    assert (example.sequences[0].first, example.expected) == (("re-open", "Paris"), ("O", "B-city"))


def test_a_task_of_label_studio_that_nobody_annotated_has_no_label(here: Path) -> None:
    (here / "a.json").write_text('[{"id": 1, "data": {"text": "Ann ran", "page": 3}, "annotations": []}]')
    table = read("a.json", DataConfig(train="a.json"), TASK.columns, labelled=False)
    assert [row.values for row in table.rows] == [{"text": "Ann ran"}]


def test_a_column_that_the_recipe_names_keeps_its_name(here: Path) -> None:
    (here / "a.jsonl").write_text('{"text": "Ann ran", "gold": [[0, 3, "x"]], "label": [[4, 7, "y"]]}\n')
    [example] = _examples("a.jsonl", columns={"spans": "gold"})
    assert example.expected == ("B-x", "O")


def test_two_columns_of_spans_are_refused_until_one_is_named(here: Path) -> None:
    (here / "a.jsonl").write_text('{"text": "Ann ran", "gold": [[0, 3, "x"]], "label": [[4, 7, "y"]]}\n')
    with pytest.raises(DataError, match=r"'gold' and 'label' all hold marked spans; say which: data.columns"):
        _examples("a.jsonl")


def test_labels_of_whole_texts_stay_what_they_are(here: Path) -> None:
    (here / "a.jsonl").write_text('{"text": "good", "label": ["glad", "calm"]}\n{"text": "bad", "label": []}\n')
    table = read("a.jsonl", DataConfig(train="a.jsonl"), TASKS.get("multilabel").columns)
    assert [row.values["labels"] for row in table.rows] == [["glad", "calm"], []]


def _doccano(*spans: object) -> str:
    return (
        json.dumps({"text": "Ann Lee ran", "label": [[0, 3, "x"]]})
        + "\n"
        + json.dumps({"text": "Ann Lee ran", "label": list(spans)})
    )


def _cluener(label: object) -> str:
    return (
        json.dumps({"text": "Ann Lee ran", "label": {"x": {"Ann": [[0, 2]]}}})
        + "\n"
        + json.dumps({"text": "Ann Lee ran", "label": label})
    )


def _label_studio(*results: object, **more: object) -> str:
    good = {"type": "labels", "value": {"start": 0, "end": 3, "labels": ["x"]}}
    tasks = [{"data": {"text": "Ann Lee ran"}, "annotations": [{"result": [good]}]}]
    tasks.append({"data": {"text": "Ann Lee ran"}, "annotations": [{"result": list(results)}], **more})
    return json.dumps(tasks)


def _marked(**value: object) -> dict[str, object]:
    return {"type": "labels", "value": value}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", _doccano([0, 12, "x"]), "the text has characters 0 to 11; expected a span within it"),
        ("a.jsonl", _doccano([-1, 3, "x"]), "expected a span within it, and a type"),
        ("a.jsonl", _doccano([4, 4, "x"]), "expected a span within it, and a type"),
        ("a.jsonl", _doccano([3, 4, "x"]), "there is no word between these characters"),
        ("a.jsonl", _doccano([0, 3]), r"\[0, 3\]: expected {start, end, label}: characters from 0"),
        ("a.jsonl", _doccano([0, 3, 7]), r"\[0, 3, 7\]: expected {start, end, label}"),
        ("a.jsonl", _doccano({"start_offset": 0, "label": "x"}), "expected {start, end, label}"),
        ("a.jsonl", _doccano("Ann"), "'Ann': expected {start, end, label}"),
        ("a.jsonl", _doccano([0, 5, "x"]), r"it cuts into the word 'Lee' \(4 to 7\); take in or leave out all"),
        ("a.jsonl", _doccano([0, 7, "x"], [4, 11, "y"]), r"\[4, 11, 'y'\] overlaps \[0, 7, 'x'\]; a word has one tag"),
        ("a.jsonl", _doccano([0, 7, "x"], [0, 3, "y"]), r"\[0, 7, 'x'\] overlaps \[0, 3, 'y'\]; a word has one tag"),
        ("a.jsonl", _cluener({"x": {"Ann": [[0, 4]]}}), "at these characters the text has 'Ann L'; correct"),
        ("a.jsonl", _cluener({"x": {"Lee": [[0, 2]]}}), "the text has 'Ann'; correct the offsets"),
        ("a.jsonl", _cluener({"x": {"Ann": [0, 2]}}), "type 'x': .*expected CLUENER's form, {type: {text: "),
        ("a.jsonl", _cluener({"x": {"Ann": []}}), "expected CLUENER's form"),
        ("a.jsonl", _cluener({"x": [[0, 2]]}), "expected CLUENER's form"),
        ("a.jsonl", _cluener("x"), "column 'label': 'x'; expected CLUENER's form"),
        ("a.json", _label_studio(_marked(start=0, end=3)), "expected {start, end, label}"),
        ("a.json", _label_studio(_marked(start=0, end=3, labels=["x", "y"])), "expected {start, end, label}"),
        ("a.json", _label_studio(_marked(start=0, end=3, text="Lee", labels=["x"])), "the text has 'Ann'; correct"),
        ("a.json", _label_studio({"type": "choices", "value": {}}), "of type 'choices', and only 'labels', spans"),
        ("a.json", _label_studio(annotations=[{"result": []}, {"result": []}]), "there are 2 annotations of one text"),
        ("a.json", _label_studio(annotations=[{}]), "each has a list 'result'"),
    ],
)
def test_malformed_spans_name_file_and_row_and_what_was_expected(
    here: Path, name: str, content: str, message: str
) -> None:
    (here / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message) as refusal:
        _examples(name)
    assert str(refusal.value).startswith(f"{name}, row 2")


def test_offsets_that_count_a_rare_character_twice_are_told(here: Path) -> None:
    """A browser counts the sign as two."""
    span = {"type": "labels", "value": {"start": 3, "end": 6, "text": "Ann", "labels": ["x"]}}
    task = {"data": {"text": "\U0001f600 Ann ran"}, "annotations": [{"result": [span]}]}
    (here / "a.json").write_text(json.dumps([task, task]), encoding="utf-8")
    with pytest.raises(DataError, match="the text has 'nn '; correct the offsets, which count '\U0001f600' as one"):
        _examples("a.json")


def test_a_malformed_row_may_be_left_out(here: Path) -> None:
    (here / "b.jsonl").write_text(_doccano([0, 99, "x"]), encoding="utf-8")
    config = DataConfig(train="b.jsonl", on_bad_row="skip")
    found = examples_of(read("b.jsonl", config, TASK.columns).rows, TASK, config)
    assert [example.row.number for example in found.examples] == [1]
    assert [row.number for row in found.rejected] == [2]
