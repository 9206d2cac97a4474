"""What lies in the folder of a run or of a comparison, however far it came. Knows no words of the report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from adaptune.core.errors import AdaptuneError
from adaptune.core.run_folder import RunDir

Record = Mapping[str, Any]
Why = Literal["absent", "damaged", "large"]

COMPARISON, PLAN, RUNS = "comparison.json", "plan.json", "runs"
"""What a comparison's folder holds."""
MOST_BYTES = 64_000_000
"""Of a file of lines: with these a page takes a second or two."""


@dataclass(slots=True)
class Reader:
    """Reads files, each once, and remembers what it did not find."""

    missing: dict[str, Why] = field(default_factory=dict)
    """By the file's name."""
    _read: dict[Path, list[Record]] = field(default_factory=dict)

    def mapping(self, file: Path) -> Record:
        """A JSON object; empty where it is not there, or not whole."""
        content = self._content(file)
        if content is None:
            return {}
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            self.missing[file.name] = "damaged"
            return {}
        return found

    def lines(self, file: Path) -> list[Record]:
        """One JSON object a line; those that are not whole are left out, and so are files that take long to read."""
        if file not in self._read:
            large = file.is_file() and file.stat().st_size > MOST_BYTES
            content = None if large else self._content(file)
            self._read[file] = [] if content is None else list(self._records(file.name, content))
            if large:
                self.missing[file.name] = "large"
        return self._read[file]

    def text(self, file: Path) -> str:
        """The whole of it."""
        content = self._content(file)
        return "" if content is None else content.decode("utf-8", errors="replace")

    def _content(self, file: Path) -> bytes | None:
        try:
            return file.read_bytes()
        except OSError:
            self.missing[file.name] = "absent"
            return None

    def _records(self, name: str, content: bytes) -> Iterator[Record]:
        for line in content.splitlines():
            try:
                found = json.loads(line)
            except ValueError:
                found = None
            if isinstance(found, dict):
                yield found
            else:
                self.missing[name] = "damaged"


@dataclass(frozen=True)
class RunFiles:
    """One run, as far as it came."""

    folder: RunDir
    reader: Reader
    report: Record
    environment: Record
    recipe: str
    manifest: Record
    bundle_bytes: int | None

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.folder.path.resolve().name

    @cached_property
    def steps(self) -> list[Record]:
        """One record an optimizer step; those that an approach takes before training are left out."""
        return [one for one in self.reader.lines(self.folder.steps) if one.get("step") and "seconds" in one]

    @cached_property
    def scores(self) -> list[Record]:
        """One record an evaluation."""
        return [one for one in self.reader.lines(self.folder.scores) if "step" in one]

    @cached_property
    def counts(self) -> list[list[float]]:
        """A row a test row; empty where none were kept."""
        try:
            found: list[list[float]] = json.loads(self.folder.counts.read_bytes())
        except (OSError, ValueError):
            return []
        return found

    @cached_property
    def settings(self) -> Record:
        """The recipe as sections; empty where it cannot be read."""
        try:
            found = yaml.safe_load(self.recipe)
        except yaml.YAMLError:
            found = None
        if not isinstance(found, dict):
            if self.recipe:
                self.reader.missing[self.folder.recipe.name] = "damaged"
            return {}
        return found

    def predictions(self, task: str | None = None) -> list[Record]:
        """One record a test row."""
        return self.reader.lines(self.folder.predictions_of(task))

    def errors(self, task: str | None = None) -> list[Record]:
        """The worst test rows, with their texts."""
        return self.reader.lines(self.folder.errors_of(task))

    def section(self, name: str) -> Record:
        """Of the recipe; a part that is named alone is a section with a name."""
        found = self.settings.get(name)
        return found if isinstance(found, dict) else {"name": found} if isinstance(found, str) else {}


def read_run(path: Path) -> RunFiles:
    """A run's folder. Reads what is small; the rest is read when it is asked for."""
    folder, reader = RunDir(path), Reader()
    report = reader.mapping(folder.report)
    separate = report.get("adapters") == "separate"
    manifest = {} if separate else reader.mapping(folder.bundle / "manifest.json")
    if reader.missing.pop("manifest.json", None):
        reader.missing[f"{folder.bundle.name}/"] = "damaged" if folder.bundle.exists() else "absent"
    return RunFiles(
        folder=folder,
        reader=reader,
        report=report,
        environment=reader.mapping(folder.environment),
        recipe=reader.text(folder.recipe),
        manifest=manifest,
        bundle_bytes=_size(folder.bundle) if manifest else None,
    )


@dataclass(frozen=True)
class ComparisonFiles:
    """One comparison, as far as it came."""

    path: Path
    reader: Reader
    found: Record
    """comparison.json; empty where it did not come to its end."""
    plan: Record
    runs: Sequence[RunFiles]
    """In the order of their folders."""

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.path.resolve().name


def read_comparison(path: Path) -> ComparisonFiles:
    """A comparison's folder."""
    reader = Reader()
    runs = [read_run(file.parent) for file in sorted((path / RUNS).glob("*/*/environment.json"))]
    found, plan = reader.mapping(path / COMPARISON), reader.mapping(path / PLAN)
    return ComparisonFiles(path, reader, found, plan, runs)


def kind_of(path: Path) -> Literal["run", "comparison"]:
    """What a folder holds. Raises AdaptuneError."""
    if path.is_file():
        raise AdaptuneError(f"{path} is a file; name the folder of a run or of a comparison")
    if (path / COMPARISON).exists() or (path / PLAN).exists():
        return "comparison"
    run = RunDir(path)
    if any(file.exists() for file in (run.environment, run.report, run.recipe, run.steps, run.scores)):
        return "run"
    what = "no such folder" if not path.exists() else f"it has no {run.environment.name} and no {COMPARISON}"
    raise AdaptuneError(
        f"{path} holds neither a run nor a comparison: {what}; name a folder that `adaptune train` or "
        "`adaptune compare` wrote"
    )


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
