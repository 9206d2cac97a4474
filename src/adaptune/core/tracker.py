"""The abstract tracker: where a run is shown beside its folder. Knows no run and no metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from adaptune.core.config import Part

Ending = Literal["finished", "paused", "interrupted", "failed"]
"""paused: by a comparison, which may go on with it."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """The run that a tracker is told of."""

    name: str
    group: str | None
    """What it belongs to: a comparison, or a run of several tasks."""
    files: Path
    """A folder of the run's own in which a tracker may keep files."""
    settings: Mapping[str, Any]
    """Its recipe, section by section."""
    known: str | None = None
    """What the tracker called this run when it was begun; None: it is new to it."""
    step: int = 0
    """The optimizer step from which it goes on."""


class Log(ABC):
    """A run that a tracker has opened."""

    key: str | None = None
    """What the tracker calls the run, by which one that goes on is found again."""

    @abstractmethod
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note values, such as `train/loss`, after an optimizer step."""

    @abstractmethod
    def end(self, how: Ending) -> None:
        """Write what is left, and close."""


class Tracker(Part, ABC):
    """Where a run is shown beside its folder."""

    extra: ClassVar[str]
    """What pip installs for it: `adaptune[EXTRA]`."""
    run: str | None = None
    """What the run is called there; none: as its folder is."""
    group: str | None = None
    """What it is shown together with; none: the comparison, or the run of several tasks, that it belongs to."""

    @abstractmethod
    def open(self, tracked: Tracked) -> Log:
        """Begin a run, or go on with one. Raises MissingExtra where the library is not installed."""


def grouped(trackers: Iterable[Tracker], run: str, group: str) -> tuple[Tracker, ...]:
    """Trackers of a run that belongs to a group, whose names the recipe does not say."""
    return tuple(one.model_copy(update={"run": one.run or run, "group": one.group or group}) for one in trackers)


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings by their paths: `method.rank`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, Mapping) and value else {f"{above}{key}": value}
    return found
