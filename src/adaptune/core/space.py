"""What a search may vary of a part's settings: values to choose from, or numbers between two. Knows no search."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Among:
    """One of several values."""

    values: tuple[str | int | float | bool, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """A number between two, both included; evenly on a logarithmic scale."""

    low: float
    high: float


Values = Among | Between
