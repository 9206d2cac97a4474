"""One run: recipe -> data -> backbone + method + head -> train -> evaluate -> bundle. Here all rooms meet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adaptune.bundle.answers import encoded_for, encoder_of, length_findings
from adaptune.bundle.save import save_bundle
from adaptune.bundle.start import continue_from, continued_labels
from adaptune.core.batch import Batch, Encoded
from adaptune.core.environment import environment, peak_memory_mb
from adaptune.core.errors import Interrupted, TrainingError
from adaptune.core.head import LOG_LIKELIHOOD
from adaptune.core.log import Progress, notice, warn
from adaptune.core.run_folder import RunDir
from adaptune.core.types import Answer, Example, Scores
from adaptune.data.batches import Budget, by_rows, collate
from adaptune.data.chunks import batches_of
from adaptune.data.encode_raw import masked_once
from adaptune.data.samples import BASELINES, LENGTHS, WARM_START, Sample, sample
from adaptune.data.stored import Stored, answered
from adaptune.data.tokens import Tokens, encoded_all
from adaptune.engine.checkpoint import load_checkpoint, save_checkpoint
from adaptune.engine.fit import Evaluation, Fit
from adaptune.engine.loop import NotFinite, Step
from adaptune.engine.signals import Stop, stopping
from adaptune.evaluate.baselines import baselines
from adaptune.evaluate.intervals import interval, paired_interval
from adaptune.evaluate.likelihood import likelihood
from adaptune.evaluate.predict import AHEAD, WRITTEN_AHEAD, predict, stream
from adaptune.methods.head_only import HeadOnly
from adaptune.models.assembly import Assembly
from adaptune.models.load import load_backbone
from adaptune.prepare import Prepared, prepare
from adaptune.recipe import Recipe, load_recipe


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run."""

    folder: Path
    report: Mapping[str, Any]

    @property
    def bundle(self) -> Path:
        """The folder of the adapter, for `adaptune.load`."""
        return RunDir(self.folder).bundle


@dataclass(slots=True)
class Clock:
    """Seconds of each stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the block's duration to a stage."""
        started = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started


@dataclass(frozen=True, slots=True)
class Kitchen:
    """Everything one run works with, once data and model are there."""

    recipe: Recipe
    prepared: Prepared
    assembly: Assembly
    encoded: Mapping[str, list[Encoded]]
    lineage: Sequence[Any]
    tokens: Tokens | None = None
    """Of training rows that are streamed; `encoded` then has no part "train"."""

    @property
    def metric(self) -> str:
        """What decides which weights are best."""
        return self.recipe.train.metric or (LOG_LIKELIHOOD if self.recipe.head.reads_words else self.recipe.task.metric)

    def examples(self, part: str) -> Sequence[Example]:
        """The examples of train, valid or test."""
        return self.prepared.splits.parts[part]

    def predict(self, part: str) -> list[Answer]:
        """One answer a row of a part."""
        batch_tokens, rows = self.recipe.evaluate.batch_tokens, len(self.examples(part))
        return predict(self.assembly, self.questions(part), batch_tokens=batch_tokens, rows=rows)

    def stream(self, part: str) -> Iterator[Answer]:
        """The same, as they come."""
        ahead = WRITTEN_AHEAD if self.assembly.head.writes else AHEAD
        batch_tokens = self.recipe.evaluate.batch_tokens
        found = stream(self.assembly, self.questions(part), batch_tokens=batch_tokens, ahead=ahead)
        return (answer for _, answer in found)

    def unadapted(self) -> Kitchen:
        """The same with the model as it was before training."""
        own = self.assembly
        plain = Assembly(own.backbone, HeadOnly(), own.head, own.labels, seed=self.recipe.seed)
        return replace(self, assembly=plain.to(next(own.parameters()).device))

    def questions(self, part: str) -> Sequence[Encoded]:
        """What is answered: where texts are written, prompts alone; where they are raw, each token by itself."""
        if not self.assembly.head.reads_words:
            return self.encoded[part]
        return encoded_for(self.assembly, self.examples(part), max_length=self.assembly.max_length)

    def watch(self) -> Mapping[str, float]:
        """The validation scores, what decides which weights are best among them."""
        if self.metric == LOG_LIKELIHOOD:
            return self.likelihood()
        return self.score("valid", self.predict("valid")).values

    def likelihood(self) -> Mapping[str, float]:
        """Of the validation rows' texts."""
        return likelihood(self.assembly, self.encoded["valid"], batch_tokens=self.recipe.evaluate.batch_tokens)

    def score(self, part: str, answers: Sequence[Answer]) -> Scores:
        """The scores of answers for a part."""
        expected = [example.expected for example in self.examples(part)]
        return self.recipe.task.measure(answers, expected, self.assembly.labels)

    def in_order(self, part: str) -> Iterator[Batch]:
        """The batches of a part, each row once, for work without gradients."""
        encoded: Sequence[Encoded]
        if part == "train":
            encoded = masked_once(self._looked_at(), self.assembly.reading, self.recipe.seed)
        else:
            encoded = self.encoded[part]
        pad = self.assembly.backbone.tokenizer.pad_token_id
        budget = Budget(tokens=self.recipe.evaluate.batch_tokens, rows=512)
        for indices in by_rows(encoded, budget):
            yield collate([encoded[index] for index in indices], pad)

    def _looked_at(self) -> Sequence[Encoded]:
        """The training rows that are read before the first step."""
        found = self.sample(WARM_START, self.recipe.train.warm_start_rows)
        if self.tokens is not None:
            return self.tokens.of(found.rows)
        if found.whole:
            return self.encoded["train"]
        rows = frozenset(found.rows.tolist())
        return [sequence for sequence in self.encoded["train"] if sequence.row in rows]

    def sample(self, purpose: str, rows: int | None) -> Sample:
        """Training rows for what need not see them all; said where it does not."""
        return sample(self.examples("train"), self.recipe.task, purpose, rows, seed=self.recipe.seed)


def train(recipe: str | Path, *overrides: str, resume: bool = False, overwrite: bool = False) -> Run:
    """Carry out a recipe file with values set by path: `train("recipe.yaml", "train.epochs=3")`."""
    return cook(load_recipe(recipe, overrides), resume=resume, overwrite=overwrite)


def cook(recipe: Recipe, *, prepared: Prepared | None = None, resume: bool = False, overwrite: bool = False) -> Run:
    """Carry out a recipe. `prepared` saves reading its data again. Raises AdaptuneError for what the user can mend."""
    clock, folder = Clock(), RunDir(recipe.out)
    with clock.stage("data"):
        prepared = prepared or prepare(recipe)
        if resume:
            folder.go_on()
        else:
            folder.begin(recipe.as_yaml(), environment() | prepared.record(), overwrite=overwrite)
        folder.write_rejected({"row": row.where, "reason": row.reason} for row in prepared.splits.rejected)
        kitchen = set_up(recipe, prepared)
    with clock.stage("train"):
        fit = learn(kitchen, folder, resume=resume)
    clock.seconds["train"] = fit.seconds  # with those of the run that this one resumes
    with clock.stage("evaluate"):
        results = measure(kitchen, folder)
        save_bundle(
            folder.bundle,
            kitchen.assembly,
            recipe.task,
            columns=prepared.columns,
            max_length=kitchen.assembly.max_length,
            config=recipe.bundle,
            scores=results.scores,
            gguf_file=recipe.model.gguf_file,
            lineage=kitchen.lineage,
        )
    report = report_of(kitchen, fit, results) | {
        "seconds": clock.seconds | {"total": sum(clock.seconds.values())},
        "peak_memory_mb": peak_memory_mb(),
    }
    folder.write_report(report)
    return Run(recipe.out, report)


def set_up(recipe: Recipe, prepared: Prepared) -> Kitchen:
    """Load the model, put the adapter and the head on it, and encode the rows."""
    backbone = load_backbone(recipe.model, words=recipe.head.reads_words)
    start = recipe.method.start
    train = prepared.splits.train
    labels = recipe.task.labels(answered(train))
    if start is not None:
        labels = continued_labels(start, recipe.task, labels)
    assembly = Assembly(backbone, recipe.method, recipe.head, labels, seed=recipe.seed, dropout=recipe.train.dropout)
    lineage = continue_from(assembly, recipe.task, start) if start is not None else ()
    looked_at = sample(train, recipe.task, LENGTHS, None, seed=recipe.seed).of(train)
    for finding in length_findings(assembly, looked_at):
        (warn if finding.level == "warning" else notice)(str(finding))
    return kitchen_of(recipe, prepared, assembly, lineage)


def kitchen_of(recipe: Recipe, prepared: Prepared, assembly: Assembly, lineage: Sequence[Any] = ()) -> Kitchen:
    """An assembly with every part's rows as token sequences; training rows that are streamed become such later."""
    encoder, cache, train = encoder_of(assembly), recipe.data.token_cache, prepared.splits.train
    tokens = Tokens(train, encoder, cache=cache) if isinstance(train, Stored) else None
    if tokens is not None and assembly.writing is not None and assembly.writing.long_target == "refuse":
        tokens.make_all()  # what is refused is refused before the first step
    parts = dict(prepared.splits.parts)
    for left_out in ("train" if tokens is not None else "", "test" if assembly.head.reads_words else ""):
        parts.pop(left_out, None)  # test rows that are scored by their texts are encoded for that
    encoded = {name: encoded_all(examples, encoder, cache=cache) for name, examples in parts.items()}
    # Every evaluation in training hides the same tokens.
    encoded["valid"] = masked_once(encoded["valid"], assembly.reading, recipe.seed)
    return Kitchen(recipe, prepared, assembly, encoded, lineage, tokens)


def learn(kitchen: Kitchen, folder: RunDir, *, resume: bool) -> Fit:
    """Train with progress, evaluations and checkpoints; the best weights stand at the end."""
    recipe = kitchen.recipe
    run = kitchen.prepared.fingerprint
    checkpoint = load_checkpoint(folder.checkpoint, run) if resume else None
    if checkpoint is not None:
        folder.go_on(checkpoint.position.step)
    budget = Budget(tokens=recipe.train.batch_tokens, rows=recipe.train.batch_rows)
    pad = kitchen.assembly.backbone.tokenizer.pad_token_id
    batches = batches_of(
        kitchen.encoded["train"] if kitchen.tokens is None else kitchen.tokens,
        budget,
        pad=pad,
        seed=recipe.seed,
        whole_rows=recipe.head.whole_rows,
        reading=kitchen.assembly.reading,
    )
    fit = Fit(
        kitchen.assembly,
        batches,
        recipe.train,
        seed=recipe.seed,
        metric=kitchen.metric,
        evaluate=kitchen.watch,
        run=run,
        resumed=checkpoint,
    )
    recipe.method.prepare(kitchen.assembly.trunk, kitchen.in_order("train"), fit.loop.total)
    with stopping() as stop:
        fit.warm_start(kitchen.in_order("train"), kitchen.in_order("valid"))
        follow(kitchen, folder, fit, stop)
    return fit


def follow(kitchen: Kitchen, folder: RunDir, fit: Fit, stop: Stop) -> None:
    """Log every event of a training, save checkpoints, and stop when asked to."""
    saved = time.monotonic()
    limit = kitchen.recipe.train.max_seconds
    with Progress("train", fit.loop.total, unit="steps", seconds=limit) as progress:
        progress.start_at(fit.loop.step)
        for event in _named_rows(kitchen, fit):
            if isinstance(event, Step):
                folder.log_step(_step_record(event))
                progress.advance(tokens=event.tokens, loss=event.loss)
            else:
                folder.log_scores(_scores_record(event))
                progress.show(**{kitchen.metric: event.scores[kitchen.metric]})
            overdue = time.monotonic() - saved > kitchen.recipe.train.save_every
            if stop.signal is not None or overdue or isinstance(event, Evaluation):
                with folder.new_checkpoint() as empty:
                    save_checkpoint(empty, fit.checkpoint())
                saved = time.monotonic()
            if stop.signal is not None:
                raise Interrupted(
                    f"stopped at step {fit.loop.step} of {fit.loop.total}, everything is saved in {folder.path}; "
                    "give the same command with --resume to go on",
                    stop.signal,
                )
    notice(f"training ended: {fit.ended}; best {kitchen.metric} {fit.best.score:.4f} after step {fit.best.step}")


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


def measure(kitchen: Kitchen, folder: RunDir) -> Results:
    """Score the best weights on validation and test rows, beside simple baselines; write the predictions."""
    recipe, task = kitchen.recipe, kitchen.recipe.task
    of_words = kitchen.assembly.head.reads_words
    scores = {"valid": Scores(kitchen.likelihood()) if of_words else kitchen.score("valid", kitchen.predict("valid"))}
    if not kitchen.examples("test"):
        return Results(scores)
    answered = _answer_test(kitchen, folder)
    answers = [answer.value for answer in answered]
    expected = [example.expected for example in kitchen.examples("test")]
    options: dict[str, Any] = {"samples": recipe.evaluate.samples, "seed": recipe.seed, "level": recipe.evaluate.level}
    beside, gain = {}, None
    if recipe.evaluate.baselines:
        some = kitchen.sample(BASELINES, recipe.evaluate.plain_rows).of(kitchen.examples("train"))
        beside = baselines(task, some, kitchen.examples("test"))
    if recipe.evaluate.baselines and of_words:
        plain = kitchen.unadapted().predict("test")
        beside["unadapted"] = kitchen.score("test", plain)
        before = [answer.value for answer in plain]
        gain = paired_interval(task, answers, before, expected, **options)
    scores["test"] = kitchen.score("test", answered)
    return Results(scores, interval(task, answers, expected, **options), beside, gain)


def _answer_test(kitchen: Kitchen, folder: RunDir) -> list[Answer]:
    """One answer a test row, written to the predictions as they come."""
    answers: list[Answer] = []

    def records() -> Iterator[dict[str, Any]]:
        for example, answer in zip(kitchen.examples("test"), kitchen.stream("test"), strict=True):
            answers.append(answer)
            yield _record(example, answer)

    if kitchen.recipe.evaluate.predictions:
        folder.write_predictions(records())
    else:
        answers += kitchen.stream("test")
    return answers


def report_of(kitchen: Kitchen, fit: Fit, results: Results) -> dict[str, Any]:
    """The run in numbers, as report.json holds it."""
    recipe, test = kitchen.recipe, results.scores.get("test", Scores({}))
    trained, total = kitchen.assembly.count_parameters()
    return {
        "task": recipe.task.name,
        "method": recipe.method.name,
        "model": recipe.model.name,
        "metric": recipe.train.metric or recipe.task.metric,
        "valid": dict(results.scores["valid"].values),
        "test": dict(test.values),
        "interval": results.interval and _interval_record(recipe, *results.interval),
        "gain": results.gain and {"over": "unadapted", **_interval_record(recipe, *results.gain)},
        "baseline": {name: dict(scores.values) for name, scores in results.baselines.items()},
        "per_class": {name: dict(row) for name, row in test.per_class.items()},
        "confusion": {"classes": list(test.classes), "counts": [list(row) for row in test.confusion]},
        "parameters": {"trained": trained, "total": total},
        "training": {"best_step": fit.best.step, "steps": fit.loop.step, "tokens": fit.tokens, "ended": fit.ended},
        "examples": {part: len(examples) for part, examples in kitchen.prepared.splits.parts.items()},
        "seed": recipe.seed,
    }


def _interval_record(recipe: Recipe, low: float, high: float) -> dict[str, Any]:
    return {"metric": recipe.task.metric, "level": recipe.evaluate.level, "low": low, "high": high}


def _named_rows(kitchen: Kitchen, fit: Fit) -> Iterator[Step | Evaluation]:
    """The events of a training; a loss that is not finite is told with the rows of its batch."""
    try:
        yield from fit
    except NotFinite as error:
        rows = ", ".join(kitchen.examples("train")[row].row.where for row in error.rows[:20])
        raise TrainingError(
            f"the {error.what} became NaN or infinite in step {error.step}, in a batch of these rows: {rows}; "
            "look at them, lower train.learning_rate, or use train.precision=fp32"
        ) from error


def _step_record(step: Step) -> dict[str, Any]:
    names = ("epoch", "loss", "learning_rate", "norm", "tokens", "seconds")
    return {"step": step.number} | {name: getattr(step, name) for name in names}


def _scores_record(event: Evaluation) -> dict[str, Any]:
    names = ("step", "epoch", "seconds", "gained")
    return {name: getattr(event, name) for name in names} | dict(event.scores)


def _record(example: Example, answer: Answer) -> dict[str, Any]:
    return {
        "row": example.row.number,
        "source": example.row.source,
        "expected": example.expected,
        "predicted": answer.value,
        "probability": answer.probability,
    }
