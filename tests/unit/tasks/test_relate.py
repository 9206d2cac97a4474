from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from adaptune.core.errors import DataError
from adaptune.core.types import Row
from adaptune.tasks.relate import Relate

TASK = Relate()

# Of 30 rows, expected a row and predicted a column; C-E and E-O have a direction, U has none.
NAMES = ("Cause-Effect(e1,e2)", "Cause-Effect(e2,e1)", "Entity-Origin(e1,e2)", "Uses", "Other")
TABLE = (
    (4, 2, 0, 0, 1),
    (1, 5, 1, 0, 0),
    (0, 0, 3, 1, 2),
    (0, 1, 0, 2, 1),
    (2, 0, 1, 0, 3),
)
PREDICTED = [given for row in TABLE for given, count in zip(NAMES, row, strict=True) for _ in range(count)]
EXPECTED = [wanted for wanted, row in zip(NAMES, TABLE, strict=True) for _ in range(sum(row))]


def _entity_texts(values: dict[str, Any], **settings: Any) -> tuple[str, str]:
    sequence = Relate(**settings).example(Row("rows.json", 7, values)).sequences[0]
    (start, end), (other, last) = sequence.marks
    return str(sequence.first)[start:end], str(sequence.first)[other:last]


def test_the_official_score_of_a_confusion_table_that_includes_other() -> None:
    """By hand. Cause-Effect: right 4 + 5; predicted in either direction 4+2+1+5 of its own rows, 1 of Uses, 2 of Other;
    expected 7 + 7. Entity-Origin: right 3, predicted 1+3+1, expected 6. Uses: right 2, predicted 1+2, expected 4.
    """
    found = TASK.score(PREDICTED, EXPECTED)
    precision = (9 / 15, 3 / 5, 2 / 3)
    recall = (9 / 14, 3 / 6, 2 / 4)
    f1 = [2 * p * r / (p + r) for p, r in zip(precision, recall, strict=True)]
    assert found.values == pytest.approx(
        {
            "macro_f1": sum(f1) / 3,
            "macro_precision": sum(precision) / 3,
            "macro_recall": sum(recall) / 3,
            "micro_f1": 2 * 14 / (15 + 5 + 3 + 14 + 6 + 4),
            "accuracy": 17 / 30,
        }
    )
    assert list(found.per_class) == ["Cause-Effect", "Entity-Origin", "Uses"]
    assert found.per_class["Cause-Effect"] == pytest.approx(
        {"precision": 9 / 15, "recall": 9 / 14, "f1": f1[0], "support": 14}
    )
    order = [found.classes.index(name) for name in NAMES]
    assert np.array_equal(np.array(found.confusion)[np.ix_(order, order)], TABLE)


def test_the_official_score_equals_that_of_the_scorers_own_steps() -> None:
    """Correct cells by relation, wrong directions as mistakes of the predicted side, relations of the key alone."""
    relations = sorted({label.partition("(")[0] for label in EXPECTED} - {"Other"})
    cells = dict.fromkeys([(one, two) for one in [*relations, "Other"] for two in [*relations, "Other"]], 0)
    wrong_direction = dict.fromkeys(relations, 0)
    for given, wanted in zip(PREDICTED, EXPECTED, strict=True):
        one, two = wanted.partition("(")[0], given.partition("(")[0]
        if one == two != "Other" and given != wanted:
            wrong_direction[one] += 1
        else:
            cells[one, two] += 1
    total = 0.0
    for name in relations:
        right = cells[name, name]
        proposed = sum(cells[other, name] for other in [*relations, "Other"]) + wrong_direction[name]
        answers = sum(label.partition("(")[0] == name for label in EXPECTED)
        p, r = right / proposed, right / answers
        total += 2 * p * r / (p + r)
    assert TASK.score(PREDICTED, EXPECTED).values["macro_f1"] == pytest.approx(total / len(relations))


def test_a_wrong_direction_is_a_mistake() -> None:
    found = TASK.score(["R(e2,e1)", "R(e1,e2)"], ["R(e1,e2)", "R(e1,e2)"])
    assert found.values["macro_f1"] == 0.5
    assert list(found.per_class) == ["R"]


def test_another_name_for_no_relation_is_left_out_of_the_mean() -> None:
    assert Relate(other="NA").score(["NA", "R"], ["NA", "R"]).values["macro_f1"] == 1.0
    assert list(Relate(other="NA").score(["NA", "R"], ["NA", "R"]).per_class) == ["R"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"text": "the <e1>red fox</e1> ran to <e2>us</e2>"}, ("@ red fox @", "# us #")),
        ({"text": "the red fox ran", "head": [12, 15], "tail": [4, 11]}, ("@ ran @", "# red fox #")),
        ({"text": "我爱北京", "head": {"pos": [0, 1]}, "tail": {"pos": [2, 4]}}, ("@ 我 @", "# 北京 #")),
        (
            {"tokens": ["the", "red", "fox", "ran"], "head": ["x", "Q1", [[1, 2]]], "tail": ["x", "Q2", [[3]]]},
            ("@ red fox @", "# ran #"),
        ),
        (
            {"tokens": ["我", "爱", "北", "京"], "head": ["", "", [[2, 3]]], "tail": ["", "", [[0]]]},
            ("@ 北京 @", "# 我 #"),
        ),
    ],
)
def test_entities_are_marked_however_they_are_written(values: dict[str, Any], expected: tuple[str, str]) -> None:
    assert _entity_texts(values) == expected


def test_other_markers_may_be_asked_for() -> None:
    assert _entity_texts({"text": "<e1>a</e1> <e2>b</e2>"}, markers=("$", "%")) == ("$ a $", "% b %")


def test_a_marked_text_is_the_text_but_for_its_markers() -> None:
    text = "a  b, c"
    found = TASK.example(Row("rows.json", 1, {"text": text, "head": [6, 7], "tail": [0, 1]})).sequences[0]
    assert isinstance(found.first, str)
    assert re.sub(" [@#] (.*?) [@#] ", r"\1", found.first) == text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text": "a b", "head": [0, 3], "tail": [2, 3]}, "rows.json, row 7: the entities 'a b' and 'b' overlap"),
        ({"text": "a b", "head": [0, 1], "tail": [2, 9]}, r"row 7, column 'tail': (2, 9)"),
        ({"tokens": ["a"], "head": [0, 1], "tail": ["b", "Q", [[4]]]}, "row 7, column 'tail': ['b', 'Q', [[4]]] names"),
        ({"tokens": ["a", "b", "c"], "head": ["", "", [[0, 2]]], "tail": [1, 2]}, "does not name tokens one after"),
    ],
)
def test_wrong_offsets_and_overlaps_name_file_and_row(values: dict[str, Any], message: str) -> None:
    message = message.replace("(2, 9)", "[2, 9]")
    with pytest.raises(DataError, match=re.escape(message)):
        TASK.example(Row("rows.json", 7, {**values, "relation": "R"}))


def test_an_unknown_relation_names_file_and_row() -> None:
    task = Relate(relations=("Cause", "Part"))
    row = Row("rows.json", 7, {"text": "<e1>a</e1> <e2>b</e2>", "relation": "Cuase"})
    with pytest.raises(DataError, match=r"rows.json, row 7, column 'relation': there is no relation 'Cuase'.*'Cause'"):
        task.example(row)
