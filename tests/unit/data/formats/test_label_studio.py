"""Choices and numbers of annotation tools as training rows, by literal exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adaptune.core.errors import DataError
from adaptune.data.config import DataConfig
from adaptune.data.guess import guess
from adaptune.data.read import examples_of, read
from adaptune.tasks import TASKS

JSON = """\
[{"id": 11, "annotations": [{"id": 5, "completed_by": 1, "result": [{"value": {"choices": ["positive"]}, "id": "Z1x",
   "from_name": "label", "to_name": "text", "type": "choices", "origin": "manual"}], "was_cancelled": false,
   "ground_truth": false, "lead_time": 3.2, "prediction": {}, "task": 11}], "file_upload": "1a-next.json", "drafts": [],
  "predictions": [{"id": 3, "model_version": "adaptune reviews", "result": [], "score": 0.51, "task": 11}],
  "data": {"text": "the film was good"}, "meta": {"row": 4}, "total_annotations": 1, "cancelled_annotations": 0,
  "project": 2, "updated_by": 1},
 {"id": 12, "annotations": [{"id": 6, "result": [], "was_cancelled": true}, {"id": 7, "was_cancelled": false,
   "result": [{"value": {"choices": ["negative"]}, "id": "Z2x", "from_name": "label", "to_name": "text",
   "type": "choices"}]}], "data": {"text": "the book was bad"}}]
"""
JSON_MIN = """\
[{"text": "the film was good", "id": 11, "label": "positive", "annotator": 1, "annotation_id": 5, "lead_time": 3.2},
 {"text": "the book was bad", "id": 12, "label": {"choices": ["negative"]}, "annotator": 1, "annotation_id": 7}]
"""
DOCCANO = """\
{"id": 21, "text": "the film was good", "source": "pool.jsonl", "row": 4, "label": ["positive"], "Comments": []}
{"id": 22, "text": "the book was bad", "source": "pool.jsonl", "row": 9, "label": ["negative"], "Comments": []}
"""


def _expected(file: Path, task: str, **settings: Any) -> list[tuple[Any, Any]]:
    config, kind = DataConfig.model_validate({"train": str(file), **settings}), TASKS.make({"name": task})
    examples = examples_of(read(file, config, kind.columns).rows, kind, config).examples
    return [(example.sequences[0].first, example.expected) for example in examples]


@pytest.mark.parametrize(
    ("name", "text"), [("export.json", JSON), ("min.json", JSON_MIN), ("all.jsonl", DOCCANO)], ids=lambda one: one[:8]
)
def test_a_label_a_text_is_read_from_every_export(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert _expected(tmp_path / name, "classify") == [
        ("the film was good", "positive"),
        ("the book was bad", "negative"),
    ]
    found = guess(tmp_path / name)
    assert (found.task, found.columns) == ("classify", {"text": "text", "label": "label"})


def test_several_choices_are_several_labels(tmp_path: Path) -> None:
    file = tmp_path / "export.json"
    file.write_text(
        JSON.replace('["positive"]', '["positive", "short"]').replace('"from_name": "label"', '"from_name": "labels"')
    )
    assert [labels for _, labels in _expected(file, "multilabel")] == [("positive", "short"), ("negative",)]


def test_a_control_of_another_name_is_a_column_of_that_name(tmp_path: Path) -> None:
    file = tmp_path / "export.json"
    file.write_text(JSON.replace('"from_name": "label"', '"from_name": "mood"'))
    assert _expected(file, "classify", columns={"label": "mood"})[0] == ("the film was good", "positive")
    with pytest.raises(DataError, match=r"no column for 'label' .*; it has: 'text', 'mood'"):
        _expected(file, "classify")


@pytest.mark.parametrize("kind", ["number", "rating"])
def test_numbers_are_numbers(tmp_path: Path, kind: str) -> None:
    result = f'{{"from_name": "score", "to_name": "text", "type": "{kind}", "value": {{"{kind}": 4}}}}'
    (tmp_path / "export.json").write_text(
        f'[{{"data": {{"text": "good"}}, "annotations": [{{"result": [{result}]}}]}}]'
    )
    assert _expected(tmp_path / "export.json", "regress") == [("good", 4.0)]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('["negative"]', '["negative", "short"]', r"\['negative', 'short'\] is no label; expected one text"),
        ('["negative"]', "[]", r"the label is missing"),
        ('"type": "choices"}', '"type": "textarea"}', r"is of type 'textarea', and only 'labels'"),
        ('"from_name": "label", "to_name": "text",\n   "type": "choices"}', '"type": "choices"}', "names no control"),
        ('{"text": "the book was bad"}', '{"text": "the book was bad", "label": "x"}', "rename one of them"),
        ('"id": 7, "was_cancelled": false', '"id": 7, "was_cancelled": true', r"column 'label' is missing"),
    ],
)
def test_a_task_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, old: str, new: str, reason: str) -> None:
    assert JSON.count(old) == 1
    (tmp_path / "export.json").write_text(JSON.replace(old, new))
    with pytest.raises(DataError, match=rf"export\.json, row 2.*{reason}"):
        _expected(tmp_path / "export.json", "classify")


def test_an_export_of_doccano_with_numbers_for_labels_says_what_to_export(tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_text(
        '{"id": 1, "text": "good", "annotations": [{"label": 2, "user": 1}], "meta": {}, "annotation_approver": null}\n'
    )
    with pytest.raises(DataError, match="numbers of doccano's database; export as JSONL with text labels"):
        _expected(tmp_path / "old.jsonl", "classify")
