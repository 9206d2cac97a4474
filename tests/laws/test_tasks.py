"""What every task must keep. A new task adds one entry to CASES: rows as they are written, right and malformed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from adaptune.approaches.finetune import Finetune
from adaptune.core.backbone import Backbone
from adaptune.core.errors import DataError, Unsupported
from adaptune.core.task import Task
from adaptune.core.types import (
    Answer,
    Conversation,
    Example,
    Labels,
    OfDocument,
    OfItself,
    OfLabels,
    OfMarked,
    OfNumber,
    OfOption,
    OfSequence,
    OfSpan,
    OfText,
    OfWords,
    Row,
    Sequence,
    Turn,
)
from adaptune.data.encode import encode
from adaptune.data.readings import readings_of
from adaptune.heads import HEADS
from adaptune.serve.corrections import corrected
from adaptune.serve.registered import ServedTask
from adaptune.tasks import TASKS


@dataclass(frozen=True)
class Case:
    """Literal rows of one task."""

    row: Mapping[str, Any]
    sequences: tuple[Sequence, ...]
    expected: Any
    rows: tuple[Mapping[str, Any], ...]
    wrong: tuple[Any, ...]
    """Answers to `rows`, some of them wrong."""
    malformed: tuple[Mapping[str, Any], ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the task, where its defaults ask more of a tokenizer than the tiny ones have."""


CASES = {
    "answer": Case(
        row={
            "question": "Where is it?",
            "context": "It is in the old town.",
            "answers": [{"text": "the old town", "answer_start": 9}, {"text": "in the old town", "answer_start": 6}],
        },
        sequences=(Sequence("Where is it?", "It is in the old town.", OfSpan((9, 21)), overflow="window"),),
        expected=("the old town", "in the old town"),
        rows=(
            {"question": "a?", "context": "red or blue", "answers": {"text": ["red"], "answer_start": [0]}},
            {"question": "b?", "context": "red or blue", "answers": "or blue", "start": "4"},
            {"question": "c?", "context": "red or blue", "answers": [], "impossible": True},
            {"question": "d?", "context": "red or blue", "answers": {"text": "blue", "answer_start": 7}},
        ),
        wrong=("red", "blue", "", ""),
        malformed=(
            {"context": "red", "answers": "red", "start": 0},
            {"question": " ", "context": "red", "answers": "red", "start": 0},
            {"question": "a?", "context": None, "answers": "red", "start": 0},
            {"question": "a?", "context": "red", "answers": "red"},
            {"question": "a?", "context": "red", "answers": "red", "start": 1},
            {"question": "a?", "context": "red", "answers": "red", "start": -3},
            {"question": "a?", "context": "red", "answers": "red", "start": "first"},
            {"question": "a?", "context": "red", "answers": "red", "start": True},
            {"question": "a?", "context": "red", "answers": ["red"]},
            {"question": "a?", "context": "red", "answers": [{"text": "red"}]},
            {"question": "a?", "context": "red", "answers": [{"answer_start": 0}]},
            {"question": "a?", "context": "red", "answers": {"text": ["red"], "answer_start": []}},
            {"question": "a?", "context": "red", "answers": {"text": ["red"], "answer_start": [0]}, "impossible": "1"},
            {"question": "a?", "context": "red", "answers": [], "impossible": False},
            {"question": "a?", "context": "red", "answers": [], "impossible": "perhaps"},
            {"question": "a?", "context": "red", "answers": ""},
            {"question": "a?", "context": "red", "answers": None, "start": 0},
        ),
    ),
    "chat": Case(
        settings={"template": "plain"},
        row={
            "system": "Be brief.",
            "history": [["Are you there?", "Yes."]],
            "instruction": "Translate.",
            "input": "a bank",
            "output": "una banca",
        },
        sequences=(
            Sequence(
                "system: Be brief.\nuser: Are you there?\nassistant: Yes.\nuser: Translate.\na bank",
                target=OfText("una banca"),
                conversation=Conversation(
                    (
                        Turn("system", "Be brief."),
                        Turn("user", "Are you there?"),
                        Turn("assistant", "Yes."),
                        Turn("user", "Translate.\na bank"),
                    ),
                    template="plain",
                ),
            ),
        ),
        expected="una banca",
        rows=(
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Is the old bank in the town open?"},
                    {"role": "assistant", "content": "the old bank in the town is open"},
                ]
            },
            {"messages": [{"from": "human", "value": "And now?"}, {"from": "gpt", "value": "it is not open now"}]},
            {"instruction": "Where are we?", "input": "", "output": "我们在公园里看到了很多人"},
        ),
        wrong=("the old bank in the town was open", "it is not open now", "公园里有人"),
        malformed=(
            {},
            {"messages": []},
            {"messages": None},
            {"messages": " "},
            {"messages": [{"content": "a"}, {"role": "assistant", "content": "b"}]},
            {"messages": [{"role": "user"}, {"role": "assistant", "content": "b"}]},
            {"messages": [{"role": "narrator", "content": "a"}, {"role": "assistant", "content": "b"}]},
            {"messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": "b"}]},
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]},
            {"messages": [{"role": "user", "content": ["a"]}, {"role": "assistant", "content": "b"}]},
            {"messages": [{"role": "assistant", "content": "b"}]},
            {"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]},
            {"messages": ["a", "b"]},
            {"messages": "a", "output": "b"},
            {"output": "b"},
            {"instruction": "", "output": "b"},
            {"instruction": "a", "input": 3, "output": "b"},
            {"instruction": "a", "output": None},
            {"instruction": "a", "history": [["b"]], "output": "c"},
            {"instruction": "a", "history": "b", "output": "c"},
        ),
    ),
    "choose": Case(
        row={"context": "It rained.", "question": "So she", "options": ["ran", "sang", "sat"], "answer": "B"},
        sequences=(
            Sequence("It rained.", "So she ran", OfOption(False)),
            Sequence("It rained.", "So she sang", OfOption(True)),
            Sequence("It rained.", "So she sat", OfOption(False)),
        ),
        expected=1,
        rows=(
            {"context": "a", "options": ["red hat", "blue"], "answer": 0},
            {"question": "blue or?", "options": {"one": "blue", "two": "green", "three": None}, "answer": "blue"},
            {"question": "c", "options": {"text": ["x", "y"], "label": ["1", "2"]}, "answer": "2"},
            {"context": "d", "question": "e", "options": '["x", "y", "z"]', "answer": "C"},
        ),
        wrong=(0, 1, 1, 0),
        malformed=(
            {"options": ["x", "y"], "answer": 0},
            {"context": " ", "options": ["x", "y"], "answer": 0},
            {"context": 3, "options": ["x", "y"], "answer": 0},
            {"context": "a", "answer": 0},
            {"context": "a", "options": None, "answer": 0},
            {"context": "a", "options": [], "answer": 0},
            {"context": "a", "options": ["x"], "answer": 0},
            {"context": "a", "options": ["x", ""], "answer": 0},
            {"context": "a", "options": ["x", 2], "answer": 0},
            {"context": "a", "options": ["x", "x"], "answer": 0},
            {"context": "a", "options": ["x", "x "], "answer": 0},
            {"context": "a", "options": "x, y", "answer": 0},
            {"context": "a", "options": {"one": "x", "two": " "}, "answer": 0},
            {"context": "a", "options": {"text": ["x", "y"], "label": ["A"]}, "answer": "A"},
            {"context": "a", "options": {"text": ["x", "y"], "label": ["A", "A"]}, "answer": "A"},
            {"context": "a", "options": ["x", "y"], "answer": 2},
            {"context": "a", "options": ["x", "y"], "answer": -1},
            {"context": "a", "options": ["x", "y"], "answer": "C"},
            {"context": "a", "options": ["x", "y"], "answer": ""},
            {"context": "a", "options": ["x", "y"], "answer": None},
            {"context": "a", "options": ["x", "y"], "answer": True},
            {"context": "a", "options": ["x", "y"], "answer": ["x"]},
            {"context": "a", "options": ["B", "A"], "answer": "A"},
            {"context": "a", "options": ["0", "1", "3", "2"], "answer": "3"},
        ),
    ),
    "classify": Case(
        row={"text": "Where is my card?", "label": "card_arrival"},
        sequences=(Sequence("Where is my card?", target=OfSequence("card_arrival")),),
        expected="card_arrival",
        rows=(
            {"text": "a", "label": "x"},
            {"text": "b", "label": "y"},
            {"text": "c", "label": "x"},
            {"text": "d", "pair": "e", "label": "z"},
        ),
        wrong=("x", "x", "y", "z"),
        malformed=(
            {"label": "x"},
            {"text": "", "label": "x"},
            {"text": None, "label": "x"},
            {"text": 3, "label": "x"},
            {"text": "a", "label": None},
            {"text": "a", "label": ""},
            {"text": "a", "label": ["x", "y"]},
            {"text": "a", "pair": " ", "label": "x"},
        ),
    ),
    "multilabel": Case(
        row={"text": "A new card, please.", "labels": ["new", "card"]},
        sequences=(Sequence("A new card, please.", target=OfLabels(("card", "new"))),),
        expected=("card", "new"),
        rows=(
            {"text": "a", "labels": ["x", "y"]},
            {"text": "b", "labels": "x, z"},
            {"text": "c", "labels": {"x": "1", "y": 0}},
            {"text": "d", "pair": "e", "labels": ""},
        ),
        wrong=(("x",), ("x", "z"), ("y",), ()),
        malformed=(
            {"labels": ["x"]},
            {"text": "", "labels": ["x"]},
            {"text": "a", "labels": None},
            {"text": "a", "labels": 3},
            {"text": "a", "labels": ["x", None]},
            {"text": "a", "labels": ["x", ["y"]]},
            {"text": "a", "labels": "x,,y"},
            {"text": "a", "labels": "x, x"},
            {"text": "a", "labels": {"x": 2}},
            {"text": "a", "labels": {"x": ""}},
        ),
    ),
    "match": Case(
        row={"text": "A plane takes off.", "pair": "A plane flies.", "label": True},
        sequences=(Sequence("A plane takes off.", "A plane flies.", OfSequence("true")),),
        expected="true",
        rows=(
            {"text": "a b", "pair": "b a", "label": "1"},
            {"text": "c d", "pair": "e f", "label": "0"},
            {"text": "g h", "pair": "g i", "label": 1},
            {"text": "j", "pair": "k", "label": 0},
        ),
        wrong=("1", "1", "1", "0"),
        malformed=(
            {"text": "a", "label": "1"},
            {"pair": "a", "label": "1"},
            {"text": "a", "pair": " ", "label": "1"},
            {"text": "a", "pair": 3, "label": "1"},
            {"text": "a", "pair": "b", "label": None},
            {"text": "a", "pair": "b", "label": ["1", "2"]},
        ),
    ),
    "pretrain": Case(
        row={"text": "The river froze."},
        sequences=(Sequence("The river froze.", target=OfItself(), overflow="window"),),
        expected=(0.0, 16.0),
        rows=({"text": "a"}, {"text": "b c"}, {"text": "我们在公园里"}),
        wrong=((-1.5, 2.0), (-0.2, 4.0), (0.0, 3.0)),
        malformed=({}, {"text": ""}, {"text": " \n"}, {"text": None}, {"text": 3}, {"text": ["a"]}),
    ),
    "rank": Case(
        row={"query": "lost card", "candidates": ["block it", "pay in", "call us"], "relevance": [2, 0, 1]},
        sequences=(
            Sequence("lost card", target=OfDocument(0.0)),
            Sequence("block it", target=OfDocument(2.0)),
            Sequence("pay in", target=OfDocument(0.0)),
            Sequence("call us", target=OfDocument(1.0)),
        ),
        expected=(("block it", 2.0), ("pay in", 0.0), ("call us", 1.0)),
        rows=(
            {"query": "red hat", "candidates": ["hat", "coat"], "relevance": 0},
            {"query": "blue coat", "candidates": {"a": "hat", "b": "coat", "c": ""}, "relevance": "coat"},
            {"query": "c", "document": ["x", "y", "z"], "relevance": ["1", "0", "true"]},
            {"query": "d", "positive": "x", "negatives": ["y", "z"]},
        ),
        wrong=(
            (("coat", 0.9), ("hat", 0.1)),
            (("coat", 0.9), ("hat", 0.1)),
            (("y", 3.0), ("x", 2.0)),
            (("y", 3.0), ("z", 3.0)),
        ),
        malformed=(
            {"candidates": ["x", "y"], "relevance": 0},
            {"query": " ", "candidates": ["x", "y"], "relevance": 0},
            {"query": "a", "relevance": 0},
            {"query": "a", "negatives": ["x"]},
            {"query": "a", "candidates": None, "relevance": 0},
            {"query": "a", "candidates": [], "relevance": []},
            {"query": "a", "candidates": "x", "relevance": [1]},
            {"query": "a", "candidates": ["x", " "], "relevance": 0},
            {"query": "a", "candidates": ["x", 2], "relevance": 0},
            {"query": "a", "candidates": ["x", "y", "x"], "relevance": 0},
            {"query": "a", "candidates": ["x", "y"], "relevance": [1]},
            {"query": "a", "candidates": ["x", "y"], "relevance": [1, 0, 0]},
            {"query": "a", "candidates": ["x", "y"], "relevance": [0, 0]},
            {"query": "a", "candidates": ["x", "y"], "relevance": [1, 1]},
            {"query": "a", "candidates": ["x", "y"], "relevance": [1, -1]},
            {"query": "a", "candidates": ["x", "y"], "relevance": [1, None]},
            {"query": "a", "candidates": ["x", "y"], "relevance": [1, "often"]},
            {"query": "a", "candidates": ["x", "y"], "relevance": 2},
            {"query": "a", "candidates": ["x", "y"], "relevance": -1},
            {"query": "a", "candidates": ["x", "y"], "relevance": "z"},
            {"query": "a", "candidates": ["x", "y"], "relevance": None},
            {"query": "a", "candidates": ["x", "y"], "relevance": True},
            {"query": "a", "candidates": ["x", "y"], "document": "z", "relevance": 0},
            {"query": "a", "candidates": ["x", "y"], "relevance": 0, "negatives": ["z"]},
            {"query": "a", "document": "x", "relevance": 1},
            {"query": "a", "document": ["x", "x"], "relevance": [1, 0]},
            {"query": "a", "positive": "x"},
            {"query": "a", "positive": "x", "negatives": 3},
            {"query": "a", "positive": "x", "negatives": ["y", None]},
            {"query": "a", "positive": None, "negatives": ["y"]},
            {"query": "a", "positive": "x", "negatives": ["y", "x"]},
            {"query": "a", "positive": "x", "negatives": ["y"], "relevance": 1},
        ),
    ),
    "regress": Case(
        row={"text": "A plane takes off.", "pair": "A plane flies.", "number": "3.8"},
        sequences=(Sequence("A plane takes off.", "A plane flies.", OfNumber(3.8)),),
        expected=3.8,
        rows=(
            {"text": "a", "number": 1},
            {"text": "b b", "number": "2.5"},
            {"text": "c", "number": -4.0},
            {"text": "d", "pair": "e", "number": "1e1"},
        ),
        wrong=(1.5, 3.0, 2.0, 7.0),
        malformed=(
            {"number": 1},
            {"text": " ", "number": 1},
            {"text": "a", "number": None},
            {"text": "a", "number": ""},
            {"text": "a", "number": "many"},
            {"text": "a", "number": "nan"},
            {"text": "a", "number": float("inf")},
            {"text": "a", "number": True},
            {"text": "a", "number": [1]},
        ),
    ),
    "relate": Case(
        row={"text": "The <e2>crash</e2> came from the <e1>storm</e1>.", "relation": "Cause-Effect(e1,e2)"},
        sequences=(
            Sequence(
                "The  # crash #  came from the  @ storm @ .",
                target=OfMarked("Cause-Effect(e1,e2)"),
                overflow="around",
                marks=((31, 40), (5, 14)),
            ),
        ),
        expected="Cause-Effect(e1,e2)",
        rows=(
            {"tokens": ["a", "b", "c"], "head": ["a", "Q1", [[0]]], "tail": ["c", "Q2", [[2]]], "relation": "R(e1,e2)"},
            {"text": "a b", "head": [0, 1], "tail": {"start": 2, "end": 3}, "relation": "R(e2,e1)"},
            {"text": "c <e1>d</e1> <e2>e</e2>", "relation": "S"},
            {"tokens": "f g", "head": [1, 2], "tail": [0, 1], "relation": "Other"},
        ),
        wrong=("R(e1,e2)", "R(e1,e2)", "Other", "Other"),
        malformed=(
            {"relation": "R"},
            {"text": "a b", "relation": "R"},
            {"text": "<e1>a</e1> b", "relation": "R"},
            {"text": "<e1>a</e1> <e2>b", "relation": "R"},
            {"text": "<e1>a</e1> <e1>b</e1> <e2>c</e2>", "relation": "R"},
            {"text": "<e1>a <e2>b</e2></e1>", "relation": "R"},
            {"text": "<e1></e1> <e2>b</e2>", "relation": "R"},
            {"text": "a b", "head": [0, 1], "tail": [1, 9], "relation": "R"},
            {"text": "a b", "head": [0, 1], "relation": "R"},
            {"text": "a b", "head": [0, 3], "tail": [2, 3], "relation": "R"},
            {"text": "a b", "head": [2, 1], "tail": [2, 3], "relation": "R"},
            {"tokens": ["a", "b"], "head": ["a", "Q", [[0]]], "tail": ["b", "Q", [[5]]], "relation": "R"},
            {"tokens": ["a", "b"], "head": ["a", "Q", [[0]]], "tail": ["b", "Q", []], "relation": "R"},
            {"tokens": ["a", "b"], "head": ["a", "Q", [[0]]], "tail": ["a", "Q", [[0]]], "relation": "R"},
            {"tokens": ["a", 2], "head": [0, 1], "tail": [1, 2], "relation": "R"},
            {"text": "<e1>a</e1> <e2>b</e2>", "relation": None},
        ),
    ),
    "tag": Case(
        row={"tokens": ["Ann", "Lee", "left"], "tags": ["B-name", "I-name", "O"]},
        sequences=(Sequence(("Ann", "Lee", "left"), target=OfWords(("B-name", "I-name", "O")), overflow="window"),),
        expected=("B-name", "I-name", "O"),
        rows=(
            {"tokens": "Ann Lee left", "tags": "B-name I-name O"},
            {"tokens": ["at", "7", "pm"], "tags": ["O", "B-time", "I-time"]},
            {"text": "Bob left.", "spans": [{"start": 0, "end": 3, "label": "name"}]},
            {"tokens": "so it is", "tags": "O O O"},
        ),
        wrong=(("B-name", "O", "O"), ("O", "B-time", "I-time"), ("B-name", "O", "B-time"), ("O", "O", "O")),
        malformed=(
            {"tags": ["O"]},
            {"tokens": [], "tags": []},
            {"tokens": ["a", 1], "tags": ["O", "O"]},
            {"tokens": ["a", "b"], "tags": ["O"]},
            {"tokens": ["a"], "tags": None},
            {"tokens": ["a", "b"], "tags": ["O", "I-x"]},
            {"tokens": ["a", "b"], "tags": ["O", "x"]},
            {"text": "Bob left", "spans": [{"start": 1, "end": 3, "label": "name"}]},
            {"text": "Bob left", "spans": [{"start": 0, "end": 30, "label": "name"}]},
        ),
    ),
}

WRITTEN = Case(
    row={"source": "name[Aroma], area[centre]", "target": ["Aroma is in the centre.", "In the centre is Aroma."]},
    sequences=(Sequence("name[Aroma], area[centre]", target=OfText("Aroma is in the centre.")),),
    expected=("Aroma is in the centre.", "In the centre is Aroma."),
    rows=(
        {"source": "The bank in the old town is open now", "target": "the old bank in the town is open"},
        {"source": ["One sentence.", "Another one."], "target": "one sentence and another"},
        {"source": "我们在公园里看到了很多人", "target": ["公园里有很多人", "很多人在公园里"]},
    ),
    wrong=("the old bank in the town was open", "another sentence", "公园里有人"),
    malformed=(
        {"target": "a"},
        {"source": " ", "target": "a"},
        {"source": 3, "target": "a"},
        {"source": ["a", 1], "target": "a"},
        {"source": "a", "target": None},
        {"source": "a", "target": ""},
        {"source": "a", "target": []},
        {"source": "a", "target": ["b", " "]},
    ),
)
CASES |= dict.fromkeys(("write", "translate", "summarise"), WRITTEN)


@pytest.fixture(params=TASKS.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def task(name: str, case: Case) -> Task:
    return TASKS.make({"name": name, **case.settings})


@pytest.fixture
def case(name: str) -> Case:
    return CASES[name]


@pytest.fixture
def examples(task: Task, case: Case) -> list[Example]:
    return [task.example(Row("rows.jsonl", number, values)) for number, values in enumerate(case.rows, 1)]


def test_a_literal_row_becomes_the_expected_example(task: Task, case: Case) -> None:
    row = Row("rows.jsonl", 1, case.row)
    assert task.example(row) == Example(row, case.sequences, case.expected)


def test_a_row_without_its_label_columns_is_unlabelled(task: Task, case: Case) -> None:
    if task.target is OfItself:
        pytest.skip("a raw text is its own label")
    labels = {column.name for column in task.columns if column.label}
    row = Row("rows.jsonl", 1, {name: value for name, value in case.row.items() if name not in labels})
    example = task.example(row)
    assert example.expected is None
    assert all(sequence.target is None for sequence in example.sequences)
    assert [(s.first, s.second) for s in example.sequences] == [(s.first, s.second) for s in case.sequences]


def test_a_corrected_answer_gives_the_row_that_was_labelled_so(task: Task, case: Case) -> None:
    """What a server is told was right; of a task whose rows have no answers it is refused."""
    served = ServedTask(None, 0, task, HEADS.make({"name": task.default_head}), Finetune(), Labels(()), {}, 64, {})
    labels = {column.name for column in task.columns if column.label}
    if not labels and not any(column.whole for column in task.columns):
        with pytest.raises(Unsupported, match="no answers"):
            corrected(served, case.row, "an answer", row=0, new_label=True)
        return
    for values in (case.row, *case.rows):
        answer = {name: value for name, value in values.items() if name in labels}
        if answer:
            given = {name: value for name, value in values.items() if name not in labels}
            found = corrected(served, given, answer, row=0, new_label=True)
            again, expected = (task.example(Row("rows.jsonl", 1, one)) for one in (found.training, values))
            assert (again.sequences, again.expected) == (expected.sequences, expected.expected)


def test_every_malformed_row_is_refused_by_number(task: Task, case: Case) -> None:
    for number, values in enumerate(case.malformed, 2):
        with pytest.raises(DataError) as refusal:
            task.example(Row("rows.jsonl", number, values))
        assert str(refusal.value).startswith(f"rows.jsonl, row {number}")


def test_perfect_answers_score_one(task: Task, examples: list[Example]) -> None:
    expected = [example.expected for example in examples]
    scores = task.score(expected, expected)
    assert tuple(scores.values) == task.metrics + task.errors
    assert [scores.values[name] for name in task.metrics] == pytest.approx([1.0] * len(task.metrics))
    assert [scores.values[name] for name in task.errors] == [0.0] * len(task.errors)
    assert all(row["f1"] == 1.0 for row in scores.per_class.values())


def test_wrong_answers_score_less(task: Task, case: Case, examples: list[Example]) -> None:
    scores = task.score(case.wrong, [example.expected for example in examples])
    assert all(0 < scores.values[name] < 1 for name in task.metrics)
    assert all(scores.values[name] > 0 for name in task.errors)


def test_the_order_of_rows_does_not_matter(task: Task, case: Case, examples: list[Example]) -> None:
    expected = [example.expected for example in examples]
    there = task.score(case.wrong, expected)
    back = task.score(case.wrong[::-1], expected[::-1])
    assert there.values == pytest.approx(back.values)
    assert there.per_class == back.per_class
    assert there.confusion == back.confusion


def test_the_sums_of_counts_give_the_default_metric(task: Task, case: Case, examples: list[Example]) -> None:
    expected = [example.expected for example in examples]
    counts = task.counts(case.wrong, expected)
    assert counts.shape[0] == len(examples)
    assert task.metric in task.metrics
    assert float(task.metric_of(counts.sum(axis=0))) == pytest.approx(
        task.score(case.wrong, expected).values[task.metric]
    )
    several = task.metric_of(np.stack([counts.sum(axis=0), counts.sum(axis=0)]))
    assert several.shape == (2,)


def test_labels_do_not_depend_on_the_order_of_rows(task: Task, examples: list[Example]) -> None:
    there, back = task.labels(examples), task.labels(examples[::-1])
    assert there.names == back.names
    assert there.counts == back.counts
    assert len(there.counts) == len(there.names) == len(set(there.names))


def test_every_row_has_a_stratum(task: Task, examples: list[Example]) -> None:
    strata = task.strata(examples)
    assert len(strata) == len(examples)
    assert len(set(strata)) > 1 or task.target in (OfText, OfItself), (
        "only texts have no classes whose shares could be kept"
    )


def test_strata_and_labels_look_at_answers_alone(task: Task, examples: list[Example]) -> None:
    """Of rows that are streamed nothing else is at hand then."""
    alone = [Example(Row("", 0, {}), (), example.expected) for example in examples]
    assert task.strata(alone) == task.strata(examples)
    assert task.labels(alone) == task.labels(examples)
    assert task.labels(alone).counts == task.labels(examples).counts
    assert task.labels(alone).moments == task.labels(examples).moments


def test_a_described_answer_is_plain_json(task: Task, examples: list[Example]) -> None:
    described = [task.describe(example, Answer(example.expected, 0.5)) for example in examples]
    assert json.loads(json.dumps(described)) == described


def test_plain_models_answer_every_row(task: Task, examples: list[Example]) -> None:
    train = examples * 3
    found = task.baselines(train, examples)
    if task.target is OfItself:
        assert not found, "plain models have other tokens, and their perplexities cannot be compared"
        return
    assert all(len(answers) == len(examples) for answers in found.values())
    expected = [example.expected for example in examples]
    assert max(task.score(answers, expected).values[task.metric] for answers in found.values()) > 0


def test_what_it_reads_has_names_that_differ(task: Task) -> None:
    names = [column.name for column in task.columns]
    assert len(names) == len(set(names))
    assert any(column.label for column in task.columns) or task.target is OfItself


def test_every_labelled_row_is_shown_token_by_token_with_what_carries_loss(
    task: Task, case: Case, backbone_of: Callable[..., Backbone]
) -> None:
    head = HEADS.make({"name": task.default_head})
    backbone = backbone_of("bert", words=head.reads_words)
    try:
        head.check(backbone.roles)
    except Unsupported:
        backbone = backbone_of("llama", words=head.reads_words)
    examples = [task.example(Row("rows.jsonl", number, row)) for number, row in enumerate((case.row, *case.rows), 1)]
    labels = task.labels(examples)
    encoded = encode(
        examples[:1],
        backbone.tokenizer,
        labels,
        max_length=backbone.max_length,
        segments=backbone.roles.segments,
        writing=head.settled(backbone, labels).writing(backbone),
        reading=head.settled(backbone, labels).reading(backbone),
    )
    readings = readings_of(encoded, backbone.tokenizer, labels)[0]
    assert [len(reading.tokens) for reading in readings] == [len(sequence.ids) for sequence in encoded]
    # Which tokens are hidden is drawn anew in every epoch.
    assert any(reading.learns for reading in readings) or task.target is OfItself
    records = [reading.record() for reading in readings]
    assert json.loads(json.dumps(records)) is not None
