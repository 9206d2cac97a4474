"""What was noticed about a run's rows, as text and as JSON. Knows no checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
"""Worst first."""
SHOWN = 5
"""Rows and labels that a finding names."""
LISTED = 10_000
"""Rows that a finding holds the names of; of more it knows how many they are."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was noticed."""

    level: Level
    text: str
    """What is wrong, and what to do."""
    rows: tuple[str, ...] = ()
    """Every row concerned, as messages name it."""
    unnamed: int = 0
    """How many rows are concerned beside these, where they are too many to be named."""

    def __str__(self) -> str:
        count = len(self.rows) + self.unnamed
        more = f" and {count - SHOWN:,} more" if count > SHOWN else ""
        return self.text + (f" [{_listed(self.rows[:SHOWN])}{more}]" if self.rows else "")

    def record(self) -> dict[str, Any]:
        """As JSON holds it."""
        unnamed = {"unnamed_rows": self.unnamed} if self.unnamed else {}
        return {"level": self.level, "text": self.text, "rows": list(self.rows)} | unnamed


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was noticed, worst first, and how many items each class has."""

    all: tuple[Finding, ...]
    rows: Mapping[str, int]
    """Rows of each part."""
    counts: Mapping[str, Mapping[str, int]]
    """Part -> class -> labelled items, the most frequent first; of tagged words, the spans of each type."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What training must not start with."""
        return tuple(finding for finding in self.all if finding.level == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What is probably not as it should be."""
        return tuple(finding for finding in self.all if finding.level == "warning")

    def plus(self, more: Sequence[Finding]) -> Findings:
        """These findings and others, worst first."""
        return replace(self, all=tuple(sorted([*self.all, *more], key=lambda finding: LEVELS.index(finding.level))))

    def record(self) -> dict[str, Any]:
        """As JSON holds it."""
        found = [finding.record() for finding in self.all]
        return {
            "rows": dict(self.rows),
            "counts": {part: dict(of) for part, of in self.counts.items()},
            "findings": found,
        }

    def __str__(self) -> str:
        lines = ["rows: " + ", ".join(f"{part} {count:,}" for part, count in self.rows.items())]
        lines += _table(self.counts)
        lines += [f"{finding.level}: {finding}" for finding in self.all] or ["nothing to remark"]
        return "\n".join(lines)


def _listed(rows: Sequence[str]) -> str:
    """Rows with the name of their file once, where it is the same for all."""
    file, _, _ = rows[0].partition(", row ")
    start = f"{file}, row "
    if len(rows) == 1 or not all(row.startswith(start) for row in rows):
        return "; ".join(rows)
    return f"{file}, rows " + ", ".join(row.removeprefix(start) for row in rows)


def _table(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Class counts as lines of plain text, a column a part."""
    names = list(dict.fromkeys(name for of in counts.values() for name in of))
    if not names:
        return []
    width = max(len("class"), *(len(name) for name in names))
    lines = ["  ".join(["class".ljust(width), *(part.rjust(7) for part in counts)])]
    for name in names:
        lines.append("  ".join([name.ljust(width), *(f"{of.get(name, 0):,}".rjust(7) for of in counts.values())]))
    return lines
