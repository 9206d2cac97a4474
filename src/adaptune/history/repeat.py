"""A run carried out once more, and how far what came of it is the same. Decides nothing about data and versions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adaptune.bundle.manifest import WEIGHTS
from adaptune.bundle.weights import read_tensors
from adaptune.core.environment import environment
from adaptune.core.log import notice, warn
from adaptune.core.run_folder import RunDir, read_json_lines
from adaptune.history.original import Original, warnings_of
from adaptune.recipe import MultiTask
from adaptune.run import cook, cook_tasks


@dataclass(frozen=True, slots=True)
class Score:
    """A score twice."""

    name: str
    """`test.accuracy`."""
    first: float
    second: float | None

    @property
    def gap(self) -> float:
        """Infinite where the repeated run has no such score."""
        return float("inf") if self.second is None else abs(self.second - self.first)


@dataclass(frozen=True, slots=True)
class Answers:
    """The predictions of both for the test rows of one task."""

    rows: int
    differ: int
    """Rows with another answer."""
    probability: float
    """The largest difference of a probability among the others."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of both bundles."""

    identical: bool
    """Bit for bit."""
    largest: float
    """Difference of two numbers; infinite where names or shapes are others."""
    tensor: str | None
    """Where that is."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """What came of repeating one run."""

    task: str | None
    first: Path
    second: Path
    scores: tuple[Score, ...]
    answers: tuple[Answers, ...]
    """Of each task; none where predictions were not kept."""
    weights: Weights | None
    """None where the first run's bundle is no longer there."""

    @property
    def gap(self) -> float:
        """The largest difference of a score."""
        return max((score.gap for score in self.scores), default=0.0)

    def reproduces(self, within: float) -> bool:
        """Whether all scores are that near; of equal scores also every answer has to be the same."""
        return self.gap <= within and (within > 0 or not any(one.differ for one in self.answers))

    def record(self, within: float) -> dict[str, Any]:
        """As JSON, where an infinite difference is null."""
        found = asdict(self) | {"first": str(self.first), "second": str(self.second)}
        if self.weights is not None and self.weights.largest == float("inf"):
            found["weights"]["largest"] = None
        return found | {"reproduces": self.reproduces(within)}


def repeat(found: Original) -> list[Repeated]:
    """Carry out the run once more, with as many threads, and compare each of its runs. Raises AdaptuneError."""
    _same_threads(found)
    for text in warnings_of(found, environment()):
        warn(text)
    if isinstance(found.recipe, MultiTask):
        assert isinstance(found.prepared, dict), "the data of several tasks"
        cook_tasks(found.recipe, prepared=found.prepared)
    else:
        assert not isinstance(found.prepared, dict), "the data of one task"
        cook(found.recipe, prepared=found.prepared)
    second = found.recipe.out
    return [compared(folder, second if task is None else second / task, task) for task, folder in found.runs.items()]


def compared(first: Path, second: Path, task: str | None = None) -> Repeated:
    """Two finished runs of one recipe."""
    folders = RunDir(first), RunDir(second)
    reports = [json.loads(folder.report.read_bytes()) for folder in folders]
    then, now = (dict(_scores(report)) for report in reports)
    names: list[str | None] = list(reports[0]["tasks"]) if "tasks" in reports[0] else [None]
    scores = tuple(Score(name, score, now.get(name)) for name, score in then.items())
    answers = tuple(one for name in names if (one := _answers(*(of.predictions_of(name) for of in folders))))
    return Repeated(task, first, second, scores, answers, _weights(*(of.bundle / WEIGHTS for of in folders)))


def _same_threads(found: Original) -> None:
    """How many threads share a sum decides how it is rounded."""
    threads = found.environment.get("threads")
    if threads is not None and threads != torch.get_num_threads():
        notice(f"{threads} threads, as in the run")
        torch.set_num_threads(threads)


def _scores(report: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for part in ("test", "valid"):
        for metric, score in report.get(part, {}).items():
            yield f"{part}.{metric}", score
    for name, task in report.get("tasks", {}).items():
        for metric, score in _scores(task):
            yield f"{name}.{metric}", score


def _answers(first: Path, second: Path) -> Answers | None:
    if not (first.is_file() and second.is_file()):
        return None
    then, now = list(read_json_lines(first)), list(read_json_lines(second))
    differ = abs(len(then) - len(now))
    largest = 0.0
    for one, other in zip(then, now, strict=False):
        if one["predicted"] != other["predicted"] or one["row"] != other["row"]:
            differ += 1
        elif one["probability"] is not None and other["probability"] is not None:
            largest = max(largest, abs(one["probability"] - other["probability"]))
    return Answers(len(then), differ, largest)


def _weights(first: Path, second: Path) -> Weights | None:
    if not first.is_file():
        return None
    then, now = read_tensors(first), read_tensors(second)
    unlike = [name for name in sorted(then.keys() | now.keys()) if _shape(then, name) != _shape(now, name)]
    if unlike:
        return Weights(False, float("inf"), unlike[0])
    gaps = {name: _gap(tensor, now[name]) for name, tensor in then.items()}
    worst = max(gaps, key=lambda name: gaps[name], default=None)
    if all(torch.equal(tensor, now[name]) for name, tensor in then.items()):
        return Weights(True, 0.0, None)
    return Weights(False, gaps[str(worst)], worst)


def _shape(tensors: Mapping[str, Tensor], name: str) -> Any:
    return (tensors[name].shape, tensors[name].dtype) if name in tensors else None


def _gap(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).abs().max()) if one.numel() else 0.0
