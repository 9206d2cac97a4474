"""Sections of a recipe become values, and are checked against each other. What is wrong stands in the source.

A section stands at a path: `data`, or `tasks.intent.data` where there are several tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from adaptune.approaches import APPROACHES
from adaptune.core.approach import Approach
from adaptune.core.catalogue import Catalogue
from adaptune.core.config import Config, Part
from adaptune.core.errors import AdaptuneError, Unsupported, nearest
from adaptune.core.head import LOG_LIKELIHOOD, Head, LogitHead
from adaptune.core.method import Method
from adaptune.core.task import Task
from adaptune.core.tracker import Tracker
from adaptune.data.config import DataConfig
from adaptune.data.formats.parallel import halves
from adaptune.data.read import files_of
from adaptune.engine.config import TrainConfig
from adaptune.evaluate.config import EvaluateConfig
from adaptune.heads import HEADS
from adaptune.recipe.phrases import missing, problems_of, shown, switched, unknown
from adaptune.recipe.source import Source, beside
from adaptune.recipe.values import DEFAULT_APPROACH
from adaptune.tasks import TASKS
from adaptune.track import TRACKERS

P = TypeVar("P", bound=Part)
C = TypeVar("C", bound=Config)


class OfTask(NamedTuple):
    """What belongs to one task; None for what is wrong."""

    task: Task | None
    head: Head | None
    approach: Approach | None
    data: DataConfig | None


def task_at(source: Source, place: str) -> OfTask:
    """Task, head and data of the recipe (place: an empty string) or of an entry of its tasks, checked."""
    below = f"{place}." if place else ""
    task = part_at(source, f"{below}task", TASKS, None)
    approach = part_at(source, f"{below}approach", APPROACHES, DEFAULT_APPROACH)
    answering = approach.heads(task) if approach is not None and task is not None else ()
    head = _head(source, f"{below}head", task, answering)
    if task is not None and head is not None and approach is not None:
        head = _fitted(source, f"{below}head", head, task, approach)
    data = settings_at(source, f"{below}data", DataConfig)
    if data is not None and approach is not None:
        _check_rows(source, f"{below}data", data, approach)
    if task is not None:
        _check_metric(source, task, head)
        _check_columns(source, f"{below}data.columns", task)
    for key in ("train", "valid", "test", "corpus", "out_of_scope"):
        check_file(source, f"{below}data.{key}")
    return OfTask(task, head, approach, data)


def _check_rows(source: Source, path: str, data: DataConfig, approach: Approach) -> None:
    """There are rows to learn from, where the approach needs some."""
    if data.train is None and approach.needs_rows:
        source.report(path, missing(f"{path}.train", DataConfig, "train"))
    elif data.shots == 0 and approach.needs_rows:
        source.report(
            f"{path}.shots",
            f"{path}.shots is 0, and approach {approach.name!r} learns from labelled rows; use approach=prototype, or "
            "set it to 1 or more",
        )


def trackers_at(source: Source) -> tuple[Tracker, ...]:
    """The trackers that `track` names: one, or a list of them."""
    given = source.at("track")
    several = isinstance(given, list)
    items = given if several else [] if given is None else [given]
    found: list[Tracker] = []
    for place, item in enumerate(items):
        path = f"track.{place}" if several else "track"
        tracker = part_of(source, path, {"name": item} if isinstance(item, str) else item, TRACKERS, None)
        if tracker is not None and any(one.name == tracker.name for one in found):
            source.report(path, f"{path}: {tracker.name!r} stands there twice; keep one of them")
        elif tracker is not None:
            found.append(tracker)
    return tuple(found)


def part_at(source: Source, path: str, catalogue: Catalogue[P], default: str | None) -> P | None:
    """The part of a catalogue that a section names."""
    values = source.at(path)
    return part_of(source, path, {} if values is None else values, catalogue, default)


def part_of(source: Source, path: str, values: Any, catalogue: Catalogue[P], default: str | None) -> P | None:
    """The part of a catalogue that the values of a section name."""
    if not isinstance(values, dict):
        source.report(path, f"{path}: expected a name or a mapping with a name, got {shown(values)}")
        return None
    name = values.get("name", default)
    if name is None:
        source.report(path, f"'{path}.name' is missing; there are: {', '.join(catalogue.names())}")
        return None
    try:
        kind = catalogue.get(str(name))
    except Unsupported as error:
        source.report(f"{path}.name", f"{path}: {error}")
        return None
    return built(source, path, kind, {field: value for field, value in values.items() if field != "name"})


def settings_at(source: Source, path: str, kind: type[C]) -> C | None:
    """A section of plain settings; one that is left out has its defaults, and its required values are missing."""
    values = source.at(path)
    return built(source, path, kind, {} if values is None else values)


def built(source: Source, path: str, kind: type[C], values: Any) -> C | None:
    """The values as a section of its kind."""
    try:
        section = kind.model_validate(values)
    except ValidationError as error:
        for where, problem in problems_of(error, kind, values, path):
            source.report(where, problem)
        return None
    except AdaptuneError as error:
        source.report(path, f"{path}: {error}")
        return None
    mistaken = list(switched(values, section, path))
    for where, problem in mistaken:
        source.report(where, problem)
    return None if mistaken else section


def _head(source: Source, path: str, task: Task | None, answering: Sequence[str]) -> Head | None:
    """The head named, else the approach's or the task's; without a task, its problem is the one to solve."""
    named = source.at(path)
    if task is None and not (isinstance(named, dict) and "name" in named):
        return None
    return part_at(source, path, HEADS, next(iter(answering), task.default_head if task else None))


def _fitted(source: Source, path: str, head: Head, task: Task, approach: Approach) -> Head:
    """The head as it stands beside its task and its approach."""
    answering = approach.heads(task)
    if head.name in answering if answering else head.target is task.target:
        try:
            return approach.for_head(head.for_task(task), task)
        except Unsupported as error:
            source.report(path, f"{path}: {error}")
            return head
    if answering:
        source.report(
            path,
            f"{path}: approach {approach.name!r} does not answer with {head.name!r}, but with: {', '.join(answering)}; "
            "leave the head out, or choose one of these",
        )
        return head
    fitting = ", ".join(name for name in HEADS.names() if HEADS.get(name).target is task.target)
    source.report(path, f"{path}: {head.name!r} does not learn what task {task.name!r} asks; heads that do: {fitting}")
    return head


def check_steps(source: Source, method: Method | None, train: Config | None) -> None:
    """A method that takes no step asks for no epochs."""
    if method is None or method.steps or not isinstance(train, TrainConfig) or train.epochs == 0:
        return
    source.report(
        "train.epochs",
        f"train.epochs is {train.epochs:g}, and method {method.name!r} takes no step; set train.epochs=0, or "
        "method=head_only to train the head alone",
    )


def check_approaches(source: Source, tasks: Mapping[str, OfTask], method: Method | None, *, shared: bool) -> None:
    """An approach fits its task, head and method; `tasks` by where they stand, `shared`: with one adapter for all."""
    for place, (task, head, approach, data) in tasks.items():
        path = f"{place}.approach" if place else "approach"
        if task is None or head is None or approach is None or method is None:
            continue
        try:
            approach.check(task, method, head)
        except Unsupported as error:
            source.report(path, f"{path}: {error}")
        if shared and approach.moves_trunk:
            source.report(
                path,
                f"{path}: {approach.name!r} trains the method before the tasks do, which those with shared adapters "
                "cannot each; set adapters=separate, or leave it out",
            )
        if shared and data is not None and (data.train is None or data.shots == 0):
            source.report(
                path,
                f"{path}: {approach.name!r} has no training rows, and tasks with shared adapters are mixed by their "
                "numbers; set adapters=separate",
            )


def check_epochs(source: Source, tasks: Sequence[OfTask], train: Config | None) -> None:
    """Without training rows there is nothing to pass over."""
    without = any(
        one.data is not None
        and one.approach is not None
        and not one.approach.needs_rows
        and (one.data.train is None or one.data.shots == 0)
        for one in tasks
    )
    if without and isinstance(train, TrainConfig) and train.epochs:
        source.report(
            "train.epochs",
            f"train.epochs is {train.epochs:g}, and there are no training rows; set train.epochs=0, or name some",
        )


def check_calibration(source: Source, tasks: Mapping[str, OfTask], evaluate: Config | None) -> None:
    """Thresholds are for heads that have them, and rows out of scope for a score that is measured on them.

    `tasks` by where they stand: an empty string, or `tasks.intent`.
    """
    if not isinstance(evaluate, EvaluateConfig) or any(one.head is None for one in tasks.values()):
        return
    telling = {place for place, one in tasks.items() if one.head is not None and _tells_scope(type(one.head))}
    if evaluate.abstain is not None and not any(isinstance(one.head, LogitHead) for one in tasks.values()):
        _report_heads(source, "evaluate.abstain", lambda kind: issubclass(kind, LogitHead))
    if evaluate.out_of_scope is not None and not telling:
        _report_heads(source, "evaluate.out_of_scope", _tells_scope)
    if evaluate.out_of_scope is None and evaluate.in_scope_kept != EvaluateConfig().in_scope_kept:
        path = "evaluate.in_scope_kept"
        source.report(path, f"{path}: nothing would use it; set evaluate.out_of_scope")
    for place, one in tasks.items():
        for key in ("out_of_scope", "out_of_scope_label"):
            if one.data is None or getattr(one.data, key) is None:
                continue
            path = f"{place}.data.{key}" if place else f"data.{key}"
            if evaluate.out_of_scope is None:
                remedy = "set evaluate.out_of_scope to probability, energy or mahalanobis, or leave it out"
                source.report(path, f"{path}: nothing would read it; {remedy}")
            elif place not in telling and telling:
                source.report(path, f"{path}: the task's head tells no text that is out of scope; leave it out")


def _tells_scope(kind: type[Head]) -> bool:
    return issubclass(kind, LogitHead) and kind.tells_scope


def _report_heads(source: Source, path: str, able: Callable[[type[Head]], bool]) -> None:
    names = ", ".join(name for name in HEADS.names() if able(HEADS.get(name)))
    source.report(path, f"{path}: no head of this recipe can do that; heads that can: {names}; leave it out")


def _check_metric(source: Source, task: Task, head: Head | None) -> None:
    metric = _text(source, "train.metric")
    metrics = (*task.metrics, *((LOG_LIKELIHOOD,) if head is not None and head.learns_texts else ()))
    if metric is None or metric in metrics:
        return
    hint = nearest(metric, metrics)
    known = ", ".join(metrics)
    source.report("train.metric", f"train.metric: task {task.name!r} has no {metric!r}{hint} (it has: {known})")


def _check_columns(source: Source, path: str, task: Task) -> None:
    columns = source.at(path)
    known = [column.name for column in task.columns]
    for name in columns if isinstance(columns, dict) else ():
        if name not in known:
            where = f"{path}.{name}"
            source.report(where, unknown(where, name, known))


def check_file(source: Source, path: str) -> None:
    """A file or folder that is named must be there; patterns are looked at where they are read."""
    given = _text(source, path)
    if given is None or given.startswith("hub:") or "${" in given or files_of(given):
        return  # an environment variable that is not set has been reported
    name = next((one for one in halves(given) or (given,) if not Path(one).exists()), None)
    if name is None:
        return
    neighbour = Path(source.name).parent / name
    if neighbour.exists():
        hint = f"; paths are relative to where the command runs: write {str(neighbour)!r}"
    else:
        hint = beside(Path(name))
    source.report(path, f"{path}: there is no {name!r}{hint}")


def _text(source: Source, path: str) -> str | None:
    """A value as it was written, whatever else is wrong with its section."""
    value = source.at(path)
    return value if isinstance(value, str) else None
