"""What one run is made from, as frozen values: Recipe, and MultiTask for several tasks on one base. Reads no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from adaptune.bundle.config import BundleConfig
from adaptune.core.approach import Approach
from adaptune.core.catalogue import section
from adaptune.core.config import Config
from adaptune.core.head import Head
from adaptune.core.method import Method
from adaptune.core.task import Task
from adaptune.core.tracker import Tracker, grouped
from adaptune.data.config import DataConfig
from adaptune.data.mixing import Mixing
from adaptune.engine.config import TrainConfig
from adaptune.evaluate.config import EvaluateConfig
from adaptune.models.config import ModelConfig
from adaptune.recipe.source import write_text

DEFAULT_METHOD = "lora"
DEFAULT_APPROACH = "finetune"
ORDER = ("task", "head", "approach", "data", "model", "method", "train", "evaluate", "bundle", "track", "out", "seed")
"""In which a recipe's keys are written."""
ORDER_OF_SEVERAL = ("tasks", "adapters", "mixing", *ORDER[4:])
"""The same where there are several tasks."""
OF_A_TASK = ORDER[:4]
"""What belongs to one task: with several, it stands in the task's entry."""


class RunSettings(Config):
    """What a recipe says outside its sections."""

    out: Path | None = None
    """The run folder; none: runs/ and the name of the recipe file."""
    seed: int = Field(default=1, ge=0)
    """Decides the splits, the order of rows and every initial weight."""


class Recipe(RunSettings):
    """One run: what is learned, from which rows, on which model, and how.

    Relative paths are relative to the folder in which the command runs.
    """

    task: Task
    """What one labelled row means: the name of a task, or a mapping with its name and settings."""
    head: Head
    """The output layer: a name, or a mapping with its name and settings; none: the task's own."""
    approach: Approach
    """How the task is put to the model: a name, or a mapping with its name and settings; none: finetune."""
    data: DataConfig
    """Where the rows are, and how they are read."""
    model: ModelConfig
    """The pretrained model: its name, or a mapping with its name and settings."""
    method: Method
    """What learns inside the model: a name, or a mapping with its name and settings; none: lora."""
    train: TrainConfig
    """How training goes."""
    evaluate: EvaluateConfig
    """What is measured."""
    bundle: BundleConfig
    """What the bundle holds beside the weights."""
    track: tuple[Tracker, ...] = ()
    """Where the run is shown beside its folder: a name, a mapping with its name and settings, or a list of these."""
    out: Path
    """The run folder; none: runs/ and the name of the recipe file."""

    def as_yaml(self) -> str:
        """Every value, defaults included, as a recipe that loads to an equal one."""
        parts = {key: section(getattr(self, key)) for key in ("task", "head", "approach", "method")}
        return _written(self, parts, ORDER)


SECTIONS: dict[str, type[Config]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "bundle": BundleConfig,
}
"""The sections of plain settings."""


class Entry(Config):
    """One of several tasks."""

    task: Task
    """What one labelled row means: the name of a task, or a mapping with its name and settings."""
    head: Head
    """The output layer: a name, or a mapping with its name and settings; none: the task's own."""
    approach: Approach
    """How the task is put to the model: a name, or a mapping with its name and settings; none: finetune."""
    data: DataConfig
    """Where the task's rows are, and how they are read."""


class MultiTask(RunSettings):
    """One run of several tasks on one base, with one adapter for all or one for each."""

    tasks: dict[str, Entry]
    """What is learned, by names of your own: each with its task, head and data."""
    adapters: Literal["shared", "separate"]
    """shared: one method is trained by all tasks, and there is one bundle. separate: each task has its own, as if its
    recipe had been carried out alone, and the base is loaded once."""
    mixing: Mixing | None
    """shared: how often each task is seen; separate: none."""
    model: ModelConfig
    """The pretrained model: its name, or a mapping with its name and settings."""
    method: Method
    """What learns inside the model: a name, or a mapping with its name and settings; none: lora."""
    train: TrainConfig
    """How training goes."""
    evaluate: EvaluateConfig
    """What is measured."""
    bundle: BundleConfig
    """What a bundle holds beside the weights."""
    track: tuple[Tracker, ...] = ()
    """Where the run is shown beside its folder: a name, a mapping with its name and settings, or a list of these."""
    out: Path
    """The run folder; none: runs/ and the name of the recipe file. Separate adapters: each has its own below it."""

    def alone(self, name: str) -> Recipe:
        """The recipe of one of the tasks by itself; its run folder is the one below `out`."""
        same = ("model", "method", "train", "evaluate", "bundle", "seed")
        entry = self.tasks[name]
        own = {key: getattr(entry, key) for key in OF_A_TASK} | {"out": self.out / name}
        own["track"] = grouped(self.track, f"{self.out.name} {name}", self.out.name)
        return Recipe.model_validate(own | {key: getattr(self, key) for key in same})

    def as_yaml(self) -> str:
        """Every value, defaults included, as a recipe that loads to an equal one."""
        parts = {"method": section(self.method), "tasks": {name: _entry(one) for name, one in self.tasks.items()}}
        return _written(self, parts, ORDER_OF_SEVERAL)


def _written(recipe: Recipe | MultiTask, parts: Mapping[str, Any], order: Sequence[str]) -> str:
    """`track` is left out where there is none, so that such a recipe reads as it always did."""
    rest = recipe.model_dump(mode="json", exclude={*parts, "track"})
    trackers = {"track": [section(one) for one in recipe.track]} if recipe.track else {}
    known = {**rest, **parts, **trackers}
    return write_text({key: known.get(key) for key in order if key != "track" or trackers})


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "task": section(entry.task),
        "head": section(entry.head),
        "approach": section(entry.approach),
        "data": entry.data.model_dump(mode="json"),
    }
