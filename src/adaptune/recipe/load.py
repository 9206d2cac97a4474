"""A YAML file becomes a recipe, of one task or of several. Loads no model and no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from adaptune.approaches.finetune import Finetune
from adaptune.core.approach import Approach
from adaptune.core.config import Config
from adaptune.core.errors import RecipeError, nearest
from adaptune.data.config import DataConfig
from adaptune.data.mixing import Mixing
from adaptune.methods import METHODS
from adaptune.recipe.checks import (
    OfTask,
    built,
    check_approaches,
    check_calibration,
    check_epochs,
    check_file,
    check_steps,
    part_at,
    settings_at,
    task_at,
    trackers_at,
)
from adaptune.recipe.phrases import shown, unknown
from adaptune.recipe.source import Source, override, read_source, source_of
from adaptune.recipe.values import (
    DEFAULT_METHOD,
    OF_A_TASK,
    ORDER,
    ORDER_OF_SEVERAL,
    SECTIONS,
    Entry,
    MultiTask,
    Recipe,
    RunSettings,
)

_NAME = re.compile(r"\w[\w-]*")
_NO_NAMES = ("bundle", "checkpoint")
"""What a run folder has beside the folders of tasks."""


def load_recipe(path: str | Path, overrides: Sequence[str] = (), *, task: str | None = None) -> Recipe:
    """The recipe in a YAML file, with values set by their path: `train.epochs=3`; `task`: which one of several.

    Raises RecipeError, which names every problem at once, before any model or data file is opened.
    """
    recipe = read_recipe(path, overrides)
    if isinstance(recipe, Recipe):
        if task is not None:
            raise RecipeError(str(path), [f"--task is {task!r}, and the recipe has one task alone; leave it out"])
        return recipe
    names = ", ".join(recipe.tasks)
    if task is None:
        raise RecipeError(str(path), [f"the recipe has several tasks ({names}); say which: --task NAME"])
    if task not in recipe.tasks:
        raise RecipeError(str(path), [f"there is no task {task!r}{nearest(task, recipe.tasks)} (there are: {names})"])
    return recipe.alone(task)


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe | MultiTask:
    """The recipe in a YAML file, of one task or of several. Raises RecipeError as `load_recipe` does."""
    return _recipe_of(read_source(Path(path)), overrides, Path("runs") / Path(path).stem)


def recipe_in(text: str, out: Path) -> Recipe | MultiTask:
    """The recipe in a text; `out` is its run folder where it names none. Raises RecipeError as `load_recipe` does."""
    return _recipe_of(source_of(text, "recipe"), (), out)


def _recipe_of(source: Source, overrides: Sequence[str], out: Path) -> Recipe | MultiTask:
    _spell_out(source.sections)
    for text in overrides:
        override(source, text)
        _spell_out(source.sections)
    recipe = _build_several(source, out) if source.sections.get("tasks") is not None else _build(source, out)
    if source.problems or recipe is None:
        raise RecipeError(source.name, source.in_order(), source.paths)
    return recipe


def load_data_settings(file: str, settings: Sequence[str] = (), *, columns: Mapping[str, str]) -> DataConfig:
    """How a single file is read: `columns` and settings of the data section, by path: `columns.text=review`.

    Raises RecipeError.
    """
    source = Source(file, {"data": {"train": file, "columns": dict(columns)}})
    for text in settings:
        override(source, f"data.{text}")
    config = settings_at(source, "data", DataConfig)
    if source.problems or config is None:
        raise RecipeError(source.name, source.in_order())
    return config


def _spell_out(sections: dict[str, Any]) -> None:
    """`method: lora` means `method: {name: lora}`."""
    for key in ("task", "head", "approach", "model", "method"):
        if isinstance(sections.get(key), str):
            sections[key] = {"name": sections[key]}
    tasks = sections.get("tasks")
    for entry in tasks.values() if isinstance(tasks, dict) else ():
        if isinstance(entry, dict):
            _spell_out(entry)


def _build(source: Source, out: Path) -> Recipe | None:
    """Build and check every section; what is wrong stands in `source`."""
    for key in source.sections:
        if key not in ORDER and key in ORDER_OF_SEVERAL:
            source.report(key, f"{key!r} is for several tasks, and the recipe has no 'tasks'")
        elif key not in ORDER:
            source.report(key, unknown(key, key, ORDER))
    found = task_at(source, "")
    common = _common(source, out, [found])
    check_approaches(source, {"": found}, common["method"], shared=False)
    check_calibration(source, {"": found}, common["evaluate"])
    if source.problems:
        return None
    return Recipe.model_validate(common | found._asdict())


def _build_several(source: Source, out: Path) -> MultiTask | None:
    """The same of a recipe of several tasks."""
    for key in source.sections:
        if key in OF_A_TASK:
            source.report(key, f"{key!r} stands beside 'tasks': it belongs to one of them, as 'tasks.NAME.{key}'")
        elif key not in ORDER_OF_SEVERAL:
            source.report(key, unknown(key, key, ORDER_OF_SEVERAL))
    entries = {name: _entry(source, name) for name in _names(source)}
    adapters = _adapters(source)
    mixing = _mixing(source, adapters)
    common = _common(source, out, list(entries.values()))
    placed = {f"tasks.{name}": entry for name, entry in entries.items()}
    check_approaches(source, placed, common["method"], shared=adapters == "shared")
    check_calibration(source, placed, common["evaluate"])
    if adapters == "shared" and source.at("method.start") is not None:
        source.report(
            "method.start",
            "method.start: tasks with shared adapters start from the model itself; leave it out, or set "
            "adapters=separate",
        )
    if source.problems:
        return None
    tasks = {name: Entry.model_validate(entry._asdict()) for name, entry in entries.items()}
    return MultiTask.model_validate(common | {"tasks": tasks, "adapters": adapters, "mixing": mixing})


def _usual(tasks: Sequence[OfTask]) -> Approach:
    """Whose defaults hold: the approach of all tasks, if they have one in common."""
    found = [task.approach for task in tasks if task.approach is not None]
    return found[0] if found and all(one.name == found[0].name for one in found) else Finetune()


def _names(source: Source) -> list[str]:
    """The tasks that can be looked at; what is wrong with the others, or with their number, is told."""
    tasks = source.sections["tasks"]
    if not isinstance(tasks, dict):
        source.report("tasks", f"tasks: expected a mapping of names to tasks, got {shown(tasks)}")
        return []
    if len(tasks) < 2:
        source.report("tasks", "tasks: expected two or more; of a single one, task, head and data are sections")
    wrong = [name for name in tasks if not _NAME.fullmatch(name) or name in _NO_NAMES]
    for name in wrong:
        source.report(
            f"tasks.{name}",
            f"tasks: {name!r} cannot be a task's name; expected letters, digits, - and _, and not "
            f"{' or '.join(_NO_NAMES)}",
        )
    return [name for name in tasks if name not in wrong]


def _entry(source: Source, name: str) -> OfTask:
    place = f"tasks.{name}"
    entry = source.at(place)
    if not isinstance(entry, dict):
        source.report(place, f"{place}: expected a mapping with task and data, got {shown(entry)}")
        return OfTask(None, None, None, None)
    for key in entry:
        if key not in OF_A_TASK:
            source.report(f"{place}.{key}", unknown(f"{place}.{key}", key, OF_A_TASK))
    return task_at(source, place)


def _adapters(source: Source) -> str | None:
    """shared or separate; which of them has to be said."""
    known = get_args(MultiTask.model_fields["adapters"].annotation)
    value = source.sections.get("adapters")
    if value in known:
        return str(value)
    choices = " or ".join(map(repr, known))
    if value is None:
        source.report("", f"'adapters' is missing: {choices}, one adapter for all tasks or one for each")
    else:
        source.report("adapters", f"adapters: expected {choices}, got {shown(value)}{nearest(str(value), known)}")
    return None


def _mixing(source: Source, adapters: str | None) -> Config | None:
    if adapters != "separate":
        return settings_at(source, "mixing", Mixing)
    if source.sections.get("mixing") is not None:
        source.report(
            "mixing",
            "mixing is for shared adapters: separate ones are trained one after another; leave it out, or set "
            "adapters=shared",
        )
    return None


def _common(source: Source, out: Path, tasks: Sequence[OfTask]) -> dict[str, Any]:
    """What stands once, however many tasks there are; the approach of a single one has defaults of its own."""
    usual = _usual(tasks)
    method = part_at(source, "method", METHODS, usual.default_method or DEFAULT_METHOD)
    sections = {key: settings_at(source, key, kind) for key, kind in SECTIONS.items() if key != "data"}
    train = sections["train"]
    if train is not None and usual.default_epochs is not None and source.at("train.epochs") is None:
        sections["train"] = train.model_copy(update={"epochs": usual.default_epochs})
    check_steps(source, method, sections["train"])
    check_epochs(source, tasks, sections["train"])
    given = {key: source.sections[key] for key in RunSettings.model_fields if key in source.sections}
    run = built(source, "", RunSettings, given)
    check_file(source, "method.start")
    settings = {"out": run.out or out, "seed": run.seed} if run is not None else {}
    return {"method": method, **sections, "track": trackers_at(source), **settings}
