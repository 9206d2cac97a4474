"""Two runs side by side: recipes key by key, data, scores with what their difference is worth, machine. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adaptune.core.errors import AdaptuneError
from adaptune.core.run_folder import RunDir, read_json_lines, read_record
from adaptune.core.task import Task
from adaptune.core.tracker import flat
from adaptune.core.types import Array
from adaptune.evaluate.intervals import difference_interval
from adaptune.history.found import find, recipe_of
from adaptune.tasks import TASKS

LEFT_OUT = ("out", "track")
"""Keys of a recipe that change nothing of what is learned."""
NOT_MACHINE = ("data", "run", "findings", "tasks", "directory")
"""What environment.json says beside versions and machine."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs."""

    name: str
    first: Any
    second: Any
    """None: the run has none."""


@dataclass(frozen=True, slots=True)
class Score:
    """The same metric of both runs."""

    part: str
    """valid or test."""
    metric: str
    first: float | None
    second: float | None


@dataclass(frozen=True, slots=True)
class Paired:
    """What the difference of a metric on the same test rows is worth (the paired bootstrap over rows)."""

    metric: str
    rows: int
    differ: int
    """Rows that the two runs answer differently."""
    difference: float
    """The second run's less the first one's."""
    low: float
    high: float
    level: float

    @property
    def distinct(self) -> bool:
        """Whether one run is better, beyond chance."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Difference:
    """Two runs."""

    first: Path
    second: Path
    recipe: tuple[Change, ...]
    data: tuple[Change, ...]
    environment: tuple[Change, ...]
    scores: tuple[Score, ...]
    intervals: tuple[Change, ...]
    """Of the metric on test rows, where each was measured."""
    paired: tuple[Paired, ...]
    unpaired: tuple[str, ...]
    """Why a difference has no interval."""

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"first": str(self.first), "second": str(self.second)}


def difference(first: Path, second: Path) -> Difference:
    """What differs between two runs. Raises AdaptuneError for a folder that is no run."""
    folders = (run_at(first), run_at(second))
    recipes = [recipe_of(folder.path) for folder in folders]
    environments = [read_record(folder.environment) for folder in folders]
    reports = [read_record(folder.report) for folder in folders]
    machines = [flat({k: v for k, v in one.items() if k not in NOT_MACHINE}) for one in environments]
    paired, unpaired = _paired(folders, recipes, environments)
    return Difference(
        first,
        second,
        recipe=_changes(*(flat({k: v for k, v in one.items() if k not in LEFT_OUT}) for one in recipes)),
        data=_changes(*map(_data_of, environments)),
        environment=_changes(*machines),
        scores=tuple(_scores(*reports)),
        intervals=_changes(*map(_intervals, reports)),
        paired=paired,
        unpaired=unpaired,
    )


def run_at(path: Path) -> RunDir:
    """The folder of one run. Raises AdaptuneError for another folder, and for that of several runs."""
    folder = RunDir(path)
    if folder.environment.is_file() and folder.recipe.is_file():
        return folder
    runs = [one.path for one in find(path) if one.kind == "run"] if path.is_dir() else []
    if not runs:
        raise AdaptuneError(
            f"{path} is no run folder: it holds no {folder.environment.name}; `adaptune runs list` names some"
        )
    some = ", ".join(map(str, runs[:3])) + (", ..." if len(runs) > 3 else "")
    raise AdaptuneError(f"{path} holds {len(runs)} runs and is none itself; name one of them: {some}")


def digests_of(environment: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of each data file by its key in the recipe, `tasks.NAME.data.train` where there are several tasks."""
    found = {f"data.{key}": digest for key, digest in environment.get("data", {}).items()}
    for name, task in environment.get("tasks", {}).items():
        found |= {f"tasks.{name}.data.{key}": digest for key, digest in task.get("data", {}).items()}
    return found


def _data_of(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Digests and numbers of rows."""
    tasks = environment.get("tasks", {})
    rows = {
        f"{name} rows" if task is None else f"{task}: {name} rows": count
        for task, one in {**({} if tasks else {None: environment}), **tasks}.items()
        for name, count in one.get("findings", {}).get("rows", {}).items()
    }
    return rows | {f"{key}, SHA-256": digest for key, digest in digests_of(environment).items()}


def _changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Change, ...]:
    names = dict.fromkeys((*first, *second))
    return tuple(
        Change(name, first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)
    )


def _scores(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Score]:
    """Those that decide first, then the others."""
    for part in ("test", "valid"):
        own, other = _part(first, part), _part(second, part)
        decides = first.get("metric") or second.get("metric")
        for metric in sorted(dict.fromkeys((*own, *other)), key=lambda name: name != decides):
            yield Score(part, metric, own.get(metric), other.get(metric))


def _part(report: Mapping[str, Any], part: str) -> dict[str, float]:
    found = dict(report.get(part, {}))
    for name, task in report.get("tasks", {}).items():
        found |= {f"{name}.{metric}": score for metric, score in task.get(part, {}).items()}
    return found


def _intervals(report: Mapping[str, Any]) -> dict[str, Any]:
    own = {None: report, **report.get("tasks", {})}
    return {
        f"{'' if name is None else f'{name}.'}{ends['metric']}, {ends['level']:.0%} interval": (
            f"{ends['low']:.4f} to {ends['high']:.4f}"
        )
        for name, one in own.items()
        if (ends := one.get("interval")) is not None
    }


def _paired(
    folders: Sequence[RunDir], recipes: Sequence[Mapping[str, Any]], environments: Sequence[Mapping[str, Any]]
) -> tuple[tuple[Paired, ...], tuple[str, ...]]:
    names = [list(recipe.get("tasks", {None: None})) for recipe in recipes]
    found, why = [], []
    for task in [name for name in names[0] if name in names[1]]:
        try:
            found.append(_pair(folders, [_sections(recipe, task) for recipe in recipes], environments, task))
        except _Unlike as reason:
            why.append(str(reason) if task is None else f"{task}: {reason}")
    if not found and not why:
        why.append("the runs have no task in common")
    return tuple(found), tuple(why)


class _Unlike(Exception):
    """Why two runs have no rows in common."""


def _sections(recipe: Mapping[str, Any], task: str | None) -> Mapping[str, Any]:
    found: Mapping[str, Any] = recipe if task is None else recipe["tasks"][task] | {"evaluate": recipe.get("evaluate")}
    return found


def _pair(
    folders: Sequence[RunDir],
    sections: Sequence[Mapping[str, Any]],
    environments: Sequence[Mapping[str, Any]],
    name: str | None,
) -> Paired:
    """Raises _Unlike."""
    if sections[0].get("task") != sections[1].get("task"):
        raise _Unlike("the tasks differ, and so what their scores mean")
    for folder in folders:
        for file in (folder.predictions_of(name), folder.counts_of(name)):
            if not file.is_file():
                raise _Unlike(f"{folder.path} keeps no {file.name}, so that its rows cannot be paired")
    _same_file(environments, sections, name)
    answers = [list(read_json_lines(folder.predictions_of(name))) for folder in folders]
    asked = [[(one["row"], one["expected"]) for one in of] for of in answers]
    if asked[0] != asked[1]:
        raise _Unlike(f"the test rows are not the same ones ({len(asked[0])} and {len(asked[1])})")
    task: Task = TASKS.make(dict(sections[0]["task"]))
    counts: list[Array] = [np.array(json.loads(folder.counts_of(name).read_bytes())) for folder in folders]
    evaluate = sections[0].get("evaluate") or {}
    level = float(evaluate.get("level", 0.95))
    low, high = difference_interval(task, [counts[1]], [counts[0]], level=level)
    scores = [float(task.metric_of(of.sum(axis=0))) for of in counts]
    differ = sum(a["predicted"] != b["predicted"] for a, b in zip(*answers, strict=True))
    metric = task.metric if name is None else f"{name}.{task.metric}"
    return Paired(metric, len(asked[0]), differ, scores[1] - scores[0], low, high, level)


def _same_file(
    environments: Sequence[Mapping[str, Any]], sections: Sequence[Mapping[str, Any]], name: str | None
) -> None:
    """Raises _Unlike where the test rows came from different files."""
    files = []
    for environment, section in zip(environments, sections, strict=True):
        data = environment.get("data", {}) if name is None else environment["tasks"][name].get("data", {})
        files.append(data.get("test") if section.get("data", {}).get("test") else data.get("train"))
    if files[0] != files[1]:
        raise _Unlike("the files that test rows come from differ")
