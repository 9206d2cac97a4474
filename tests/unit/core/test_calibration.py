"""Answers as a calibration gives them, on literal logits."""

from __future__ import annotations

import math

import pytest
import torch

from adaptune.core.batch import Batch
from adaptune.core.calibration import Abstention, Calibrated, Calibration, Classes, Scope, Seen, answers_of
from adaptune.core.phrases import calibration_lines
from adaptune.core.types import Answer, Labels
from adaptune.heads.classify import ClassifyHead

LABELS = Labels(("bad", "good", "other"))
LOGITS = [[2.0, 0.0, 0.0], [0.4, 0.5, 0.3], [0.0, 1.0, 3.0]]


def _answers(
    calibration: Calibration | None, classes: Classes | None = None, seen: list[Seen] | None = None
) -> list[Answer]:
    """Of three texts of one token, whose hidden states are the logits."""
    layer = torch.nn.Linear(3, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(3))
        layer.bias.zero_()
        hidden = torch.tensor(LOGITS)[:, None, :]
        batch = Batch(torch.arange(3), torch.ones(3, 1), labels=torch.tensor([0, 1, 1]))
        calibrated = None if calibration is None else Calibrated(calibration, classes)
        found = answers_of(ClassifyHead(pooling="mean"), layer, hidden, batch, LABELS, calibrated=calibrated, seen=seen)
    return [found[row] for row in range(3)]


def _softmax(logits: list[float], temperature: float) -> list[float]:
    powers = [math.exp(logit / temperature) for logit in logits]
    return [power / sum(powers) for power in powers]


def test_a_temperature_changes_probabilities_and_no_answer() -> None:
    for plain, cooled, logits in zip(_answers(None), _answers(Calibration(temperature=0.5)), LOGITS, strict=True):
        assert plain.probabilities == pytest.approx(_softmax(logits, 1.0))
        assert cooled.probabilities == pytest.approx(_softmax(logits, 0.5))
        assert (cooled.value, cooled.probability) == (plain.value, max(cooled.probabilities))
        assert (cooled.abstained, cooled.scope, cooled.out_of_scope) == (None, None, None)


def test_less_probable_answers_are_abstained_from_and_others_are_not() -> None:
    probability = _softmax(LOGITS[1], 1.0)[1]
    exactly = [_answers(None)[1].probability, probability * 1.001]
    found = [_answers(Calibration(abstain=Abstention(accuracy=0.9, below=below or 0))) for below in exactly]
    assert [[one.abstained for one in answers] for answers in found] == [[False, False, False], [False, True, False]]
    assert found[1][1].value == "good"


def test_scores_of_scope_are_those_of_the_papers() -> None:
    for score, expected in (
        ("probability", [1 - max(_softmax(logits, 2.0)) for logits in LOGITS]),
        ("energy", [-math.log(sum(math.exp(logit) for logit in logits)) for logits in LOGITS]),
        ("mahalanobis", [0.0, 1.6**2 / 4 + 0.5**2 + 0.3**2, 2.0**2 / 4 + 1 + 9.0]),
    ):
        scope = Scope.model_validate({"score": score, "kept": 0.95, "above": sorted(expected)[1]})
        classes = Classes(torch.tensor([[2.0, 0.0, 0.0], [50.0, 0.0, 0.0]]), torch.diag(torch.tensor([0.25, 1.0, 1.0])))
        found = _answers(
            Calibration(temperature=2.0, scope=scope.model_copy(update={"above": scope.above + 1e-4})), classes
        )
        assert [one.scope for one in found] == pytest.approx(expected, abs=1e-5)
        assert [one.out_of_scope for one in found] == [one == max(expected) for one in expected]


def test_a_label_out_of_scope_is_left_out_of_scores_and_is_a_verdict_itself() -> None:
    scope = Scope(score="energy", kept=0.95, above=10.0, label="other")
    found = _answers(Calibration(scope=scope))
    assert found[2].scope == pytest.approx(-math.log(1 + math.e))
    assert [one.out_of_scope for one in found] == [False, False, True]


def test_logits_and_their_targets_are_kept_where_that_is_asked() -> None:
    seen: list[Seen] = []
    _answers(None, seen=seen)
    assert seen[0].logits.tolist() == [pytest.approx(row) for row in LOGITS]
    assert seen[0].targets.tolist() == [0, 1, 1]


def test_a_calibration_is_told_in_sentences() -> None:
    worth = {"ece": 0.02, "ece_before": 0.08, "brier": 0.1, "brier_before": 0.12}
    worth |= {"answered": 0.8, "accuracy_answered": 0.96, "kept": 0.94, "found": 0.5, "auroc": 0.9}
    calibration = Calibration(
        temperature=0.75,
        abstain=Abstention(accuracy=0.95, below=0.625),
        scope=Scope(score="energy", kept=0.95, above=-2.5),
        measured={"valid": {"ece": 1.0}, "test": worth},
    )
    assert calibration_lines(calibration.model_dump(mode="json")) == [
        "temperature 0.75, fitted on validation rows",
        "expected calibration error 0.0800 -> 0.0200, Brier score 0.1200 -> 0.1000 (of test rows)",
        "abstains below probability 0.625: answers 80.0% of test rows, 96.0% of them rightly",
        (
            "out of scope where energy is above -2.5: keeps 94.0% of test rows in scope, "
            "finds 50.0% of those out of scope, AUROC 0.9000"
        ),
    ]
    assert calibration_lines(Calibration().model_dump(mode="json")) == ["no temperature"]
