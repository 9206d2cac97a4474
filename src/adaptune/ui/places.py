"""Which files a request may name: runs below one folder, recipes there and where the command runs. Nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from adaptune.core.errors import AdaptuneError
from adaptune.core.run_folder import RunDir
from adaptune.ui.summary import is_run

OWN = ".adaptune"
"""The page's own folder below that of the runs: what it started, with which recipes, and what these said."""
RECIPES = (".yaml", ".yml")
MOST_BYTES = 2**18
"""Of a recipe file."""
_NAME = re.compile(r"\w[\w.-]{0,99}(/\w[\w.-]{0,99}){0,3}")


class NotThere(AdaptuneError):
    """There is no such run or file where the page may look."""


class Places:
    """The folder of runs, and the folder in which the command runs."""

    def __init__(self, runs: Path, here: Path) -> None:
        self.runs, self.here = runs.resolve(), here.resolve()

    @property
    def own(self) -> Path:
        """The page's own folder."""
        return self.runs / OWN

    def name_of(self, path: Path) -> str:
        """By which a run is asked for: its path below the folder; of the folder itself a dot."""
        return path.resolve().relative_to(self.runs).as_posix()

    def run(self, name: str) -> Path:
        """The folder of a run. Raises NotThere."""
        found = _below(self.runs, name)
        if found is None or not is_run(found):
            raise NotThere(f"there is no run {name[:100]!r} below the folder of runs")
        return found

    def new_run(self, name: str) -> Path:
        """The folder of a run that may be yet to come. Raises AdaptuneError."""
        if not _NAME.fullmatch(name) or {"bundle", "checkpoint"} & set(PurePosixPath(name).parts):
            raise AdaptuneError(
                f"{name[:100]!r} cannot be a run's name; use letters, digits, - and _, and / for folders"
            )
        found = _below(self.runs, name)
        if found is None:
            raise NotThere(f"{name!r} leads out of the folder of runs")
        return found

    def own_out(self, out: Path) -> Path:
        """A run folder that a recipe names, which must be one that the page shows. Raises AdaptuneError."""
        found = (self.here / out).resolve()
        if found == self.runs or not found.is_relative_to(self.runs) or self.own in (found, *found.parents):
            raise AdaptuneError(
                f"out is {str(out)!r}, which is not below the folder of runs {str(self.runs)!r}; leave it out, or "
                "start the run by `adaptune train`"
            )
        return found

    def recipes(self) -> Iterator[Path]:
        """The recipe files beside the runs and where the command runs."""
        folders = dict.fromkeys((self.here, self.here / "recipes", self.runs))
        for folder in folders:
            if folder.is_dir() and folder.resolve().is_relative_to(self.here if folder != self.runs else self.runs):
                yield from sorted(file for file in folder.iterdir() if file.suffix in RECIPES and file.is_file())

    def recipe(self, name: str) -> str:
        """The text of one of them, by its path as `shown` has it. Raises NotThere."""
        for file in self.recipes():
            if self.shown(file) == name and file.resolve().is_relative_to(file.parent.resolve()):
                return _text(file)
        raise NotThere(f"there is no recipe {name[:100]!r} beside the runs or where the command runs")

    def shown(self, file: Path) -> str:
        """A path for people: from where the command runs, if it lies below."""
        return file.relative_to(self.here).as_posix() if file.is_relative_to(self.here) else str(file)

    def recipe_of_run(self, name: str) -> str:
        """The text of a run's recipe. Raises NotThere."""
        return _text(RunDir(self.run(name)).recipe)


def _text(file: Path) -> str:
    if file.stat().st_size > MOST_BYTES:
        raise NotThere(f"{file.name} is larger than {MOST_BYTES} bytes, which no recipe is")
    return file.read_text(encoding="utf-8", errors="replace")


def _below(root: Path, name: str) -> Path | None:
    """A path that a request names, below the root; None for any other place."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") for part in path.parts)
    if not name or len(name) > 1000 or "\0" in name or "\\" in name or path.is_absolute() or hidden:
        return None
    try:
        found = (root / path).resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    return found if found.is_relative_to(root) else None
