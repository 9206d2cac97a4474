"""SQuAD's articles of paragraphs of questions as rows, and what is wrong with them by file and row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adaptune.core.errors import DataError
from adaptune.data.config import DataConfig
from adaptune.data.formats.json_rows import read_json
from adaptune.data.read import examples_of, read
from adaptune.tasks import TASKS

TASK = TASKS.make({"name": "answer"})
CONTEXT = "The mill is in York."
FOUND = {"question": "Where is the mill?", "answers": [{"text": "York", "answer_start": 15}]}


def _squad(*questions: Any) -> str:
    paragraph = {"context": CONTEXT, "qas": list(questions)}
    return json.dumps({"version": "1.1", "data": [{"title": "Mills", "paragraphs": [paragraph]}]})


def _read(folder: Path, text: str) -> list[Any]:
    (folder / "train.json").write_text(text, encoding="utf-8")
    config = DataConfig(train=str(folder / "train.json"))
    return list(examples_of(read(config.train, config, TASK.columns).rows, TASK, config).examples)


def test_every_question_is_a_row_with_its_context_and_title() -> None:
    table = read_json(_squad({"id": "a", **FOUND}, {"id": "b", **FOUND}), "train.json")
    assert [(record.number, dict(record.values)) for record in table.records] == [
        (1, {"title": "Mills", "context": CONTEXT, "id": "a", **FOUND}),
        (2, {"title": "Mills", "context": CONTEXT, "id": "b", **FOUND}),
    ]


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ({**FOUND, "answers": [{"text": "York", "answer_start": 14}]}, "'York' should start at character 14 .* at 15"),
        ({**FOUND, "answers": [{"text": "Leeds", "answer_start": 15}]}, "it stands nowhere in it"),
        ({**FOUND, "answers": [{"text": "York", "answer_start": 90}]}, "the context has 20 characters"),
        ({**FOUND, "answers": [{"text": " ", "answer_start": 3}]}, "' ' is no text of an answer"),
        ({**FOUND, "answers": [], "is_impossible": False}, r"there is none \(\[\]\); give one, or say"),
        ({**FOUND, "answers": None}, r"there is none \(None\); give one, or say"),
        ({**FOUND, "question": ""}, "column 'question': the text '' is empty"),
        ({"answers": FOUND["answers"]}, "column 'question' is missing"),
        ({"question": FOUND["question"]}, "column 'answers' is missing"),
        ("Where?", "'Where\\?' is no row; expected an object"),
    ],
    ids=["late", "elsewhere", "behind", "blank", "none", "null", "empty", "no question", "no answers", "no object"],
)
def test_a_malformed_question_is_refused_by_file_and_row(second: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"train\.json, row 2.*{told}"):
        _read(tmp_path, _squad(FOUND, second))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([{"paragraphs": []}, {"title": "Mills"}], r"train\.json, article 2: .*has no 'paragraphs'"),
        ([{"paragraphs": [{"context": CONTEXT}]}], r"train\.json, article 1, paragraph 1: .*has no 'qas'"),
        ([{"paragraphs": [{"context": CONTEXT, "qas": {}}]}], r"paragraph 1: .*has \{\} as 'qas'"),
    ],
)
def test_a_file_of_another_form_is_refused_by_article_and_paragraph(data: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_json(json.dumps({"data": data}), "train.json")
