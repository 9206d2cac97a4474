"""Rows that are to be answered come window by window: the same as those that are read whole, bad ones told first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adaptune.core.errors import DataError
from adaptune.core.types import Example
from adaptune.data import flow as flow_module
from adaptune.data.config import DataConfig
from adaptune.data.flow import Examined, Flow, Reader, examine_flow, refuse_together
from adaptune.data.read import examples_of, read
from adaptune.tasks import TASKS

TEXTS = [f"the film was good, {number}" for number in range(7)]
CSV = "text\n" + "".join(f'"{text}"\n' for text in TEXTS)
JSONL = "".join(json.dumps({"text": text, "label": "unread"}) + "\n" for text in TEXTS)


def flow(source: str, *tasks: str, size: int = 3, **settings: Any) -> Flow:
    config = DataConfig.model_validate({"train": source} | settings)
    return Flow(source, tuple(Reader(TASKS.get(name)(), config) for name in tasks or ("classify",)), size)


def examples(found: Flow) -> list[Example]:
    return [row[0] for window in found for row in window.examples]


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "task"),
    [
        ("a.csv", CSV, "classify"),
        ("a.jsonl", JSONL, "classify"),
        ("a.json", json.dumps([{"text": text} for text in TEXTS]), "classify"),
        ("a.conll", "Ann\tO\n\nNew\tO\nYork\tO\n", "tag"),
        ("a.jsonl", '{"query": "a", "candidates": ["b", "c"]}\n', "rank"),
    ],
)
def test_windows_hold_the_rows_of_the_whole_file_in_order(name: str, content: str, task: str) -> None:
    Path(name).write_text(content, encoding="utf-8")
    found = flow(name, task)
    config, kind = found.readers[0].config, found.readers[0].task
    whole = examples_of(read(name, config, kind.columns, labelled=False).rows, kind, config).examples
    assert examples(found) == whole != []
    assert all(len(window.examples) <= 3 for window in found)
    assert examine_flow(found, None).rows == len(whole)


def test_a_text_file_has_one_text_a_line_where_nothing_else_is_wanted() -> None:
    Path("a.txt").write_text("good, really\n\nbad\n", encoding="utf-8")
    found = examples(flow("a.txt", columns={"text": "review"}))
    assert [(one.row.number, one.sequences[0].first) for one in found] == [(1, "good, really"), (3, "bad")]


def test_a_pattern_reads_its_files_one_after_another_and_knows_that_they_are_several() -> None:
    for name in "ab":
        Path(f"{name}.csv").write_text(f"text\n{name}1\n{name}2\n", encoding="utf-8")
    found = flow("?.csv")
    where = [one.row.where for one in examples(found)]
    assert where == ["a.csv, row 2", "a.csv, row 3", "b.csv, row 2", "b.csv, row 3"]
    assert found.of_several
    assert len(examine_flow(found, None).fingerprints) == 2


def test_a_bad_row_is_refused_before_any_is_answered() -> None:
    Path("a.jsonl").write_text(JSONL + '{"text": 3}\nno json\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"2 rows cannot be used(.|\n)*row 8(.|\n)*row 9"):
        examine_flow(flow("a.jsonl"), None)


def test_bad_rows_may_be_left_out_and_are_listed_with_their_reasons() -> None:
    Path("a.jsonl").write_text('no json\n{"text": 3}\n' + JSONL, encoding="utf-8")
    listed = Path("out.rejected.jsonl")
    found = flow("a.jsonl", on_bad_row="skip")
    assert examine_flow(found, listed).rows == 7
    lines = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()]
    assert [(line["file"], line["row"]) for line in lines] == [("a.jsonl", 1), ("a.jsonl", 2)]
    assert "no JSON" in lines[0]["reason"] or "JSON" in lines[0]["reason"]
    assert [one.row.number for one in examples(found)] == [3, 4, 5, 6, 7, 8, 9]
    Path("a.jsonl").write_text(JSONL, encoding="utf-8")
    examine_flow(found, listed)
    assert not listed.exists()  # of an earlier file


def test_a_file_of_bad_rows_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_module, "MOST_REFUSED", 4)
    Path("a.jsonl").write_text(JSONL + "no json\n" * 50, encoding="utf-8")
    with pytest.raises(DataError, match="4 rows cannot be used"):
        examine_flow(flow("a.jsonl"), None)


def test_a_file_without_rows_and_one_without_usable_rows_are_refused() -> None:
    Path("a.csv").write_text("text\n", encoding="utf-8")
    with pytest.raises(DataError, match="has no rows; expected at least one below its header"):
        examine_flow(flow("a.csv"), None)
    Path("a.jsonl").write_text("no json\nnor here\n", encoding="utf-8")
    with pytest.raises(DataError, match="none of its 2 rows can be used"):
        examine_flow(flow("a.jsonl", on_bad_row="skip"), None)


def test_of_several_tasks_each_makes_its_own_of_rows_that_all_can_use() -> None:
    Path("a.jsonl").write_text('{"text": "a b"}\n{"text": " "}\n{"text": "c"}\n', encoding="utf-8")
    found = flow("a.jsonl", "classify", "tag", on_bad_row="skip")
    windows = list(found)
    rows = [row for window in windows for row in window.examples]
    assert [[one.sequences[0].first for one in row] for row in rows] == [["a b", ("a", "b")], ["c", ("c",)]]
    assert [one.number for window in windows for one in window.rejected] == [2]
    assert examine_flow(found, None) == Examined(2, (windows[0].fingerprint,))


def test_rows_that_are_read_together_are_answered_for_one_task_alone() -> None:
    with pytest.raises(DataError, match=r"task 'best' reads rows together.*--task NAME"):
        refuse_together({"best": TASKS.get("rank")(), "kind": TASKS.get("classify")()})
    refuse_together({"best": TASKS.get("rank")()})
