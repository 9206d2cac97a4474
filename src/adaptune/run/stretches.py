"""A run on a shared base, gone on with from where its folder stands. Knows no other run."""

from __future__ import annotations

import json
from typing import NamedTuple

from adaptune.core.environment import environment
from adaptune.core.run_folder import RunDir, read_json_lines
from adaptune.prepare import Prepared
from adaptune.recipe import Recipe
from adaptune.run.cooking import finish
from adaptune.run.finished import Clock
from adaptune.run.following import tracking
from adaptune.run.in_brief import about
from adaptune.run.sharing import Pantry
from adaptune.run.training import learn


class Stretch(NamedTuple):
    """What was trained of a run."""

    steps: int
    seconds: float
    """Evaluations included."""


def cook_on(pantry: Pantry, recipe: Recipe, prepared: Prepared, *, until: int | None = None) -> Stretch:
    """Carry out a recipe on a shared base, from where it stands, to a step; None: to the end, scored, with a bundle.

    A run of the same recipe and data that has come so far is left as it is, one of another is begun anew. Raises
    AdaptuneError for what the user can mend.
    """
    folder = RunDir(recipe.out)
    same = is_of(folder, prepared)
    # Without steps the first evaluation is the last one.
    enough = None if until is None else until if recipe.train.epochs else 0
    if same and (folder.state == "finished" or (enough is not None and last_step(folder) >= enough)):
        return Stretch(0, 0.0)
    clock, resume = Clock(), same and folder.state == "unfinished"
    with clock.stage("data"):
        if resume:
            folder.go_on()
        else:
            folder.begin(recipe.as_yaml(), environment() | prepared.record(), overwrite=True)
    with folder.under_way(about(recipe)), tracking(recipe, folder):
        with clock.stage("data"):
            kitchen = pantry.kitchen(recipe, prepared)
        begun = max(0, last_step(folder))
        with clock.stage("train"):
            fit = learn(kitchen, folder, resume=resume, pantry=pantry, until=until)
        done = Stretch(max(0, fit.loop.step - begun), clock.seconds["train"])
        if until is None:
            finish(kitchen, fit, folder, clock)
    return done


def is_of(folder: RunDir, prepared: Prepared) -> bool:
    """Whether a folder holds a run of this recipe and data."""
    if not folder.environment.exists():
        return False
    return bool(json.loads(folder.environment.read_bytes())["run"] == prepared.fingerprint)


def last_step(folder: RunDir) -> int:
    """At which a run was last evaluated; -1: never."""
    return max((line["step"] for line in read_json_lines(folder.scores)), default=-1) if folder.scores.exists() else -1
