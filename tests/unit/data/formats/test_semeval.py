"""SemEval-2010 task 8's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptune.core.errors import DataError
from adaptune.core.types import Example
from adaptune.data.config import DataConfig
from adaptune.data.guess import guess
from adaptune.data.read import examples_of, read
from adaptune.tasks import TASKS

TRAIN = """\
1\t"The system has its application in an arrayed <e1>configuration</e1> of antenna <e2>elements</e2>."
Component-Whole(e2,e1)
Comment: Not a collection: there is structure here.

2\t"The <e1>child</e1> said "no" to the <e2>cradle</e2>"
Other
Comment:

"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _examples(content: str, *, name: str = "TRAIN_FILE.TXT", labelled: bool = True, **task: object) -> list[Example]:
    Path(name).write_text(content, encoding="utf-8")
    made, config = TASKS.make({"name": "relate", **task}), DataConfig(train=name)
    return examples_of(read(name, config, made.columns, labelled=labelled).rows, made, config).examples


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_sentence_its_relation_and_its_comment_are_one_row(end: str) -> None:
    one, other = _examples(TRAIN.replace("\n", end))
    assert one.row.where == "TRAIN_FILE.TXT, row 1"
    assert one.expected == "Component-Whole(e2,e1)"
    assert one.group == "The system has its application in an arrayed configuration of antenna elements."
    assert (other.row.number, other.expected) == (5, "Other")
    assert other.group == 'The child said "no" to the cradle'


def test_the_same_rows_as_json_give_the_same_examples() -> None:
    content = '{"sentence": "The <e1>child</e1> said \\"no\\" to the <e2>cradle</e2>", "relation": "Other"}\n'
    [same] = _examples(content, name="a.jsonl")
    example = _examples(TRAIN)[1]
    assert (same.sequences, same.expected) == (example.sequences, example.expected)


def test_a_test_file_without_relations_is_only_predicted() -> None:
    content = '8001\t"The <e1>child</e1> in the <e2>cradle</e2>."\n8002\t"The <e1>a</e1> of <e2>b</e2>."\n'
    assert [example.expected for example in _examples(content, labelled=False)] == [None, None]
    with pytest.raises(DataError, match="has no column for 'relation'"):
        _examples(content)


def test_the_task_is_guessed() -> None:
    Path("a.txt").write_text(TRAIN, encoding="utf-8")
    found = guess("a.txt")
    assert (found.task, found.format) == ("relate", "semeval")
    assert found.columns == {"text": "text", "relation": "relation"}


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ('3\t"The <e1>child</e1> slept."\nOther\n', "there is no <e2>...</e2> in"),
        ('3\t"The child in the <e2>cradle</e2>"\nOther\n', "there is no <e1>...</e1> in"),
        ('3\t"The <e1></e1> in the <e2>cradle</e2>"\nOther\n', "<e1> holds no text"),
        ('3\t"The <e1>a <e2>b</e1> c</e2>"\nOther\n', "the entities 'a b' and 'b c' overlap"),
        ('3\t"The <e1>a</e1> of <e2>b</e2>"\n', "sentence 3 has no relation in the line below it"),
        ('3\t"The <e1>a</e1> of <e2>b</e2>"\nComment: none\n', "sentence 3 has no relation in the line below it"),
        ('3\t"The <e1>a</e1> of <e2>b</e2>"\nOther\nCause\n', "stand 'Other' and 'Cause'; expected one relation"),
        ('3\t"The <e1>a</e1> of <e2>b</e2>"\nCuase(e1,e2)\n', r"there is no relation 'Cuase\(e1,e2\)'"),
    ],
)
def test_a_malformed_sentence_names_file_and_row(block: str, message: str) -> None:
    relations = ["Component-Whole(e2,e1)", "Cause(e1,e2)"]
    with pytest.raises(DataError, match=message) as refusal:
        _examples(TRAIN + block, relations=relations)
    assert str(refusal.value).startswith("TRAIN_FILE.TXT, row 9")


def test_lines_before_the_first_sentence_are_refused() -> None:
    Path("a.txt").write_text("Other\n" + TRAIN, encoding="utf-8")
    columns = TASKS.get("relate").columns
    with pytest.raises(DataError, match=r"a.txt, row 1: 'Other' follows no sentence"):
        read("a.txt", DataConfig.model_validate({"train": "a.txt", "format": "semeval"}), columns)
