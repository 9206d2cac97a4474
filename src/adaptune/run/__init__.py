"""One run, of one task or of several: recipe -> data -> backbone + method + head -> train -> evaluate -> bundle."""

from __future__ import annotations

from adaptune.run.calibrating import answered_well
from adaptune.run.cooking import cook, cook_tasks, finish, train
from adaptune.run.finished import Clock, Run
from adaptune.run.following import tracking
from adaptune.run.in_brief import about
from adaptune.run.kitchen import Kitchen, kitchen_of
from adaptune.run.sharing import Pantry
from adaptune.run.stretches import cook_on
from adaptune.run.training import learn, observe, warmed

__all__ = [
    "Clock",
    "Kitchen",
    "Pantry",
    "Run",
    "about",
    "answered_well",
    "cook",
    "cook_on",
    "cook_tasks",
    "finish",
    "kitchen_of",
    "learn",
    "observe",
    "tracking",
    "train",
    "warmed",
]
