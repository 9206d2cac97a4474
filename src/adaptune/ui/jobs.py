"""Runs that the page starts: processes of their own, one at a time, in the order in which they were asked for.

A job is a file, so that what waits and what runs outlives the page and its server; what waits goes on with the next.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

import psutil

from adaptune.core.at_work import AtWork
from adaptune.core.config import Config
from adaptune.core.errors import AdaptuneError
from adaptune.core.files import write_atomically

EVERY = 0.3
"""Seconds between two looks at what runs."""
PATIENCE = 20.0
"""Seconds in which a process that has left its run ends."""
LOG_BYTES = 2**16
"""Of a log's end that are shown."""


class Job(Config):
    """One process that was asked for."""

    id: str
    run: str
    """The run's name: its path below the folder of runs."""
    recipe: Path
    out: Path
    resume: bool = False
    overwrite: bool = False
    asked: float
    """Seconds since 1970, as all times here."""
    process: AtWork | None = None
    """Once it was started."""
    ended: float | None = None
    code: int | None = None
    """The exit code; None also where it ended unseen."""

    @property
    def state(self) -> Literal["waiting", "running", "ended"]:
        if self.ended is not None:
            return "ended"
        return "waiting" if self.process is None else "running"


class Jobs:
    """The jobs of one folder, and the thread that carries them out; one server a folder."""

    def __init__(self, folder: Path, here: Path) -> None:
        """`folder`: the page's own; `here`: where the processes run."""
        self.folder, self.here = folder, here
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._held: IO[bytes] | None = None

    def open(self) -> None:
        """Read what an earlier server left and go on with it. Raises AdaptuneError where another one is at it."""
        if self._held is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held = (self.folder / "lock").open("wb")
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._held.close()
            self._held = None
            raise AdaptuneError(
                f"another `adaptune ui` shows {self.folder.parent}; use that one, or stop it first"
            ) from None
        for file in sorted(self.folder.glob("*.json")):
            job = Job.model_validate_json(file.read_bytes())
            self._jobs[job.id] = job
        self._thread.start()

    def close(self) -> None:
        """Start no more; what runs goes on by itself."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._held is not None:
            self._held.close()

    def all(self) -> list[Job]:
        """In the order in which they were asked for."""
        with self._lock:
            return list(self._jobs.values())

    def of(self, run: str) -> list[Job]:
        """Those of one run."""
        return [job for job in self.all() if job.run == run]

    def add(self, run: str, recipe: Path, out: Path, *, resume: bool = False, overwrite: bool = False) -> Job:
        """Ask for a run. Raises AdaptuneError where it waits or runs already."""
        with self._lock:
            if any(job.state != "ended" for job in self.of(run)):
                raise AdaptuneError(f"{run} is waiting or running already")
            now = time.time()
            name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{now % 1 * 1e6:06.0f}-{secrets.token_hex(2)}"
            job = Job(id=name, run=run, recipe=recipe, out=out, resume=resume, overwrite=overwrite, asked=now)
            self._keep(job)
            return job

    def await_end(self, run: str) -> None:
        """A process lives a moment longer than its run: wait for the end of one that has left it."""
        end = time.monotonic() + PATIENCE
        while any(job.state == "running" for job in self.of(run)) and time.monotonic() < end:
            time.sleep(0.05)

    def remove(self, name: str) -> None:
        """Take back what still waits, or forget what has ended. Raises AdaptuneError."""
        with self._lock:
            job = self._jobs.get(name)
            if job is None or job.state == "running":
                raise AdaptuneError("there is no such run waiting; one that runs can be stopped")
            del self._jobs[name]
            self.log_of(job).unlink(missing_ok=True)
            self._file(name).unlink(missing_ok=True)

    def log(self, run: str) -> str:
        """What the processes of a run have said, the end of it where it is long."""
        return "".join(_end_of(self.log_of(job)) for job in self.of(run))[-LOG_BYTES:]

    def log_of(self, job: Job) -> Path:
        return self.folder / f"{job.id}.log"

    def _work(self) -> None:
        while not self._closing.wait(EVERY):
            with self._lock, suppress(OSError):  # a disk that is full now may not be so later
                self._reap()
                if not any(job.state == "running" for job in self._jobs.values()):
                    waiting = next((job for job in self._jobs.values() if job.state == "waiting"), None)
                    if waiting is not None:
                        self._start(waiting)

    def _reap(self) -> None:
        for job in self.all():
            if job.state != "running" or job.process is None:
                continue
            child = self._children.get(job.id)
            code = child.poll() if child is not None else None
            if code is not None or (child is None and not job.process.alive):
                self._children.pop(job.id, None)
                self._keep(job.model_copy(update={"ended": time.time(), "code": code}))

    def _start(self, job: Job) -> None:
        with self.log_of(job).open("ab") as log:
            try:
                child = subprocess.Popen(
                    command_of(job),
                    cwd=self.here,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C in the server's terminal does not reach it
                    env=os.environ | {"PYTHONUNBUFFERED": "1"},
                )
            except OSError as error:
                log.write(f"could not be started: {error}\n".encode())
                self._keep(job.model_copy(update={"ended": time.time()}))
                return
        now = time.time()
        with suppress(psutil.Error):
            now = psutil.Process(child.pid).create_time()
        self._children[job.id] = child
        started = AtWork(child.pid, AtWork.here().host, now, time.time())
        self._keep(job.model_copy(update={"process": started}))

    def _keep(self, job: Job) -> None:
        self._jobs[job.id] = job
        write_atomically(self._file(job.id), job.model_dump_json(indent=2) + "\n")

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def command_of(job: Job) -> Sequence[str]:
    """What carries out a job."""
    # An override is YAML, in which a JSON text reads as itself, and ${ would begin a variable.
    out = json.dumps(str(job.out).replace("${", "$${"), ensure_ascii=False)
    flags = ["--resume"] * job.resume + ["--overwrite"] * job.overwrite
    return [sys.executable, "-m", "adaptune", "train", str(job.recipe), f"out={out}", *flags]


def _end_of(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
