from __future__ import annotations

from typing import Any

import pytest

from adaptune.core.errors import DataError
from adaptune.core.types import Answer, OfOption, Row, Sequence
from adaptune.tasks.choose import Choose


def _row(answer: Any = 0, options: Any = ("red", "blue", "green"), **values: Any) -> Row:
    return Row("rows.jsonl", 2, {"question": "Which?", "options": options, "answer": answer, **values})


@pytest.mark.parametrize("answer", [2, "2", 2.0, "C", " C ", "green", "green "])
def test_the_right_option_is_named_by_number_letter_or_text(answer: Any) -> None:
    assert Choose().example(_row(answer)).expected == 2


def test_numbers_may_count_from_one() -> None:
    assert Choose(first=1).example(_row("3")).expected == 2
    with pytest.raises(DataError, match=r"rows\.jsonl, row 2, column 'answer': 3 names no option; .* from 0 to 2"):
        Choose().example(_row(3))


@pytest.mark.parametrize(
    ("options", "answer", "right"),
    [
        ({"text": ["red", "blue"], "label": ["A", "B"]}, "B", 1),
        ({"text": ["red", "blue"], "label": ["1", "2"]}, "2", 1),
        ([{"text": "red", "label": "A"}, {"text": "blue", "label": "B"}], "A", 0),
        ({"ending0": "red", "ending1": "blue", "ending2": ""}, "1", 1),
        ('["red", "blue"]', "A", 0),
    ],
)
def test_options_are_read_as_data_sets_write_them(options: Any, answer: str, right: int) -> None:
    example = Choose().example(_row(answer, options))
    assert example.expected == right
    assert [sequence.second for sequence in example.sequences] == ["red", "blue"]
    assert [sequence.target for sequence in example.sequences] == [OfOption(right == 0), OfOption(right == 1)]


def test_what_could_mean_two_options_is_refused_and_a_setting_says_which() -> None:
    row = _row("A", ["B", "A"])
    with pytest.raises(
        DataError, match=r"'A' could be the text of option 2 or the letter of option 1; set task\.answers"
    ):
        Choose().example(row)
    assert Choose(answers="text").example(row).expected == 1
    assert Choose(answers="letter").example(row).expected == 0
    assert Choose(answers="number").example(_row("1", ["1", "0"])).expected == 1


def test_a_letter_is_no_option_where_numbers_are_asked_for() -> None:
    with pytest.raises(DataError, match=r"'A' names no option; expected a number from 1 to 3 \("):
        Choose(answers="number", first=1).example(_row("A"))


def test_a_question_stands_before_each_option_where_there_is_a_context() -> None:
    example = Choose().example(_row(0, ["ran", "sat"], context="It rained.", question="So she"))
    assert [(one.first, one.second) for one in example.sequences] == [
        ("It rained.", "So she ran"),
        ("It rained.", "So she sat"),
    ]
    assert Choose().example(_row(0, ["ran", "sat"])).sequences[0] == Sequence("Which?", "ran", OfOption(True))


def test_an_answer_names_its_option_and_what_each_is_worth() -> None:
    found = Choose().describe(Choose().example(_row(0, ["red", "blue"])), Answer(1, 0.75, (0.25, 0.75)))
    assert found == {
        "choice": 1,
        "text": "blue",
        "probability": 0.75,
        "options": [{"text": "red", "probability": 0.25}, {"text": "blue", "probability": 0.75}],
    }


def test_plain_models_choose_a_place_or_by_words() -> None:
    rows = [("the red hat", ["a red hat", "a blue coat"], 0), ("a green box", ["it is a house", "the green box"], 1)]
    rows = [*rows, ("a small dog", ["one cat", "one small dog"], 1)]
    examples = [
        Choose().example(Row("rows.jsonl", 2, {"question": question, "options": options, "answer": right}))
        for question, options, right in rows
    ]
    assert Choose().baselines(examples, examples) == {"most_frequent_place": [1, 1, 1], "tfidf_cosine": [0, 1, 1]}


def test_the_most_frequent_place_is_one_that_the_row_has() -> None:
    train = [Choose().example(_row(2)), Choose().example(_row(2)), Choose().example(_row(1))]
    test = [Choose().example(_row(0, ["red", "blue"]))]
    assert Choose().baselines(train, test)["most_frequent_place"] == [1]
