"""The best weights' probabilities are calibrated on validation rows, and measured on them and on test rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from adaptune.bundle.answers import answer
from adaptune.core.calibration import Abstention, Calibrated, Calibration, Classes, Scope, Seen
from adaptune.core.head import LogitHead
from adaptune.core.log import notice, warn
from adaptune.core.types import Answer
from adaptune.evaluate.calibration import (
    Bin,
    Judged,
    class_means,
    detection,
    fit_temperature,
    highest_score,
    judged,
    least_probability,
    reliability,
    worth,
)
from adaptune.run.kitchen import Kitchen

FEWEST = 50
"""Validation rows that a temperature is fitted on."""


def answered_well(kitchen: Kitchen, part: str) -> list[Answer]:
    """One answer a row of validation or test, in this order: the first part calibrates, and both are measured."""
    with kitchen.assembly.recording() as seen:
        answers = kitchen.predict(part)
    if part == "valid":
        calibrate(kitchen, seen)
    else:
        note_worth(kitchen, part, seen, answers)
    return answers


def calibrate(kitchen: Kitchen, seen: Sequence[Seen]) -> None:
    """Fit what the recipe asks for on the validation rows, whose logits were seen; the assembly answers by it then."""
    assembly, config = kitchen.assembly, kitchen.recipe.evaluate
    rows = _judged(kitchen, seen)
    if rows is None and (config.abstain or config.out_of_scope):
        notice(f"head {assembly.head.name!r} gives no probabilities of labels here, and gets no threshold")
    if rows is None or not (config.calibrate or config.abstain or config.out_of_scope):
        return
    temperature = _temperature(rows, len(kitchen.examples("valid"))) if config.calibrate else 1.0
    scope: Scope | None = None
    if config.out_of_scope and isinstance(assembly.head, LogitHead) and assembly.head.tells_scope:
        label = kitchen.recipe.data.out_of_scope_label
        scope = Scope(score=config.out_of_scope, kept=config.in_scope_kept, above=0.0, label=label)
    classes = _classes(kitchen) if scope and scope.score == "mahalanobis" else None
    assembly.calibrated = Calibrated(Calibration(temperature=temperature, scope=scope), classes)
    answers = kitchen.predict("valid") if scope or config.abstain else []
    if answers and len(answers) < FEWEST:
        warn(f"thresholds are set on {len(answers)} validation rows, which tell little; set data.valid_share higher")
    by = Calibration(
        temperature=temperature,
        abstain=_abstention(kitchen, answers, config.abstain) if config.abstain else None,
        scope=_closed(kitchen, answers, scope) if scope else None,
    )
    assembly.calibrated = Calibrated(by, classes)
    note_worth(kitchen, "valid", seen, answers)


def note_worth(kitchen: Kitchen, part: str, seen: Sequence[Seen], answers: Sequence[Answer]) -> None:
    """Add what the calibration is worth on a part, whose logits were seen, and by it answered, to the calibration."""
    calibrated, rows = kitchen.assembly.calibrated, _judged(kitchen, seen)
    if calibrated is None or rows is None:
        return
    by = calibrated.by
    found = worth(rows, by.temperature)
    found |= {f"{name}_before": value for name, value in worth(rows, 1.0).items()}
    if by.abstain is not None:
        given = _probabilities(answers) >= by.abstain.below
        found["answered"] = float(given.mean())
        if given.any():
            found["accuracy_answered"] = float(_right(kitchen, part, answers)[given].mean())
    if by.scope is not None:
        found |= _scope_worth(kitchen, part, answers, by.scope)
    measured = {**by.measured, part: found}
    kitchen.assembly.calibrated = calibrated._replace(by=by.model_copy(update={"measured": measured}))


def reliabilities(kitchen: Kitchen, seen: Sequence[Seen]) -> dict[str, list[Bin]]:
    """How often what is said is right, before the calibration and, where there is one, after it."""
    rows = _judged(kitchen, seen)
    if rows is None:
        return {}
    found, calibrated = {"before": reliability(rows, 1.0)}, kitchen.assembly.calibrated
    return found if calibrated is None else found | {"after": reliability(rows, calibrated.by.temperature)}


def _judged(kitchen: Kitchen, seen: Sequence[Seen]) -> Judged | None:
    head = kitchen.assembly.head
    return judged(seen, head.link) if isinstance(head, LogitHead) else None


def _temperature(rows: Judged, count: int) -> float:
    """1, and why, where nothing can be fitted."""
    if count < FEWEST:
        notice(f"no temperature is fitted on {count} validation rows; at least {FEWEST} are needed")
        return 1.0
    found = fit_temperature(rows)
    if found is None:
        notice("no validation row is answered wrongly, so that no temperature can be fitted")
    return 1.0 if found is None else found


def _abstention(kitchen: Kitchen, answers: Sequence[Answer], accuracy: float) -> Abstention:
    probabilities = _probabilities(answers)
    below = least_probability(probabilities, _right(kitchen, "valid", answers), accuracy)
    if below is None:
        below = float(np.nextafter(probabilities.max(), np.inf))
        warn(
            f"evaluate.abstain is {accuracy:g}, and even of the surest validation rows fewer are right: the bundle "
            f"abstains below {below:.4g}, which none of them reaches"
        )
    return Abstention(accuracy=accuracy, below=below)


def _closed(kitchen: Kitchen, answers: Sequence[Answer], scope: Scope) -> Scope:
    """The scope with its threshold: rows that get the label out of scope are not kept, whatever their score."""
    inside = _in_scope(kitchen, "valid", scope)
    scores, labelled = _scores(answers), np.array([one.value == scope.label for one in answers])
    kept = np.where(labelled, np.inf, scores)[inside]
    above = highest_score(kept if np.isfinite(kept).any() else scores[inside], scope.kept)
    return scope.model_copy(update={"above": above})


def _scope_worth(kitchen: Kitchen, part: str, answers: Sequence[Answer], scope: Scope) -> dict[str, float]:
    """Share of rows in scope that are kept; where there are others, too, the AUROC and the share of them found."""
    inside, others = _in_scope(kitchen, part, scope), list[Answer]()
    if part == "test" or not kitchen.examples("test"):
        rows = kitchen.prepared.splits.out_of_scope
        others = answer(kitchen.assembly, rows, max_length=kitchen.assembly.max_length) if rows else []
    within = [one for one, there in zip(answers, inside, strict=True) if there]
    without = [*(one for one, there in zip(answers, inside, strict=True) if not there), *others]
    found = {"kept": 1 - float(np.mean([_is_outside(one, scope) for one in within]))} if within else {}
    if within and without:
        found["auroc"] = detection(_scores(within), _scores(without))
        found["found"] = float(np.mean([_is_outside(one, scope) for one in without]))
    return found


def _is_outside(found: Answer, scope: Scope) -> bool:
    """As answers say it once the threshold is set."""
    return (found.scope or 0.0) > scope.above or found.value == scope.label


def _in_scope(kitchen: Kitchen, part: str, scope: Scope) -> NDArray[np.bool_]:
    return np.array([example.expected != scope.label for example in kitchen.examples(part)], dtype=np.bool_)


def _probabilities(answers: Sequence[Answer]) -> NDArray[np.float64]:
    return np.array([one.probability or 0.0 for one in answers], dtype=np.float64)


def _scores(answers: Sequence[Answer]) -> NDArray[np.float64]:
    return np.array([one.scope for one in answers], dtype=np.float64)


def _right(kitchen: Kitchen, part: str, answers: Sequence[Answer]) -> NDArray[np.bool_]:
    task, examples = kitchen.recipe.task, kitchen.examples(part)
    pairs = zip(answers, examples, strict=True)
    return np.array([task.is_right(found.value, example.expected) for found, example in pairs], dtype=np.bool_)


def _classes(kitchen: Kitchen) -> Classes:
    """Of training rows: those of validation would lie nearer to means of their own than others do."""
    assembly = kitchen.assembly
    device, training = next(assembly.parameters()).device, assembly.training
    assembly.eval()
    features, labels = [], []
    try:
        for batch in kitchen.in_order("train"):
            found = assembly.features(batch.to(device))
            assert found is not None and batch.labels is not None, "such heads read features of labelled rows"
            features.append(found.double().cpu().numpy())
            labels.append(batch.labels.numpy())
    finally:
        assembly.train(training)
    every, of = np.concatenate(features), np.concatenate(labels)
    label = kitchen.recipe.data.out_of_scope_label
    inside = of != (assembly.labels.index(label) if label is not None else -1)
    means, precision = class_means(every[inside], of[inside])
    return Classes(torch.from_numpy(means).float(), torch.from_numpy(precision).float())
