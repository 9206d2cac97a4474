"""Self-training: a model's own sure answers to unlabelled rows are learned as labels, round by round.

Scudder (1965), Probability of error of some adaptive pattern-recognition machines; Lee (2013), Pseudo-label. Each round
begins with the model as it comes, and rows that it labelled itself count as much as others.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from adaptune.bundle.answers import answer
from adaptune.core.backbone import Backbone
from adaptune.core.config import Config
from adaptune.core.environment import environment
from adaptune.core.errors import AdaptuneError, Interrupted
from adaptune.core.files import write_atomically, write_json_lines
from adaptune.core.log import notice
from adaptune.core.run_folder import RunDir, read_json_lines
from adaptune.core.types import Example
from adaptune.engine.fit import Fit
from adaptune.labels.pool import Pool, check_one_label, read_pool, surest, with_label
from adaptune.models.load import load_backbone
from adaptune.prepare import Prepared
from adaptune.recipe import Recipe
from adaptune.run import Clock, Kitchen, Run, answered_well, finish, learn
from adaptune.run.kitchen import set_up

RECORD = "selftraining.json"


class Asked(Config):
    """What a self-training is asked for."""

    unlabelled: str
    """The file of rows without labels."""
    rounds: int = Field(default=3, ge=1)
    """That learn from the pool, after the first, which learns from labelled rows alone."""
    confidence: float = Field(default=0.9, ge=0, le=1)
    """The least probability of an answer that is learned from, calibrated where validation rows suffice."""
    balance: bool = True
    """Whether no label gets more than an equal share of the sure answers."""


class Round(Config):
    """One training."""

    number: int
    added: dict[str, int]
    """Rows of the pool that were learned from, by the label that the round before gave them."""
    rows: int
    """That were learned from, labelled ones included."""
    score: float
    """Of the best weights, on validation rows."""
    seconds: float
    sure: int | None = None
    """Rows of the pool that it answers surely enough; None of the last, which is not asked."""


class SelfTraining(Config):
    """selftraining.json: what each round added and scored."""

    fingerprint: str
    """Of recipe, data, pool and what was asked."""
    metric: str
    asked: Asked
    pool: int
    """Rows without labels."""
    valid: int
    """Validation rows, whose true labels decide."""
    rounds: tuple[Round, ...] = ()
    ended: str | None = None
    """Why there are no more rounds; None while some are due."""

    @property
    def best(self) -> Round:
        """The one of the highest validation score, of equal ones the first."""
        return max(self.rounds, key=lambda one: (one.score, -one.number))

    @property
    def verdict(self) -> str:
        """Which round the bundle is of, and why."""
        best, first = self.best, self.rounds[0]
        of = f"{self.metric} on {self.valid:,} validation rows"
        if best.number == 0:
            return (
                f"Round 0 was best ({best.score:.4f} {of}): the pool did not help, and the bundle is of the labelled "
                "rows alone."
            )
        return f"Round {best.number} was best: {best.score:.4f} {of}, round 0 without the pool {first.score:.4f}."


@dataclass(frozen=True, slots=True)
class _Work:
    """What all rounds share."""

    recipe: Recipe
    prepared: Prepared
    pool: Pool
    asked: Asked
    backbone: Backbone

    def folder(self, number: int) -> RunDir:
        """Of one round."""
        return RunDir(self.recipe.out / f"round-{number}")

    def added_file(self, number: int) -> Path:
        """What the round before said of the pool's rows that this one learns from."""
        return self.recipe.out / f"round-{number}.jsonl"


def selftrain(
    recipe: Recipe, prepared: Prepared, asked: Asked, *, resume: bool = False, overwrite: bool = False
) -> tuple[SelfTraining, Run]:
    """Train, answer the pool, train again with the sure answers, and so on; the bundle is of the best round.

    `recipe.out` is the folder of it all. Stopped, it goes on with the round that it was in. Raises AdaptuneError.
    """
    clock = Clock()
    check_one_label(recipe, prepared, "selftrain")
    pool = read_pool(asked.unlabelled, recipe, prepared)
    found = _opened(recipe, prepared, pool, asked, resume=resume, overwrite=overwrite)
    work = _Work(recipe, prepared, pool, asked, load_backbone(recipe.model, words=recipe.head.reads_words))
    try:
        while found.ended is None:
            found = _next_round(work, found)
            write_atomically(recipe.out / RECORD, found.model_dump_json(indent=2) + "\n")
        kitchen, fit = _learned(work, found.best.number, tested=True)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped; what is done is kept in {recipe.out}; give the same command with --resume to go on",
            signal.SIGINT,
        ) from None
    report = finish(kitchen, fit, RunDir(recipe.out), clock).report
    for one in found.rounds:
        shutil.rmtree(work.folder(one.number).checkpoint, ignore_errors=True)
    return found, Run(recipe.out, report)


def _opened(
    recipe: Recipe, prepared: Prepared, pool: Pool, asked: Asked, *, resume: bool, overwrite: bool
) -> SelfTraining:
    """What was done of it before. Raises AdaptuneError where nobody said what of that."""
    file, folder = recipe.out / RECORD, RunDir(recipe.out)
    said = prepared.fingerprint + pool.fingerprint + asked.model_copy(update={"unlabelled": ""}).model_dump_json()
    fingerprint = hashlib.sha256(said.encode()).hexdigest()
    if resume and folder.state == "finished":
        raise AdaptuneError(f"the self-training in {recipe.out} is finished: nothing to resume")
    if resume and file.exists():
        found = SelfTraining.model_validate_json(file.read_bytes())
        if found.fingerprint != fingerprint:
            raise AdaptuneError(
                f"{file} was begun with another recipe, other rows or other options; repeat the old command to resume, "
                "or start anew with --overwrite"
            )
        return found
    if resume:
        raise AdaptuneError(f"{recipe.out} holds no self-training to resume; start it without --resume")
    if file.exists() and not overwrite:
        raise AdaptuneError(
            f"{recipe.out} holds a self-training; continue it with --resume, or start anew with --overwrite"
        )
    folder.begin(recipe.as_yaml(), environment() | prepared.record(), overwrite=overwrite)
    _clear(recipe.out)
    metric = recipe.train.metric or recipe.task.metric
    rows, valid = len(pool.examples), len(prepared.splits.valid)
    begun = SelfTraining(fingerprint=fingerprint, metric=metric, asked=asked, pool=rows, valid=valid)
    write_atomically(file, begun.model_dump_json(indent=2) + "\n")
    return begun


def _clear(out: Path) -> None:
    """Remove the rounds of an earlier one."""
    (out / RECORD).unlink(missing_ok=True)
    for path in out.glob("round-*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _next_round(work: _Work, found: SelfTraining) -> SelfTraining:
    """One more round, and what the next is to learn from."""
    number, started = len(found.rounds), time.monotonic()
    kitchen, fit = _learned(work, number)
    answered_well(kitchen, "valid")  # calibrates
    assert fit.best.score is not None, "a training ends with a score"
    added = _added(work, number)
    done = Round(
        number=number,
        added=dict(sorted(Counter(record["label"] for record in added).items())),
        rows=len(kitchen.examples("train")),
        score=fit.best.score,
        seconds=time.monotonic() - started,
    )
    notice(f"round {number}: {sum(done.added.values()):,} rows of the pool, {found.metric} {done.score:.4f}")
    if number == work.asked.rounds:
        ended: str | None = f"all {number} rounds are done"
    else:
        sure, ended = _ask(work, kitchen, number, added)
        done = done.model_copy(update={"sure": sure})
    return found.model_copy(update={"rounds": (*found.rounds, done), "ended": ended})


def _ask(work: _Work, kitchen: Kitchen, number: int, before: Sequence[dict[str, Any]]) -> tuple[int, str | None]:
    """Write what the next round learns of the pool, and how much was sure; why there is no next one."""
    assembly, asked = kitchen.assembly, work.asked
    answers = answer(assembly, work.pool.examples, max_length=assembly.max_length)
    sure, taken = (
        surest(answers, len(assembly.labels), confidence=asked.confidence, balance=balance)
        for balance in (False, asked.balance)
    )
    if not taken:
        return 0, f"no row of the pool is answered with a probability of {asked.confidence:g} or more"
    records = [
        {"place": place, "label": answers[place].value, "probability": answers[place].probability} for place in taken
    ]
    if [(one["place"], one["label"]) for one in records] == [(one["place"], one["label"]) for one in before]:
        return len(sure), f"round {number} says of the pool what it was taught"
    write_json_lines(work.added_file(number + 1), records)
    return len(sure), None


def _added(work: _Work, number: int) -> list[dict[str, Any]]:
    return list(read_json_lines(work.added_file(number))) if number else []


def _learned(work: _Work, number: int, *, tested: bool = False) -> tuple[Kitchen, Fit]:
    """A round's training, gone on with where it was begun; `tested`: with the test rows, which no round is shown."""
    recipe = work.recipe.model_copy(update={"out": work.folder(number).path})
    added = _added(work, number)
    task, splits = recipe.task, work.prepared.splits
    rows: list[Example] = [with_label(work.pool.examples[one["place"]], task, one["label"]) for one in added]
    said = json.dumps([(one["place"], one["label"]) for one in added])
    prepared = replace(
        work.prepared,
        splits=replace(splits, train=(*splits.train, *rows), test=splits.test if tested else ()),
        fingerprint=hashlib.sha256((work.prepared.fingerprint + work.pool.fingerprint + said).encode()).hexdigest(),
    )
    folder = work.folder(number)
    resume = folder.state == "unfinished"
    if resume:
        folder.go_on()
    else:
        folder.begin(recipe.as_yaml(), environment() | prepared.record(), overwrite=True)
    kitchen = set_up(recipe, prepared, work.backbone)
    return kitchen, learn(kitchen, folder, resume=resume)
