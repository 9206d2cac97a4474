"""Labels as hypotheses beside a text, and which class of a model says that they follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adaptune.approaches import APPROACHES
from adaptune.approaches.entail import Entail
from adaptune.core.approach import Approach, Trial
from adaptune.core.errors import DataError, Unsupported
from adaptune.core.types import Example, Labels, OfHypothesis, OfLabels, OfSequence, Row, Sequence
from adaptune.heads import HEADS
from adaptune.heads.entail import EntailHead
from adaptune.methods.none import Nothing
from adaptune.models.config import ModelConfig
from adaptune.models.families import roles_of
from adaptune.models.load import load_backbone
from adaptune.tasks import TASKS

LABELS = Labels(("pay_bill", "travel"))
ROW = Row("rows.csv", 3, {})


def _entail(**settings: Any) -> Entail:
    found = APPROACHES.make({"name": "entail", **settings})
    assert isinstance(found, Entail)
    return found


def _head(**settings: Any) -> EntailHead:
    found = HEADS.make({"name": "entail", **settings})
    assert isinstance(found, EntailHead)
    return found


def test_every_label_is_a_hypothesis_beside_the_text() -> None:
    approach = Entail(templates=("It is about {}.",), classes={"pay_bill": "", "travel": "trips and hotels"})
    put = approach.put(Example(ROW, (Sequence("a room", None, OfSequence("travel")),), "travel"), LABELS, mask=None)
    assert put.sequences == (
        Sequence("a room", "It is about pay bill.", OfHypothesis(False)),
        Sequence("a room", "It is about trips and hotels.", OfHypothesis(True)),
    )


def test_of_any_number_of_labels_each_holds_or_not() -> None:
    several = Example(ROW, (Sequence("a room", None, OfLabels(("pay_bill", "travel"))),), ("pay_bill", "travel"))
    none = Example(ROW, (Sequence("a room", None, OfLabels(())),), ())
    for example, holds in ((several, True), (none, False)):
        targets = [sequence.target for sequence in _entail().put(example, LABELS, mask=None).sequences]
        assert targets == [OfHypothesis(holds)] * 2


def test_a_second_text_has_no_place() -> None:
    with pytest.raises(DataError, match=r"rows.csv, row 3 has a second text, where approach 'entail' puts"):
        _entail().put(Example(ROW, (Sequence("a", "b"),)), LABELS, mask=None)


def test_a_template_has_one_place() -> None:
    with pytest.raises(ValidationError, match=r"'It is about' must hold \{\} once"):
        Entail(templates=("It is about",))
    assert Entail(classes=["银行"]).classes == {"银行": ""}  # type: ignore[arg-type]  # as a recipe has it


def test_tasks_that_ask_for_something_else_are_refused() -> None:
    with pytest.raises(Unsupported, match=r"asks which labels hold for a text .* task 'tag'"):
        _entail().check(TASKS.make({"name": "tag"}), Nothing(), _head())


class _Scored:
    """Validation rows on which the last template is the best."""

    labels = LABELS

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def examples(self, part: str) -> list[Example]:
        return [Example(ROW, (Sequence("a"),))] * self.rows

    def score(self, approach: Approach) -> float:
        assert isinstance(approach, Entail)
        return {"b {}": 0.5, "c {}": 0.75}[approach.templates[0]]


@pytest.mark.parametrize(("rows", "template", "tried"), [(2, "c {}", {"b {}": 0.5, "c {}": 0.75}), (0, "b {}", {})])
def test_validation_rows_choose_the_template(rows: int, template: str, tried: dict[str, float]) -> None:
    trial: Trial = _Scored(rows)  # type: ignore[assignment]  # what it is asked here
    chosen = _entail(templates=("b {}", "c {}")).chosen(trial)
    assert (chosen.templates, chosen.tried) == ((template,), tried)
    assert chosen.said() == {"template": template, "tried": tried}


def test_a_model_without_a_classifier_is_refused(tiny_bert: Path) -> None:
    backbone = load_backbone(ModelConfig(name=str(tiny_bert)))
    with pytest.raises(Unsupported, match=r"hold no classifier over texts, .* use approach=prototype"):
        _head().settled(backbone, LABELS)


@pytest.mark.parametrize(
    ("classes", "settings", "expected"),
    [
        ("CONTRADICTION,NEUTRAL,ENTAILMENT", {}, ("ENTAILMENT", "CONTRADICTION")),
        ("entailment,not_entailment", {}, ("entailment", "not_entailment")),
        ("0,1,2", {"entailment": "2", "contradiction": "0"}, ("2", "0")),
        ("good,bad", {}, "needs the class for entailment, and 0 begin with"),
        ("entailment,neutral", {}, "needs the class for contradiction"),
        ("entailment,neutral", {"entailment": "entails"}, "head.entailment is 'entails', .* did you mean 'entailment'"),
    ],
)
def test_the_classes_are_found_by_their_names_or_named(
    tiny_bert: Path, classes: str, settings: dict[str, Any], expected: Any
) -> None:
    backbone = load_backbone(ModelConfig(name=str(tiny_bert)), weights=False)
    config: Any = backbone.whole.config
    config.id2label = dict(enumerate(classes.split(",")))
    head = _head(each=True, **settings)
    if isinstance(expected, str):
        with pytest.raises(Unsupported, match=expected):
            head.settled(backbone, LABELS)
    else:
        found = head.settled(backbone, LABELS)
        assert (found.entailment, found.contradiction) == expected
        assert found.settled(backbone, LABELS) is found


def test_classifiers_that_read_shifted_inputs_are_refused() -> None:
    with pytest.raises(Unsupported, match=r"that of the family 'bart' reads shifted inputs; use one on an encoder"):
        _head().check(roles_of({"model_type": "bart"}))
