"""A label budget as values: what curve.json holds. Computes nothing.

`Budget.model_validate_json(path.read_text())` reads one back. Scores are those of the task's own metric; larger is
better.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adaptune.core.config import Config

FORMAT = 1

Status = Literal["scored", "failed", "out of time"]
Part = Literal["valid", "test"]


class Begun(Config):
    """plan.json, written before anything is trained: what the runs of a curve have in common."""

    fingerprint: str
    """Of recipe and data, with all training rows."""
    part: Part


class Interval(Config):
    """Both ends, at the level of the recipe."""

    low: float
    high: float


class Scored(Config):
    """One run on one draw of so many labelled rows."""

    shots: int | None
    """Of each label at most; None: all training rows."""
    draw: int
    status: Status
    labels: int
    """Labelled rows that it learned from."""
    score: float | None = None
    seconds: float | None = None
    """Of training."""
    folder: str
    """Its run folder, relative to the curve's."""
    error: str | None = None


class Point(Config):
    """All draws of one number of shots."""

    shots: int | None
    labels: float
    """Mean number of labelled rows."""
    draws: int
    """That were scored."""
    score: float | None
    """Their mean."""
    interval: Interval | None = None
    """Of the mean over draws, Student's t; None where fewer than two were scored."""
    seconds: float | None = None
    """Mean, of training."""
    why: str = ""
    """What stands against those that were not scored."""


class Law(Config):
    """score = ceiling - scale * labels ** -rate"""

    ceiling: float
    scale: float
    rate: float

    def at(self, labels: float) -> float:
        """The score that so many labels give."""
        return float(self.ceiling - self.scale * labels**-self.rate)


class Estimate(Config):
    """What more labels would bring, if the curve went on as it has come."""

    labels: int
    """Counted from these, the most that were scored."""
    more: int
    gain: float | None = None
    interval: Interval | None = None
    """Of the gain."""
    law: Law | None = None
    refused: str | None = None
    """Why nothing is estimated; the other values are then missing."""


class Budget(Config):
    """A whole curve."""

    format: int = FORMAT
    adaptune: str
    """The version that measured it."""
    task: str
    model: str
    method: str
    metric: str
    part: Part
    """Which rows were scored."""
    level: float
    """Of every interval."""
    rows: dict[str, int]
    """Of each part; train: all that there are."""
    budget: float
    """Seconds that were allowed."""
    seconds: float
    """Seconds that this command took; runs that were there cost none."""
    points: tuple[Point, ...]
    estimate: Estimate
    notes: tuple[str, ...] = ()
    """What was cut, and why."""
    runs: tuple[Scored, ...] = Field(default=())
