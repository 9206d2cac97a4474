"""A finished run that is to be repeated: its recipe, and what here is not as it was then. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptune.bundle.manifest import MANIFEST
from adaptune.core.errors import AdaptuneError, DataError, ModelError
from adaptune.core.run_folder import RunDir
from adaptune.history.difference import Change, digests_of, run_at
from adaptune.models.families import roles_of
from adaptune.models.find import locate
from adaptune.models.fingerprint import fingerprint
from adaptune.models.load import load_config
from adaptune.prepare import Prepared, prepare, prepare_tasks
from adaptune.recipe import MultiTask, Recipe, read_recipe

MACHINE = ("python", "processor", "threads", "instructions", "accelerator")
"""What environment.json says of a machine that can change the last digits of a sum."""


@dataclass(frozen=True, slots=True)
class Original:
    """A finished run, with its recipe for a new folder and its data as they are today."""

    folder: RunDir
    recipe: Recipe | MultiTask
    prepared: Prepared | dict[str, Prepared]
    environment: Mapping[str, Any]
    report: Mapping[str, Any]

    @property
    def runs(self) -> dict[str | None, Path]:
        """The folders of single runs by their tasks, below the run's own where each task has its adapter."""
        if self.report.get("adapters") == "separate":
            return {name: self.folder.path / name for name in self.report["tasks"]}
        return {None: self.folder.path}

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the data files as they are today."""
        if isinstance(self.prepared, dict):
            tasks = {name: one.record() for name, one in self.prepared.items()}
            return digests_of({"tasks": tasks})
        return digests_of(self.prepared.record())


def finished_at(path: Path) -> RunDir:
    """The folder of a finished run. Raises AdaptuneError for any other."""
    folder = run_at(path)
    if folder.state != "finished":
        raise AdaptuneError(
            f"the run in {path} was not finished ({folder.report.name} is missing), so that there is nothing to "
            "repeat; go on with it: adaptune train RECIPE --resume"
        )
    return folder


def original(folder: RunDir, out: Path, *, anyway: bool) -> Original:
    """What a finished run was made of, to be made again in `out`; no tracker is told of that.

    Raises DataError and ModelError where a data file or the base is another one, unless it is to be repeated `anyway`.
    """
    recipe = read_recipe(folder.recipe).model_copy(update={"out": out, "track": ()})
    environment = json.loads(folder.environment.read_bytes())
    report = json.loads(folder.report.read_bytes())
    if not anyway and (problem := _other_base(recipe, _base_of(folder, report))):
        raise ModelError(problem)
    prepared = prepare(recipe) if isinstance(recipe, Recipe) else prepare_tasks(recipe)
    found = Original(folder, recipe, prepared, environment, report)
    if not anyway and (changed := list(_changed_data(found))):
        raise DataError("\n".join([*changed, "bring back the files as they were, or repeat the run --anyway"]))
    return found


def warnings_of(found: Original, now: Mapping[str, Any]) -> Iterator[str]:
    """What may make the repeated run differ; `now`: what environment() says."""
    yield from _changed_data(found)
    if problem := _other_base(found.recipe, _base_of(found.folder, found.report)):
        yield problem
    for change in _versions(found.environment, now):
        yield f"{change.name} was {change.first}, and is {change.second} here"
    if found.recipe.train.max_seconds is not None:
        yield (
            f"train.max_seconds is {found.recipe.train.max_seconds:g}: where the run was ended by its time, the "
            "repeated one ends after another step"
        )


def _changed_data(found: Original) -> Iterator[str]:
    recorded, now = digests_of(found.environment), found.digests
    for key in dict.fromkeys((*recorded, *now)):
        then, there = recorded.get(key), now.get(key)
        if then != there:
            yield (
                f"{key} ({_file_at(found.recipe, key)}) is not what the run read: its SHA-256 was {_short(then)}, and "
                f"is {_short(there)}"
            )


def _file_at(recipe: Recipe | MultiTask, key: str) -> str:
    *above, name = key.split(".")
    data = recipe.tasks[above[1]].data if isinstance(recipe, MultiTask) else recipe.data
    return str(getattr(data, name))


def _short(digest: str | None) -> str:
    return "none" if digest is None else f"{digest[:12]}…"


def _base_of(folder: RunDir, report: Mapping[str, Any]) -> str | None:
    """The fingerprint of the base; runs of older versions have it in their bundle alone."""
    reports = [report, *(one for one in report.get("tasks", {}).values() if isinstance(one, dict))]
    known = next((str(one["base"]) for one in reports if "base" in one), None)
    manifest = folder.bundle / MANIFEST
    if known is None and manifest.is_file():
        known = str(json.loads(manifest.read_bytes())["base"]["fingerprint"])
    return known


def _other_base(recipe: Recipe | MultiTask, recorded: str | None) -> str | None:
    """What is wrong with the base, if it is another one."""
    if recorded is None:
        return None
    found = fingerprint(locate(recipe.model), roles_of(load_config(recipe.model)))
    if found == recorded:
        return None
    return (
        f"the base model {recipe.model.name!r} is not the one that the run was trained on: its weights were "
        f"{_short(recorded)}, and are {_short(found)}; bring back the old ones, or repeat the run --anyway"
    )


def _versions(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    for name, version in then.get("libraries", {}).items():
        here = now["libraries"].get(name)
        if here != version:
            yield Change(name, version, here)
    for name in MACHINE:
        if name in then and then[name] != now.get(name):
            yield Change(name, then[name], now.get(name))
