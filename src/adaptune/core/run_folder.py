"""One run's folder: every file name in it, what state it is in, and how it is written. Knows no content."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from weakref import finalize

from adaptune.core.at_work import AtWork, leave
from adaptune.core.errors import AdaptuneError
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


class RunDir:
    """The folder of one run. Only the main process writes; in the others every writing verb does nothing."""

    def __init__(self, path: Path | str, *, main: bool = True) -> None:
        self.path = Path(path)
        self.main = main
        self.environment = self.path / "environment.json"
        """Versions, machine, data fingerprints, seed. Written first: its presence makes a folder a run's."""
        self.recipe = self.path / "recipe.yaml"
        """The recipe as resolved."""
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

    def begin(self, recipe: str, environment: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Make the folder, with the recipe and the environment in it.

        Raises AdaptuneError for a finished or unfinished run unless told to overwrite it, for one that another process
        is at work in, and for a folder that holds other files: of those nothing is ever overwritten.
        """
        if not self.main:
            return
        self._refuse_other_files()
        self._refuse_other_process()
        recover(self.checkpoint)
        if not overwrite:
            self._refuse_earlier_run()
        self._clear()
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.environment, environment)
        write_atomically(self.recipe, recipe)
        self._enter()

    def go_on(self, step: int | None = None) -> None:
        """Prepare an unfinished run to go on: drops a half-written last line, and what was logged after `step`.

        Raises AdaptuneError where there is no checkpoint to go on from, or another process is at work.
        """
        if not self.main:
            return
        self._refuse_other_process()
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
        self._enter()

    def log_step(self, record: Mapping[str, Any]) -> None:
        """Append one line to the steps."""
        self._append(self.steps, record)

    def log_scores(self, record: Mapping[str, Any]) -> None:
        """Append one line to the scores."""
        self._append(self.scores, record)

    def write_rejected(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Replace the list of rejected rows."""
        if self.main:
            write_json_lines(self.rejected, records)

    def write_predictions(self, records: Iterable[Mapping[str, Any]], task: str | None = None) -> None:
        """Replace the predictions; any number of records. Those of one of several tasks have a file of their own."""
        if self.main:
            write_json_lines(self.predictions_of(task), records)

    def write_counts(self, counts: list[list[int]]) -> None:
        """Replace the counts of the test rows, (R, K)."""
        if self.main:
            write_atomically(self.counts, json.dumps(counts) + "\n")

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

    def write_report(self, report: Mapping[str, Any]) -> None:
        """Write the report: the run is finished, and its checkpoint no longer needed."""
        if self.main:
            write_json(self.report, report)
            self.process.unlink(missing_ok=True)
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

    def _enter(self) -> None:
        """Say that this process is at work, until the run is finished or nobody holds this object any more."""
        AtWork.here().write(self.process)
        finalize(self, leave, self.process, os.getpid())

    def _refuse_other_process(self) -> None:
        other = self.at_work
        if other is not None and other.pid != os.getpid():
            raise AdaptuneError(
                f"process {other.pid} is at work in {self.path}; wait for its end, or stop it, which saves what it "
                f"has learned: kill {other.pid}"
            )

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
        for folder in (self.checkpoint, self.bundle):
            shutil.rmtree(folder, ignore_errors=True)
        several = [*self.path.glob("predictions.*.jsonl"), *self.path.glob("errors.*.jsonl")]
        found = (self.report, self.page, self.predictions, self.errors, self.counts, *several)
        logs = (*found, self.rejected, self.scores, self.steps)
        for file in (*logs, self.process, self.recipe, self.environment):
            file.unlink(missing_ok=True)


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file that RunDir wrote; a last line without its line end is half-written and left out."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


def _keep(log: Path, wanted: Callable[[dict[str, Any]], bool]) -> None:
    write_json_lines(log, [record for record in read_json_lines(log) if wanted(record)])
