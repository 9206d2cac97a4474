"""One run's folder: every file name in it, what state it is in, and how it is written. Knows no content."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Literal, Protocol

from adaptune.core.at_work import AtWork
from adaptune.core.errors import AdaptuneError, Interrupted
from adaptune.core.files import (
    json_line,
    recover,
    replacing_folder,
    stands,
    write_atomically,
    write_json,
    write_json_lines,
)

State = Literal["empty", "unfinished", "finished"]
PATIENCE = 1.0
"""Seconds to wait for a folder's lock: who only looks whether it is held holds it for less."""


class Listener(Protocol):
    """Who hears what a run's folder is told."""

    def step(self, record: Mapping[str, Any]) -> None: ...

    def scores(self, record: Mapping[str, Any]) -> None: ...

    def report(self, report: Mapping[str, Any]) -> None: ...


class RunDir:
    """The folder of one run. Only the main process writes; in the others every writing verb does nothing."""

    def __init__(self, path: Path | str, *, main: bool = True) -> None:
        self.path = Path(path)
        self.main = main
        self.listeners: list[Listener] = []
        self._own = False
        """Whether this object holds the lock."""
        self.environment = self.path / "environment.json"
        """Versions, machine, data fingerprints, seed. Written first: its presence makes a folder a run's."""
        self.recipe = self.path / "recipe.yaml"
        """The recipe as resolved."""
        self.brief = self.path / "run.json"
        """In a few lines what the run is of, since when, and what it came to: what lists of runs are made from."""
        self.failure = self.path / "failure.json"
        """The error that ended the run, if one did."""
        self.lock = self.path / ".lock"
        """Locked by the process that is at the run."""
        self.steps = self.path / "steps.jsonl"
        """One line an optimizer step."""
        self.scores = self.path / "scores.jsonl"
        """One line an evaluation."""
        self.rejected = self.path / "rejected.jsonl"
        """Rows that were skipped, with reasons."""
        self.predictions = self.path / "predictions.jsonl"
        """One line a test row."""
        self.counts = self.path / "counts.json"
        """Of every test row the counts behind the task's metric: what intervals of a difference to other runs need."""
        self.process = self.path / "process.json"
        """Which process is at work here; gone with it, or naming one that no longer runs."""
        self.errors = self.path / "errors.jsonl"
        """The test rows that were answered worst, with their texts."""
        self.checkpoint = self.path / "checkpoint"
        """A folder: all that an exact resume needs."""
        self.bundle = self.path / "bundle"
        """A folder: the adapter."""
        self.tracking = self.path / "tracking"
        """A folder: what trackers keep beside the run."""
        self.report = self.path / "report.json"
        """Written last: its presence makes a run finished."""
        self.page = self.path / "report.html"
        """What all this says, for people; made from the other files at any time."""

    @property
    def state(self) -> State:
        """What a new run would find here; a run that stopped before its first checkpoint left nothing to go on from."""
        if self.report.exists():
            return "finished"
        return "unfinished" if stands(self.checkpoint) else "empty"

    @property
    def at_work(self) -> AtWork | None:
        """The process that is at work in it now, on this machine."""
        return AtWork.read(self.process)

    @property
    def running(self) -> bool:
        """Whether a process is at this run, on this machine or on one that shares the folder's locks."""
        try:
            file = self.lock.open("rb")
        except OSError:
            return False
        with file:
            return not _locked(file, fcntl.LOCK_SH)

    @contextmanager
    def under_way(self, about: Mapping[str, Any]) -> Iterator[None]:
        """Within, the run is seen to be running and no other process can begin it; `about`: what it is of, in brief.

        An error that ends the block is kept as the run's failure. Raises AdaptuneError where another process is at it.
        """
        if not self.main:
            yield
            return
        with self.held():
            self.failure.unlink(missing_ok=True)
            write_json(self.brief, {"begun": _now()} | self.in_brief() | dict(about))
            try:
                yield
            except Interrupted:
                raise
            except Exception as error:
                with suppress(OSError):  # the error counts, and a full disk may be it
                    write_json(self.failure, {"error": f"{type(error).__name__}: {error}", "at": _now()})
                raise

    def in_brief(self) -> dict[str, Any]:
        """What the run is of and came to; empty where nothing is known."""
        return read_record(self.brief)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, no other process can be at the run. Raises AdaptuneError where one is."""
        with self.lock.open("ab") as file:
            patience = time.monotonic() + PATIENCE
            while not _locked(file, fcntl.LOCK_EX):
                if time.monotonic() > patience:
                    raise self._is_running()
                time.sleep(PATIENCE / 50)
            self._own = True
            AtWork.here().write(self.process)
            try:
                yield
            finally:
                self._own = False
                self.process.unlink(missing_ok=True)

    def _refuse_running(self) -> None:
        if not self._own and self.running:
            raise self._is_running()

    def _is_running(self) -> AdaptuneError:
        who = f"process {self.at_work.pid}" if self.at_work else "a process"
        return AdaptuneError(f"{who} is at the run in {self.path}; wait for its end, or name another folder")

    def begin(self, recipe: str, environment: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Make the folder, with the recipe and the environment in it.

        Raises AdaptuneError for a finished or unfinished run unless told to overwrite it, for one that another process
        is at work in, and for a folder that holds other files: of those nothing is ever overwritten.
        """
        if not self.main:
            return
        self._refuse_other_files()
        self._refuse_running()
        recover(self.checkpoint)
        if not overwrite:
            self._refuse_earlier_run()
        self._clear()
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.environment, environment)
        write_atomically(self.recipe, recipe)

    def go_on(self, step: int | None = None) -> None:
        """Prepare an unfinished run to go on: drops a half-written last line, and what was logged after `step`.

        Raises AdaptuneError where there is no checkpoint to go on from, or another process is at work.
        """
        if not self.main:
            return
        self._refuse_running()
        recover(self.checkpoint)
        if self.state == "finished":
            raise AdaptuneError(f"the run in {self.path} is finished ({self.report.name} is there): nothing to resume")
        if self.state == "empty":
            raise AdaptuneError(
                f"{self.path} holds no {self.checkpoint.name}/ to resume from; start it without --resume"
            )
        for log in (self.steps, self.scores):
            if log.exists():
                _keep(log, lambda record: step is None or record.get("step", 0) <= step)

    def log_step(self, record: Mapping[str, Any]) -> None:
        """Append one line to the steps."""
        self._append(self.steps, record)
        for listener in self.listeners:
            listener.step(record)

    def log_scores(self, record: Mapping[str, Any]) -> None:
        """Append one line to the scores."""
        self._append(self.scores, record)
        for listener in self.listeners:
            listener.scores(record)

    def write_rejected(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Replace the list of rejected rows."""
        if self.main:
            write_json_lines(self.rejected, records)

    def write_predictions(self, records: Iterable[Mapping[str, Any]], task: str | None = None) -> None:
        """Replace the predictions; any number of records. Those of one of several tasks have a file of their own."""
        if self.main:
            write_json_lines(self.predictions_of(task), records)

    def write_counts(self, counts: list[list[int]], task: str | None = None) -> None:
        """Replace the counts of the test rows, (R, K). Those of one of several tasks have a file of their own."""
        if self.main:
            write_atomically(self.counts_of(task), json.dumps(counts) + "\n")

    def write_errors(self, records: Iterable[Mapping[str, Any]], task: str | None = None) -> None:
        """Replace the worst rows; those of one of several tasks have a file of their own."""
        if self.main:
            write_json_lines(self.errors_of(task), records)

    def predictions_of(self, task: str | None) -> Path:
        """One line a test row of a task: predictions.NAME.jsonl."""
        return self.predictions if task is None else self.path / f"predictions.{task}.jsonl"

    def errors_of(self, task: str | None) -> Path:
        """The worst rows of a task: errors.NAME.jsonl."""
        return self.errors if task is None else self.path / f"errors.{task}.jsonl"

    def counts_of(self, task: str | None) -> Path:
        """The counts of a task's test rows: counts.NAME.json."""
        return self.counts if task is None else self.path / f"counts.{task}.json"

    def write_report(self, report: Mapping[str, Any], came_to: Mapping[str, Any] | None = None) -> None:
        """Write the report, and in brief what the run came to: it is finished, and its checkpoint no longer needed."""
        if self.main:
            if came_to is not None:
                write_json(self.brief, self.in_brief() | dict(came_to) | {"ended": _now()})
            write_json(self.report, report)
            for listener in self.listeners:
                listener.report(report)
            shutil.rmtree(self.checkpoint, ignore_errors=True)

    def new_checkpoint(self) -> AbstractContextManager[Path]:
        """An empty folder to fill; it becomes the checkpoint when the block ends well."""
        return self._new(self.checkpoint)

    def new_bundle(self) -> AbstractContextManager[Path]:
        """An empty folder to fill; it becomes the bundle when the block ends well."""
        return self._new(self.bundle)

    @contextmanager
    def _new(self, path: Path) -> Iterator[Path]:
        with replacing_folder(path) if self.main else TemporaryDirectory() as folder:
            yield Path(folder)

    def _append(self, log: Path, record: Mapping[str, Any]) -> None:
        if self.main:
            with log.open("ab", buffering=0) as file:
                file.write(json_line(record))

    def _refuse_other_files(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise AdaptuneError(f"out: {self.path} is a file; name a folder for the run")
        names = sorted(file.name for file in self.path.iterdir())
        if names and self.environment.name not in names:
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            raise AdaptuneError(f"out: {self.path} holds other files ({shown}) and no run; name a new or empty folder")

    def _refuse_earlier_run(self) -> None:
        if self.state == "finished":
            raise AdaptuneError(
                f"{self.path} holds a finished run ({self.report.name}); name another folder with out=FOLDER, "
                f"or replace the run with --overwrite"
            )
        if self.state == "unfinished":
            raise AdaptuneError(
                f"{self.path} holds an unfinished run ({self.checkpoint.name}/); continue it with --resume, "
                f"or start anew with --overwrite"
            )

    def _clear(self) -> None:
        """Remove what a run writes, its environment last, so that a folder half cleared is still known as a run's."""
        for folder in (self.checkpoint, self.bundle, self.tracking):
            shutil.rmtree(folder, ignore_errors=True)
        for file in self.files():
            file.unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """Every file that a run may have beside its folders, in the order in which they are removed."""
        of_tasks = ("predictions.*.jsonl", "errors.*.jsonl", "counts.*.json")
        several = [file for pattern in of_tasks for file in self.path.glob(pattern)]
        found = (self.report, self.page, self.predictions, self.errors, self.counts, *several)
        logs = (self.rejected, self.scores, self.steps, self.process)
        return [*found, *logs, self.brief, self.failure, self.recipe, self.environment]


def read_record(file: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none that can be read."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file that RunDir wrote; a last line without its line end is half-written and left out."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


def _locked(file: IO[bytes], how: int) -> bool:
    """Whether the file could be locked; one on a system without locks counts as such."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _keep(log: Path, wanted: Callable[[dict[str, Any]], bool]) -> None:
    write_json_lines(log, [record for record in read_json_lines(log) if wanted(record)])
