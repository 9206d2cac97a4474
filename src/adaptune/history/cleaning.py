"""What of finished and old runs can go, and how many bytes that frees. Follows no link, and spares bundles."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adaptune.core.errors import AdaptuneError
from adaptune.core.run_folder import RunDir
from adaptune.history.found import Found, find

UNENDED = ("interrupted", "failed", "stopped")


@dataclass(frozen=True, slots=True)
class Removal:
    """Files and folders of one run that can go."""

    run: Path
    what: str
    paths: tuple[Path, ...]
    bytes: int


def removals(folder: Path, *, older: timedelta | None = None, bundles: bool = False) -> list[Removal]:
    """What can go below a folder; nothing of a run that a process is at.

    Of finished runs their checkpoints and what half-written ones left. `older`: also the whole of runs that were
    interrupted, failed or stopped, and in which nothing was written for so long. `bundles`: of both also bundles, of
    finished ones those older than that. Raises AdaptuneError where the folder holds no run.
    """
    runs = find(folder)
    if not runs:
        raise AdaptuneError(f"{folder} holds no run; name the folder of a run, or one that holds some")
    before = None if older is None else datetime.now(UTC) - older
    found: list[Removal] = []
    for run in runs:
        if run.kind not in ("run", "tasks") or run.state == "running":
            continue
        old = before is not None and _last_written(run) < before
        if run.state == "finished":
            found += _of_finished(run, bundles=bundles and (older is None or old))
        elif old and run.state in UNENDED and run.kind == "run":
            found += _of_unended(run, bundles=bundles)
    return found


def remove(removal: Removal) -> int:
    """Remove it and return how many bytes that freed. Raises AdaptuneError where a process began with the run."""
    folder = RunDir(removal.run)
    with folder.held():
        for path in removal.paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    if not folder.environment.exists():
        folder.lock.unlink(missing_ok=True)
        if not any(removal.run.iterdir()):
            removal.run.rmdir()
    return removal.bytes


def _of_finished(run: Found, *, bundles: bool) -> Iterator[Removal]:
    folder = RunDir(run.path)
    yield from _removal(run, "checkpoint of a finished run", [folder.checkpoint, *_left(folder)])
    if bundles:
        yield from _removal(run, "bundle", [folder.bundle])


def _of_unended(run: Found, *, bundles: bool) -> Iterator[Removal]:
    folder = RunDir(run.path)
    kept = folder.bundle.exists() and not bundles
    paths = [folder.checkpoint, *_left(folder), folder.tracking, *([folder.bundle] if bundles else [])]
    # A bundle that stays keeps the files that say what it is of.
    paths += [] if kept else folder.files()
    yield from _removal(run, f"{run.state} run", paths)


def _left(folder: RunDir) -> list[Path]:
    """What processes that were killed left beside checkpoint and bundle."""
    found = [*folder.path.glob(".checkpoint.*"), *folder.path.glob(".bundle.*.part")]
    return found + (list(folder.path.glob(".bundle.old")) if folder.bundle.exists() else [])


def _removal(run: Found, what: str, paths: Sequence[Path]) -> Iterator[Removal]:
    """A link is left where it is: what it points to may be another's."""
    there = tuple(path for path in paths if path.exists() and not path.is_symlink())
    if there:
        yield Removal(run.path, what, there, sum(map(_bytes, there)))


def _bytes(path: Path) -> int:
    if not path.is_dir():
        return path.lstat().st_size
    return sum((Path(above) / name).lstat().st_size for above, _, names in os.walk(path) for name in names)


def _last_written(run: Found) -> datetime:
    folder = RunDir(run.path)
    there = [path for path in (folder.checkpoint, *folder.files()) if path.exists()]
    return datetime.fromtimestamp(max(path.stat().st_mtime for path in there), UTC)
