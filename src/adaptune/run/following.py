"""What a run's folder is told goes to trackers, too: each in a thread of its own, so that training never waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

import yaml

from adaptune.core.errors import Interrupted
from adaptune.core.files import write_json
from adaptune.core.log import warn
from adaptune.core.run_folder import RunDir, read_record
from adaptune.core.tracker import Ending, Log, Tracked, Tracker
from adaptune.recipe import MultiTask, Recipe

PATIENCE = 60.0
"""Seconds at the end of a run for a tracker to take what it has not taken yet."""
ABOUT_STEPS = ("epoch", "loss", "learning_rate", "norm", "tokens")
KNOWN = "known.json"
"""In the folder of trackers: what each calls the run."""

Event = Callable[[Log], None]


@contextmanager
def tracking(recipe: Recipe | MultiTask, folder: RunDir) -> Iterator[None]:
    """Within, the trackers of a recipe hear what its run folder is told. Whatever fails with one is a warning."""
    if not recipe.track or not folder.main:
        yield
        return
    notes = _Notes(folder.tracking)
    settings = yaml.safe_load(recipe.model_copy(update={"track": ()}).as_yaml())
    followers = []
    for tracker in recipe.track:
        name = tracker.run or folder.path.name
        known = notes.of(tracker.name)
        tracked = Tracked(name, tracker.group, folder.tracking, settings, known)
        followers.append(Follower(tracker, tracked, notes))
    how: Ending = "failed"
    try:
        folder.listeners += followers
        yield
        how = "finished" if folder.state == "finished" else "paused"
    except (Interrupted, KeyboardInterrupt):
        how = "interrupted"
        raise
    finally:
        folder.listeners = [one for one in folder.listeners if one not in followers]
        for follower in followers:
            follower.close(how)


class Follower:
    """One tracker, opened with the first event. Its first error is a warning and ends it, and the run goes on."""

    def __init__(self, tracker: Tracker, tracked: Tracked, notes: _Notes) -> None:
        self._tracker, self._tracked, self._notes = tracker, tracked, notes
        self._step = 0
        self._events: SimpleQueue[Event | None] = SimpleQueue()
        self._over = False
        self._thread: Thread | None = None

    def step(self, record: Mapping[str, Any]) -> None:
        """One line of steps.jsonl."""
        if "approach" in record:
            self._begin(0)
            self._put(record["number"], {"approach/loss": record["loss"]})
            return
        self._step = record["step"]
        self._begin(self._step - 1)
        self._put(self._step, {f"train/{name}": record[name] for name in ABOUT_STEPS if record[name] is not None})

    def scores(self, record: Mapping[str, Any]) -> None:
        """One line of scores.jsonl."""
        self._begin(record["step"])
        beside = ("step", "epoch", "seconds", "gained")
        self._put(record["step"], {f"valid/{name}": score for name, score in record.items() if name not in beside})

    def report(self, report: Mapping[str, Any]) -> None:
        """report.json: the scores of the best weights."""
        self._begin(self._step)
        best = {f"best/{name}": score for name, score in _scores(report, "valid").items()}
        step = report.get("training", {}).get("steps", self._step)
        self._put(step, best | {f"test/{name}": score for name, score in _scores(report, "test").items()})

    def close(self, how: Ending) -> None:
        """Wait for what has not been taken yet, but not for ever."""
        if self._thread is None:
            return
        self._send(lambda log: log.end(how))
        self._events.put(None)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self._over = True
            warn(
                f"track: {self._tracker.name} has not taken everything after {PATIENCE:g} s and is left alone; "
                "the run folder has it all"
            )

    def _begin(self, step: int) -> None:
        """`step`: the last one before this event, from which a run goes on that was stopped."""
        if self._thread is None:
            self._tracked = replace(self._tracked, step=step)
            self._thread = Thread(target=self._work, name=f"track {self._tracker.name}", daemon=True)
            self._thread.start()

    def _put(self, step: int, values: Mapping[str, float]) -> None:
        self._send(lambda log: log.log(step, values))

    def _send(self, event: Event) -> None:
        if not self._over:
            self._events.put(event)

    def _work(self) -> None:
        try:
            log = self._tracker.open(self._tracked)
            self._notes.keep(self._tracker.name, log.key)
            while not self._over and (event := self._events.get()) is not None:
                event(log)
        except Exception as error:  # whatever a tracker does, the run goes on
            if not self._over:
                self._over = True
                warn(f"track: {self._tracker.name} is told nothing more: {str(error).strip() or repr(error)}")


class _Notes:
    """What each tracker calls the run."""

    def __init__(self, folder: Path) -> None:
        self._file, self._lock = folder / KNOWN, Lock()
        self._known: dict[str, str] = read_record(self._file)

    def of(self, tracker: str) -> str | None:
        return self._known.get(tracker)

    def keep(self, tracker: str, key: str | None) -> None:
        if key is None:
            return
        with self._lock:
            self._known[tracker] = key
            self._file.parent.mkdir(exist_ok=True)
            write_json(self._file, self._known)


def _scores(report: Mapping[str, Any], part: str) -> dict[str, float]:
    found = dict(report.get(part, {}))
    for name, task in report.get("tasks", {}).items():
        found |= {f"{name}.{metric}": score for metric, score in task[part].items()}
    return found
