"""One run, of one task or of several: recipe -> data -> backbone + method + head -> train -> evaluate -> bundle."""

from __future__ import annotations

from adaptune.run.calibrating import answered_well
from adaptune.run.cooking import cook, cook_tasks, train
from adaptune.run.finished import Run
from adaptune.run.kitchen import Kitchen, kitchen_of

__all__ = ["Kitchen", "Run", "answered_well", "cook", "cook_tasks", "kitchen_of", "train"]
