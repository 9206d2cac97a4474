"""What the best weights are worth, and the report that says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from adaptune.bundle.answers import said_beside
from adaptune.core.run_folder import RunDir
from adaptune.core.types import Answer, Example, Scores
from adaptune.data.samples import BASELINES
from adaptune.engine.fit import Fit
from adaptune.evaluate.baselines import baselines
from adaptune.evaluate.intervals import interval, paired_interval
from adaptune.models.joint import Learner
from adaptune.recipe import Recipe
from adaptune.run.calibrating import answered_well, note_worth
from adaptune.run.kitchen import Kitchen


@dataclass(frozen=True, slots=True)
class Results:
    """What was measured with the best weights."""

    scores: Mapping[str, Scores]
    """Of valid and test."""
    interval: tuple[float, float] | None = None
    """Of the task's metric on test rows; None where there are none."""
    baselines: Mapping[str, Scores] = field(default_factory=dict)
    gain: tuple[float, float] | None = None
    """Interval of what the task's metric gained over the model as it was before, where it could write then."""


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
    answers = [answer.value for answer in answered]
    expected = [example.expected for example in kitchen.examples("test")]
    folder.write_counts(task.counts(answers, expected).tolist(), name)
    options: dict[str, Any] = {"samples": recipe.evaluate.samples, "seed": recipe.seed, "level": recipe.evaluate.level}
    beside, gain = {}, None
    if recipe.evaluate.baselines and kitchen.examples("train"):
        some = kitchen.sample(BASELINES, recipe.evaluate.plain_rows).of(kitchen.examples("train"))
        beside = baselines(task, some, kitchen.examples("test"))
    if recipe.evaluate.baselines and of_words:
        unadapted = kitchen.unadapted()
        plain = unadapted.predict("test")
        beside["unadapted"] = unadapted.score("test", plain)
        before = [answer.value for answer in plain]
        gain = paired_interval(task, answers, before, expected, **options)
    scores["test"] = kitchen.score("test", answered)
    return Results(scores, interval(task, answers, expected, **options), beside, gain)


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
    return {
        "metric": recipe.train.metric or recipe.task.metric,
        "valid": dict(results.scores.get("valid", Scores({})).values),
        "test": dict(test.values),
        "interval": results.interval and _interval_record(recipe, *results.interval),
        "gain": results.gain and {"over": "unadapted", **_interval_record(recipe, *results.gain)},
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
        "expected": example.expected,
        "predicted": answer.value,
        "probability": answer.probability,
    } | said_beside(answer)
