"""The runs below a folder, each from a few small files. Reads no weights, no predictions and no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml

from adaptune.core.errors import AdaptuneError
from adaptune.core.run_folder import RunDir, read_record

Kind = Literal["run", "tasks", "comparison", "search"]
State = Literal["finished", "running", "interrupted", "failed", "stopped", "unfinished"]
NOT_ENTERED = frozenset({"bundle", "checkpoint", "tracking"})
"""Folders of a run in which there are no runs."""
TAIL = 4096
"""Bytes at the end of a log that hold its last line."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Found:
    """One run, or a group of runs that were made together."""

    path: Path
    kind: Kind
    """run; tasks: separate adapters, each a run below it; comparison and search: what `compare` and `tune` made."""
    state: State
    """stopped: a comparison ended it early. unfinished: a group without a result, running or interrupted."""
    begun: datetime
    task: str = ""
    """Names with commas between them where there are several."""
    approach: str = ""
    method: str = ""
    model: str = ""
    seed: int | None = None
    metric: str | None = None
    valid: Mapping[str, float] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)
    interval: Mapping[str, Any] | None = None
    """Of the metric on test rows: level, low, high."""
    seconds: float | None = None
    steps: int | None = None
    """Optimizer steps done."""
    trained: int | None = None
    """Numbers that learned."""
    note: str = ""
    """What ended it, or what it came to, where scores do not say so."""
    group: Path | None = None
    """The folder of the group that it belongs to."""

    def record(self, below: Path) -> dict[str, Any]:
        """As JSON, its paths relative to a folder above."""
        names = [name for name in self.__slots__ if name not in ("path", "begun", "group")]
        return {
            "run": named(self.path, below),
            "group": None if self.group is None else named(self.group, below),
            "begun": self.begun.isoformat(timespec="seconds"),
        } | {name: getattr(self, name) for name in names}


def find(folder: Path) -> list[Found]:
    """Every run below a folder, or in it; a group stands before its runs. Links are not followed.

    Raises AdaptuneError where there is no such folder.
    """
    if not folder.is_dir():
        raise AdaptuneError(f"there is no folder {str(folder)!r}; name the one that holds your runs")
    return list(_below(folder, None, ended=False))


def found_at(path: Path) -> Found:
    """The run whose folder this is."""
    with os.scandir(path) as entries:
        names = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    return _run(path, names, None, ended=False)


def named(path: Path, below: Path) -> str:
    """A run's path from the folder that was searched; of that folder itself its own name."""
    return path.name or str(path) if path == below else path.relative_to(below).as_posix()


def recipe_of(path: Path) -> dict[str, Any]:
    """The sections of a run's recipe as they stand in its file; empty where it cannot be read."""
    try:
        found = yaml.load(RunDir(path).recipe.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _below(folder: Path, group: Path | None, *, ended: bool) -> Iterator[Found]:
    """`ended`: whether the group that the folder belongs to has come to its result."""
    try:
        with os.scandir(folder) as entries:
            names = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    except OSError:  # of another user, or removed meanwhile
        return
    if "environment.json" in names and "recipe.yaml" in names:
        run = _run(folder, names, group, ended=ended)
        yield run
        if run.kind == "tasks":
            group = folder
    elif "plan.json" in names and (plan := read_record(folder / "plan.json")):
        kind: Kind | None = "comparison" if "plan" in plan else "search" if "usual_rate" in plan else None
        if kind is not None:
            result = "comparison.json" if kind == "comparison" else "tuning.json"
            ended = result in names
            members = [one for name in _folders(names) for one in _below(folder / name, folder, ended=ended)]
            yield _group(folder, kind, read_record(folder / result) if ended else {}, members)
            yield from members
            return
    for name in _folders(names):
        yield from _below(folder / name, group, ended=ended)


def _folders(names: Mapping[str, bool]) -> list[str]:
    return sorted(name for name, is_folder in names.items() if is_folder and name not in NOT_ENTERED and name[0] != ".")


def _run(path: Path, names: Mapping[str, bool], group: Path | None, *, ended: bool) -> Found:
    folder = RunDir(path)
    said = (folder.in_brief() if "run.json" in names else {}) or _older(folder)
    state, note = _state(folder, names, ended=ended)
    steps = said.get("steps")
    if state != "finished":
        steps = _last_step(folder.steps) if "steps.jsonl" in names else None
    tasks = said.get("tasks")
    return Found(
        path,
        "tasks" if said.get("adapters") == "separate" else "run",
        state,
        _time(said.get("begun"), folder.environment),
        task=", ".join(tasks) if tasks else said.get("task", ""),
        approach=said.get("approach", ""),
        method=said.get("method", ""),
        model=said.get("model", ""),
        seed=said.get("seed"),
        metric=said.get("metric"),
        valid=said.get("valid", {}) if state == "finished" else {},
        test=said.get("test", {}) if state == "finished" else {},
        interval=said.get("interval") if state == "finished" else None,
        seconds=said.get("seconds") if state == "finished" else None,
        steps=steps,
        trained=said.get("trained"),
        note=note,
        group=group,
    )


def _state(folder: RunDir, names: Mapping[str, bool], *, ended: bool) -> tuple[State, str]:
    if "report.json" in names:
        return "finished", ""
    if ".lock" in names and folder.running:
        return "running", ""
    if "failure.json" in names:
        return "failed", str(read_record(folder.failure).get("error", "")).partition("\n")[0]
    if ended:
        return "stopped", ""
    return "interrupted", "" if folder.state == "unfinished" else "nothing saved"


def _older(folder: RunDir) -> dict[str, Any]:
    """What a run that keeps no run.json is of and came to."""
    recipe, report = recipe_of(folder.path), read_record(folder.report)
    found: dict[str, Any] = {
        key: recipe[key].get("name", "") for key in ("task", "approach", "method", "model") if key in recipe
    }
    found |= {key: report[key] for key in ("metric", "valid", "test", "interval") if key in report}
    if "tasks" in recipe:
        found |= {"tasks": list(recipe["tasks"]), "adapters": recipe.get("adapters")}
    if "training" in report:
        found |= {"steps": report["training"]["steps"], "trained": report["parameters"]["trained"]}
    seconds = report.get("seconds", {}).get("total")
    return found | {"seed": recipe.get("seed"), "seconds": seconds}


def _group(path: Path, kind: Kind, result: Mapping[str, Any], members: list[Found]) -> Found:
    running = any(member.state == "running" for member in members)
    plan = path / "plan.json"
    begun = min((member.begun for member in members), default=_time(None, plan))
    first = members[0] if members else None
    return Found(
        path,
        kind,
        "finished" if result else "running" if running else "unfinished",
        begun,
        task=result.get("task") or (first.task if first else ""),
        model=result.get("model") or (first.model if first else ""),
        metric=result.get("metric") or result.get("watched"),
        seconds=result.get("seconds"),
        note=_verdict(kind, result),
    )


def _verdict(kind: Kind, result: Mapping[str, Any]) -> str:
    if not result:
        return ""
    if kind == "search":
        best = result.get("best")
        said = "" if best is None else f", best {result.get('watched')} {best:.4f}"
        return f"{len(result.get('trials', ()))} trials{said}"
    verdict = result.get("verdict")
    return f"{len(result.get('candidates', ()))} candidates: use {verdict['use']}" if verdict else "no result"


def _time(text: str | None, file: Path) -> datetime:
    """As it was noted, else when a file was written."""
    if text is not None:
        return datetime.fromisoformat(text)
    return datetime.fromtimestamp(file.stat().st_mtime, UTC)


def _last_step(log: Path) -> int | None:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        lines = file.read().split(b"\n")
    whole = lines[:-1]  # what stands after the last line end is half-written
    try:
        return int(json.loads(whole[-1])["step"])
    except (IndexError, KeyError, ValueError):
        return None
