"""Recipe, the frozen value that one run is made from, and how a YAML file becomes one. Loads no model and no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from adaptune.bundle.config import BundleConfig
from adaptune.core.catalogue import Catalogue, section
from adaptune.core.config import Config, Part
from adaptune.core.errors import AdaptuneError, RecipeError, Unsupported, nearest
from adaptune.core.head import LOG_LIKELIHOOD, Head
from adaptune.core.method import Method
from adaptune.core.task import Task
from adaptune.data.config import DataConfig
from adaptune.data.formats.parallel import halves
from adaptune.data.read import files_of
from adaptune.engine.config import TrainConfig
from adaptune.evaluate.config import EvaluateConfig
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.config import ModelConfig
from adaptune.recipe.phrases import problems_of, shown, switched, unknown
from adaptune.recipe.source import Source, beside, override, read_source, write_text
from adaptune.tasks import TASKS

DEFAULT_METHOD = "lora"
ORDER = ("task", "head", "data", "model", "method", "train", "evaluate", "bundle", "out", "seed")
"""In which a recipe's keys are written."""

P = TypeVar("P", bound=Part)
C = TypeVar("C", bound=Config)


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
    out: Path
    """The run folder; none: runs/ and the name of the recipe file."""

    def as_yaml(self) -> str:
        """Every value, defaults included, as a recipe that loads to an equal one."""
        parts = {"task": section(self.task), "head": section(self.head), "method": section(self.method)}
        rest = self.model_dump(mode="json", exclude=set(parts))
        return write_text({key: parts.get(key, rest.get(key)) for key in ORDER})


SECTIONS: dict[str, type[Config]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "bundle": BundleConfig,
}
"""The sections of plain settings."""


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file, with values set by their path: `train.epochs=3`.

    Raises RecipeError, which names every problem at once, before any model or data file is opened.
    """
    source = read_source(Path(path))
    _spell_out(source.sections)
    for text in overrides:
        override(source, text)
        _spell_out(source.sections)
    recipe = _build(source, Path("runs") / Path(path).stem)
    if source.problems or recipe is None:
        raise RecipeError(source.name, source.in_order())
    return recipe


def load_data_settings(file: str, settings: Sequence[str] = (), *, columns: Mapping[str, str]) -> DataConfig:
    """How a single file is read: `columns` and settings of the data section, by path: `columns.text=review`.

    Raises RecipeError.
    """
    source = Source(file, {"data": {"train": file, "columns": dict(columns)}})
    for text in settings:
        override(source, f"data.{text}")
    config = _settings(source, "data", DataConfig)
    if source.problems or config is None:
        raise RecipeError(source.name, source.in_order())
    return config


def _spell_out(sections: dict[str, Any]) -> None:
    """`method: lora` means `method: {name: lora}`."""
    for key in ("task", "head", "model", "method"):
        if isinstance(sections.get(key), str):
            sections[key] = {"name": sections[key]}


def _build(source: Source, out: Path) -> Recipe | None:
    """Build and check every section; what is wrong stands in `source`."""
    for key in source.sections:
        if key not in Recipe.model_fields:
            source.report(key, unknown(key, key, ORDER))
    task = _part(source, "task", TASKS, None)
    method = _part(source, "method", METHODS, DEFAULT_METHOD)
    head = _head(source, task)
    if task is not None and head is not None:
        _check_head(source, head, task)
    sections = {key: _settings(source, key, kind) for key, kind in SECTIONS.items()}
    _check_steps(source, method, sections["train"])
    given = {key: source.sections[key] for key in RunSettings.model_fields if key in source.sections}
    run = _built(source, "", RunSettings, given)
    if task is not None:
        _check_metric(source, task, head)
        _check_columns(source, task)
    _check_files(source)
    if source.problems or run is None:
        return None
    built = {"task": task, "head": head, "method": method, **sections}
    return Recipe.model_validate(built | {"out": run.out or out, "seed": run.seed})


def _head(source: Source, task: Task | None) -> Head | None:
    """The head named, else the task's own; where neither is known, the task's problem is the one to solve."""
    named = source.sections.get("head")
    if task is None and not (isinstance(named, dict) and "name" in named):
        return None
    return _part(source, "head", HEADS, task.default_head if task else None)


def _part(source: Source, key: str, catalogue: Catalogue[P], default: str | None) -> P | None:
    """The part of a catalogue that a section names."""
    values = source.sections.get(key)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        source.report(key, f"{key}: expected a name or a mapping with a name, got {shown(values)}")
        return None
    name = values.get("name", default)
    if name is None:
        source.report(key, f"'{key}.name' is missing; there are: {', '.join(catalogue.names())}")
        return None
    try:
        kind = catalogue.get(str(name))
    except Unsupported as error:
        source.report(f"{key}.name", f"{key}: {error}")
        return None
    return _built(source, key, kind, {field: value for field, value in values.items() if field != "name"})


def _settings(source: Source, key: str, kind: type[C]) -> C | None:
    """A section of plain settings; one that is left out has its defaults, and its required values are missing."""
    values = source.sections.get(key)
    return _built(source, key, kind, {} if values is None else values)


def _built(source: Source, key: str, kind: type[C], values: Any) -> C | None:
    try:
        built = kind.model_validate(values)
    except ValidationError as error:
        for where, problem in problems_of(error, kind, values, key):
            source.report(where, problem)
        return None
    except AdaptuneError as error:
        source.report(key, f"{key}: {error}")
        return None
    mistaken = list(switched(values, built, key))
    for where, problem in mistaken:
        source.report(where, problem)
    return None if mistaken else built


def _check_head(source: Source, head: Head, task: Task) -> None:
    if head.target is task.target:
        return
    fitting = ", ".join(name for name in HEADS.names() if HEADS.get(name).target is task.target)
    source.report("head", f"head: {head.name!r} does not learn what task {task.name!r} asks; heads that do: {fitting}")


def _check_steps(source: Source, method: Method | None, train: Config | None) -> None:
    if method is None or method.steps or not isinstance(train, TrainConfig) or train.epochs == 0:
        return
    source.report(
        "train.epochs",
        f"train.epochs is {train.epochs:g}, and method {method.name!r} takes no step; set train.epochs=0, or "
        "method=head_only to train the head alone",
    )


def _check_metric(source: Source, task: Task, head: Head | None) -> None:
    metric = _text(source, "train", "metric")
    metrics = (*task.metrics, *((LOG_LIKELIHOOD,) if head is not None and head.reads_words else ()))
    if metric is None or metric in metrics:
        return
    hint = nearest(metric, metrics)
    known = ", ".join(metrics)
    source.report("train.metric", f"train.metric: task {task.name!r} has no {metric!r}{hint} (it has: {known})")


def _check_columns(source: Source, task: Task) -> None:
    data = source.sections.get("data")
    columns = data.get("columns") if isinstance(data, dict) else None
    known = [column.name for column in task.columns]
    for name in columns if isinstance(columns, dict) else ():
        if name not in known:
            where = f"data.columns.{name}"
            source.report(where, unknown(where, name, known))


def _check_files(source: Source) -> None:
    for part, key in (("data", "train"), ("data", "valid"), ("data", "test"), ("data", "corpus"), ("method", "start")):
        given = _text(source, part, key)
        if given is None or given.startswith("hub:") or "${" in given or files_of(given):
            continue  # an environment variable that is not set has been reported
        name = next((one for one in halves(given) or (given,) if not Path(one).exists()), None)
        if name is None:
            continue
        neighbour = Path(source.name).parent / name
        if neighbour.exists():
            hint = f"; paths are relative to where the command runs: write {str(neighbour)!r}"
        else:
            hint = beside(Path(name))
        source.report(f"{part}.{key}", f"{part}.{key}: there is no {name!r}{hint}")


def _text(source: Source, part: str, key: str) -> str | None:
    """A value as it was written, whatever else is wrong with its section."""
    values = source.sections.get(part)
    value = values.get(key) if isinstance(values, dict) else None
    return value if isinstance(value, str) else None
