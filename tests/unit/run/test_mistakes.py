"""Which rows are the worst, and what is kept of them."""

from __future__ import annotations

from typing import Any

from adaptune.core.types import Answer, Example, Row, Sequence
from adaptune.run.mistakes import MOST_CHARACTERS, worst
from adaptune.tasks import TASKS


def _found(kind: str, rows: list[dict[str, Any]], answers: list[tuple[Any, float | None]]) -> list[dict[str, Any]]:
    task = TASKS.make({"name": kind})
    examples = [task.example(Row("t.csv", number, values)) for number, values in enumerate(rows, start=1)]
    return worst(task, examples, [Answer(value, probability) for value, probability in answers], 2)


def test_the_surest_wrong_labels_come_first_and_right_ones_never() -> None:
    rows = [{"text": f"text {place}", "label": "good"} for place in range(4)]
    found = _found("classify", rows, [("bad", 0.6), ("good", 0.99), ("bad", 0.9), ("bad", 0.5)])
    assert [(one["row"], one["given"], one["predicted"], one["probability"]) for one in found] == [
        (3, {"text": "text 2"}, "bad", 0.9),
        (1, {"text": "text 0"}, "bad", 0.6),
    ]


def test_numbers_are_wrong_by_how_far_they_are_off() -> None:
    rows = [{"text": "a", "number": number} for number in (1.0, 2.0, 3.0)]
    found = _found("regress", rows, [(1.5, None), (2.0, None), (0.0, None)])
    assert [one["row"] for one in found] == [3, 1]


def test_of_tagged_words_the_words_are_kept_and_rows_with_the_least_right_come_first() -> None:
    rows = [
        {"tokens": ["to", "Paris", "and", "Rome"], "tags": ["O", "B-place", "O", "B-place"]},
        {"tokens": ["in", "York"], "tags": ["O", "B-place"]},
    ]
    found = _found("tag", rows, [(("O", "B-place", "O", "O"), 0.9), (("O", "O"), 0.5)])
    assert [one["given"]["words"] for one in found] == [["in", "York"], ["to", "Paris", "and", "Rome"]]
    assert found[0]["expected"] == ["O", "B-place"]


def test_places_of_options_are_no_numbers() -> None:
    rows = [{"question": "which?", "options": ["a", "b", "c"], "answer": "a"}] * 2
    found = _found("choose", rows, [(1, 0.9), (2, 0.5)])
    assert [(one["row"], one["expected"], one["predicted"]) for one in found] == [(1, 0, 1), (2, 0, 2)]
    assert "answer" not in found[0]["given"]


def test_of_a_conversation_what_was_said_before_the_reply_is_kept() -> None:
    said = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}]
    [found] = _found("chat", [{"messages": said}], [("no", None)])
    assert (found["given"], found["expected"]) == ({"messages": said[:1]}, "good day")


def test_long_texts_lose_their_end() -> None:
    task = TASKS.make({"name": "classify"})
    text = "x" * (MOST_CHARACTERS + 1)
    example = Example(Row("t", 1, {"text": text, "label": "a"}), (Sequence(text),), "a")
    [found] = worst(task, [example], [Answer("b", 0.5)], 5)
    assert found["given"]["text"] == "x" * MOST_CHARACTERS + "..."
