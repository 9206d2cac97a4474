"""Answers as a notebook shows them."""

from __future__ import annotations

from adaptune.bundle.shown import MOST, Answers


def test_answers_are_a_list_and_a_table_with_every_key() -> None:
    answers = Answers([{"label": "good", "probability": 0.75}, {"label": "bad", "abstained": True}])
    assert answers == [{"label": "good", "probability": 0.75}, {"label": "bad", "abstained": True}]
    table = answers._repr_html_()
    assert "<th>label</th><th>probability</th><th>abstained</th>" in table
    assert "<tr><td>bad</td><td></td><td>True</td></tr>" in table


def test_of_many_answers_the_first_are_shown() -> None:
    table = Answers([{"label": str(number)} for number in range(MOST + 7)])._repr_html_()
    assert table.count("<td>") == MOST
    assert "7 more" in table
