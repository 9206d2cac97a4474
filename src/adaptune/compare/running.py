"""One candidate's runs: tried on a few steps, trained to some step, finished and scored. Knows no other candidate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from adaptune.compare.candidates import Candidate
from adaptune.compare.values import Plan, Point, Status, Trained
from adaptune.core.run_folder import RunDir, read_json_lines
from adaptune.core.tracker import grouped
from adaptune.core.types import Array
from adaptune.engine.averaging import averaged_share
from adaptune.engine.loop import plan_steps, train
from adaptune.models.load import load_backbone, without_words
from adaptune.prepare import Prepared, prepared_for
from adaptune.recipe import Recipe
from adaptune.run import Kitchen, Pantry, cook_on
from adaptune.run.estimating import Few
from adaptune.run.stretches import is_of

NO_STEPS = Plan(steps=0, of_steps=0, every=1, rounds=(), finalists=0, seeds=0)
"""Of what takes none, whatever the others do."""
TRIED = 3
"""Optimizer steps of a trial; the first one waits for memory."""


@dataclass(slots=True)
class Entry:
    """A candidate in the race."""

    candidate: Candidate
    status: Status = "stopped"
    error: str | None = None
    rounds: int = 0
    step_seconds: float = 0.0
    """Of a trial at first, then of its last training, evaluations included."""
    of_steps: int = 0
    """As many a whole training of it would take; 0: it takes none, and is known after one look."""
    own_start: bool = False
    """Whether its warm start reads features that no other candidate reads."""
    look_seconds: float = 0.0
    """Of the look at what takes no step."""
    trained: int = 0
    total: int = 0
    bytes: int = 0
    """Of the tensors that its bundle holds."""
    seeds: list[int] = field(default_factory=list)
    """With which it was finished."""


@dataclass(frozen=True, slots=True)
class Track:
    """What the runs of all candidates share."""

    recipe: Recipe
    """With the comparison's folder; its method is another one in every run."""
    prepared: Prepared
    pantries: dict[bool, Pantry] = field(default_factory=dict)
    """By whether the base was loaded with its output layer over words."""

    def pantry(self, recipe: Recipe) -> Pantry:
        """What runs on the base as a recipe reads it share; loaded once. Raises ModelError."""
        words = recipe.head.reads_words
        if words not in self.pantries:
            # The tensors of a base that is there with its words are those of one without.
            beside = self.pantries.get(True)
            base = load_backbone(recipe.model, words=words) if beside is None else without_words(beside.backbone)
            self.pantries[words] = Pantry(base)
        return self.pantries[words]

    def kitchen(self, recipe: Recipe, prepared: Prepared) -> Kitchen:
        """As a run of the recipe alone would have it. Raises ModelError, Unsupported."""
        return self.pantry(recipe).kitchen(recipe, prepared)

    def forget(self) -> None:
        """Give up what frozen layers gave."""
        for pantry in self.pantries.values():
            pantry.forget()

    def run(self, candidate: Candidate, seed: int, plan: Plan) -> Recipe:
        """The recipe of one run, which carried out by itself gives the same."""
        recipe = candidate.recipe(self.recipe)
        train = recipe.train
        if candidate.method.steps and train.epochs and plan.steps:  # none: those before it took none
            steps = plan.steps if plan.steps < plan.of_steps else train.max_steps
            # Patience counts evaluations, of which there are others here: it would end before the rate has fallen.
            shape = {"max_steps": steps, "evaluate_every": plan.every, "patience": None}
            train = train.model_copy(update=shape)
        beside = {"seed": seed, "out": self.folder(candidate, seed).path}
        track = grouped(recipe.track, f"{candidate.name} seed {seed}", self.recipe.out.name)
        return recipe.model_copy(update={"train": train, "track": track, **beside})

    def folder(self, candidate: Candidate, seed: int) -> RunDir:
        """The folder of one run."""
        return RunDir(self.recipe.out / "runs" / candidate.folder / f"seed-{seed}")


def try_out(track: Track, entry: Entry, recipe: Recipe | None = None) -> None:
    """Put the candidate on the base and take a few steps, which are thrown away. Raises what stands against it.

    `recipe`: another one than it has in a comparison.
    """
    recipe = recipe or entry.candidate.recipe(track.recipe)
    prepared = prepared_for(recipe, track.prepared)
    kitchen = track.kitchen(recipe, prepared)
    averaged_share(kitchen.assembly, recipe.train)  # refused now, not in the run
    entry.trained, entry.total = kitchen.assembly.count_parameters()
    entry.bytes = sum(tensor.numel() * tensor.element_size() for tensor in kitchen.assembly.state().values())
    if not entry.candidate.method.steps or not recipe.train.epochs:
        return
    entry.of_steps = plan_steps(kitchen.batches(), recipe.train)
    count = TRIED * recipe.train.accumulate
    linear = kitchen.assembly.head.linear(kitchen.assembly.layer)
    entry.own_start = recipe.train.warm_start and linear is not None and track.pantry(recipe).warm_for(kitchen) is None
    config = recipe.train.model_copy(update={"epochs": 1, "max_steps": TRIED})
    few = Few(list(islice(kitchen.batches()(0), count)))
    seconds = [step.seconds for step in train(kitchen.assembly, few, config, seed=recipe.seed)]
    entry.step_seconds = float(np.mean(seconds[1:] or seconds))


def look(track: Track, entry: Entry, seed: int) -> None:
    """At what takes no step: the approach's own work, and validation rows."""
    recipe, folder = track.run(entry.candidate, seed, NO_STEPS), track.folder(entry.candidate, seed)
    taken = cook_on(track.pantry(recipe), recipe, prepared_for(recipe, track.prepared), until=0).seconds
    lines = list(read_json_lines(folder.scores)) if folder.scores.exists() else []
    entry.look_seconds = taken or (lines[-1]["seconds"] if lines else 0.0)


def train_to(track: Track, entry: Entry, seed: int, plan: Plan, until: int | None) -> None:
    """Train with one seed until a step, from where it stands; None: to the end, with test rows scored and a bundle.

    A run of the same recipe and data that has come so far is left as it is.
    """
    recipe = track.run(entry.candidate, seed, plan)
    done = cook_on(track.pantry(recipe), recipe, prepared_for(recipe, track.prepared), until=until)
    if done.steps:
        entry.step_seconds = done.seconds / done.steps


def is_finished(track: Track, entry: Entry, seed: int, plan: Plan) -> bool:
    """Whether a run of the same recipe and data has been scored on test rows."""
    recipe, folder = track.run(entry.candidate, seed, plan), track.folder(entry.candidate, seed)
    return folder.state == "finished" and is_of(folder, prepared_for(recipe, track.prepared))


def curve_of(folder: RunDir, watched: str) -> tuple[Point, ...]:
    """The evaluations of a run."""
    if not folder.scores.exists():
        return ()
    lines = read_json_lines(folder.scores)
    names = ("step", "epoch", "seconds")
    return tuple(Point(score=line[watched], **{name: line[name] for name in names}) for line in lines)


def counts_of(folder: RunDir) -> Array:
    """(R, K) of a finished run's test rows."""
    return np.array(json.loads(folder.counts.read_bytes()), dtype=np.int64)


def trained_of(folder: RunDir, seed: int, watched: str, beside: Path) -> Trained:
    """What a run's folder says of it; `beside`: the folder that its name is relative to."""
    curve = curve_of(folder, watched)
    report: Mapping[str, Any] = json.loads(folder.report.read_bytes()) if folder.state == "finished" else {}
    return Trained(
        seed=seed,
        folder=folder.path.relative_to(beside).as_posix(),
        finished=bool(report),
        steps=report["training"]["steps"] if report else max((point.step for point in curve), default=0),
        seconds=report["seconds"]["train"] if report else max((point.seconds for point in curve), default=0.0),
        valid=max((point.score for point in curve), default=None),
        test=report.get("test", {}),
        curve=curve,
    )
