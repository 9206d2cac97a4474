"""What the best weights are worth, and the report that says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adaptune.bundle.answers import said_beside
from adaptune.bundle.made import Made
from adaptune.bundle.tally import characters
from adaptune.core.run_folder import RunDir
from adaptune.core.types import Answer, Example, Scores
from adaptune.data.samples import BASELINES
from adaptune.engine.fit import Fit
from adaptune.evaluate.baselines import Plain, baselines
from adaptune.evaluate.calibration import Bin
from adaptune.evaluate.intervals import interval, paired_interval
from adaptune.models.joint import Learner
from adaptune.recipe import Recipe
from adaptune.run.calibrating import answered_well, note_worth, reliabilities
from adaptune.run.kitchen import Kitchen
from adaptune.run.mistakes import worst


@dataclass(frozen=True, slots=True)
class Results:
    """What was measured with the best weights."""

    scores: Mapping[str, Scores]
    """Of valid and test."""
    interval: tuple[float, float] | None = None
    """Of the task's metric on test rows; None where there are none."""
    baselines: Mapping[str, Scores] = field(default_factory=dict)
    gains: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Interval of what the task's metric gained over each baseline; over "unadapted", the model as it was before, where
    it could write then."""
    reliability: Mapping[str, Sequence[Bin]] = field(default_factory=dict)
    """Of the test rows, before and after the calibration."""


def measure(kitchen: Kitchen, folder: RunDir, name: str | None = None) -> Results:
    """Score the best weights on validation and test rows, beside simple baselines; write the predictions.

    `name`: of the task, where there are several.
    """
    recipe, task = kitchen.recipe, kitchen.recipe.task
    of_words = kitchen.assembly.head.learns_texts
    scores: dict[str, Scores] = {}
    if of_words:
        scores["valid"] = Scores(kitchen.likelihood())
    elif kitchen.examples("valid"):
        scores["valid"] = kitchen.score("valid", answered_well(kitchen, "valid"))
    if not kitchen.examples("test"):
        return Results(scores)
    with kitchen.assembly.recording() as seen:
        answered = _answer_test(kitchen, folder, name)
    note_worth(kitchen, "test", seen, answered)
    if recipe.evaluate.errors:
        kept = worst(task, kitchen.examples("test"), answered, recipe.evaluate.errors)
        folder.write_errors(kept, name)
    answers = [answer.value for answer in answered]
    expected = [example.expected for example in kitchen.examples("test")]
    folder.write_counts(task.counts(answers, expected).tolist(), name)
    options: dict[str, Any] = {"samples": recipe.evaluate.samples, "seed": recipe.seed, "level": recipe.evaluate.level}
    beside = _baselines(kitchen)
    scores["test"] = kitchen.score("test", answered)
    return Results(
        scores,
        interval(task, answers, expected, **options),
        {name: plain.scores for name, plain in beside.items()},
        {name: paired_interval(task, answers, plain.answers, expected, **options) for name, plain in beside.items()},
        reliabilities(kitchen, seen),
    )


def _baselines(kitchen: Kitchen) -> dict[str, Plain]:
    """The task's plain models, and the model as it was before where it could write then, on test rows."""
    recipe = kitchen.recipe
    if not recipe.evaluate.baselines:
        return {}
    found: dict[str, Plain] = {}
    if kitchen.examples("train"):
        some = kitchen.sample(BASELINES, recipe.evaluate.plain_rows).of(kitchen.examples("train"))
        found = baselines(recipe.task, some, kitchen.examples("test"))
    if kitchen.assembly.head.learns_texts:
        unadapted = kitchen.unadapted()
        plain = unadapted.predict("test")
        found["unadapted"] = Plain([answer.value for answer in plain], unadapted.score("test", plain))
    return found


def _answer_test(kitchen: Kitchen, folder: RunDir, name: str | None) -> list[Answer]:
    """One answer a test row, written to the predictions as they come."""
    answers: list[Answer] = []

    def records() -> Iterator[dict[str, Any]]:
        for example, answer in zip(kitchen.examples("test"), kitchen.stream("test"), strict=True):
            answers.append(answer)
            yield _record(example, answer)

    if kitchen.recipe.evaluate.predictions:
        folder.write_predictions(records(), name)
    else:
        answers += kitchen.stream("test")
    return answers


def made_of(kitchen: Kitchen, results: Results) -> Made:
    """What the bundle's card tells of the run."""
    metric, level, test = kitchen.recipe.task.metric, kitchen.recipe.evaluate.level, results.scores.get("test")
    interval = ""
    if test is not None and results.interval is not None and metric in test.values:
        low, high = results.interval
        interval = f"{metric} {test.values[metric]:.4f} ({level:.0%} interval {low:.4f} to {high:.4f})"
    beside = {name: scores.values[metric] for name, scores in results.baselines.items()}
    return Made(kitchen.recipe.as_yaml(), examples_of(kitchen), interval, beside)


def report_of(kitchen: Kitchen, fit: Fit, results: Results) -> dict[str, Any]:
    """The run in numbers, as report.json holds it."""
    recipe = kitchen.recipe
    return {
        "task": recipe.task.name,
        "approach": recipe.approach.name,
        "put": dict(kitchen.assembly.approach.said()),
        "method": recipe.method.name,
        "model": recipe.model.name,
        "base": kitchen.assembly.backbone.fingerprint,
        **scores_of(kitchen, results),
        "parameters": parameters_of(kitchen.assembly),
        "training": training_of(fit),
        "examples": examples_of(kitchen),
        "seed": recipe.seed,
    }


def scores_of(kitchen: Kitchen, results: Results) -> dict[str, Any]:
    """What was measured of one task."""
    recipe, test = kitchen.recipe, results.scores.get("test", Scores({}))
    calibrated = kitchen.assembly.calibrated
    gains = {name: _interval_record(recipe, *ends) for name, ends in results.gains.items()}
    return {
        "metric": recipe.train.metric or recipe.task.metric,
        "valid": dict(results.scores.get("valid", Scores({})).values),
        "test": dict(test.values),
        "interval": results.interval and _interval_record(recipe, *results.interval),
        "gain": {"over": "unadapted", **gains["unadapted"]} if "unadapted" in gains else None,
        "gains": gains,
        "reliability": {when: [one._asdict() for one in bins] for when, bins in results.reliability.items()},
        "calibration": calibrated and calibrated.by.model_dump(mode="json"),
        "baseline": {name: dict(scores.values) for name, scores in results.baselines.items()},
        "per_class": {name: dict(row) for name, row in test.per_class.items()},
        "confusion": {"classes": list(test.classes), "counts": [list(row) for row in test.confusion]},
    }


def parameters_of(learner: Learner) -> dict[str, int]:
    """How many numbers learn, and how many there are."""
    trained, total = learner.count_parameters()
    return {"trained": trained, "total": total}


def training_of(fit: Fit) -> dict[str, Any]:
    """How training went."""
    found = {"best_step": fit.best.step, "steps": fit.loop.step, "tokens": fit.tokens, "ended": fit.ended}
    settled = [{"step": step, "layers": layers} for step, layers in fit.settled]
    return found | ({"settled": settled} if settled else {})


def examples_of(kitchen: Kitchen) -> dict[str, int]:
    """How many rows each part has."""
    return {part: len(examples) for part, examples in kitchen.prepared.splits.parts.items()}


def _interval_record(recipe: Recipe, low: float, high: float) -> dict[str, Any]:
    return {"metric": recipe.task.metric, "level": recipe.evaluate.level, "low": low, "high": high}


def _record(example: Example, answer: Answer) -> dict[str, Any]:
    return {
        "row": example.row.number,
        "source": example.row.source,
        "characters": characters(example),
        "expected": example.expected,
        "predicted": answer.value,
        "probability": answer.probability,
    } | said_beside(answer)
