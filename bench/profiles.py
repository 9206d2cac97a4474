"""Where the time of a step goes in adaptune and in two others: measured in their own processes, then a table."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from evidence import write
from peers.catalogue import PEERS, Peer
from peers.profiling import GROUPS, REST
from peers.rows import TASKS
from peers.session import Order
from quiet import machine
from tables import table

COMPARED = ("adaptune", "bucketed_loop", "trainer_peft")
TASKS_PROFILED = ("banking77",)
"""Other tasks on the same encoder differ in their lengths alone; steps of a decoder take minutes here."""
LONGEST = 600.0
"""Seconds for one of them."""


class Place(Protocol):
    """What is needed of the place of measurements."""

    def order(self, peer: str, task: str, setting: str, measure: str, **more: Any) -> Order: ...

    def start(self, peer: Peer, order: Order) -> subprocess.Popen[str]: ...

    def log(self, order: Order) -> Path: ...

    def speed_before(self) -> float: ...

    def speed_after(self, before: float) -> dict[str, Any] | None: ...


@dataclass(frozen=True, slots=True)
class Profiled:
    """A few steps of one system on one task, tuned, under torch's profiler."""

    place: Place
    task: str
    peer: str
    setting: str = "tuned"

    def file(self, results: Path) -> Path:
        """Where its figures are kept."""
        return results / "profile" / self.task / f"{self.peer}.json"

    def run(self, out: Path, models: Path | None) -> None:
        """In a process of its own."""
        before = self.place.speed_before()
        with tempfile.TemporaryDirectory() as folder:
            answer = Path(folder) / "profile.json"
            order = self.place.order(self.peer, self.task, self.setting, "profile", out=str(answer))
            process = self.place.start(PEERS[self.peer], order)
            try:
                process.wait(LONGEST)
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
            if process.returncode or not answer.exists():
                print(f"  {self.peer} on {self.task} failed: see {self.place.log(order)}", file=sys.stderr)
                return
            found = json.loads(answer.read_text(encoding="utf-8"))
        about = {"system": self.peer, "task": self.task, "setting": self.setting, "machine": machine()}
        if record := self.place.speed_after(before):
            write(out, about | found | record)


def profile_jobs(place: Place) -> Iterator[Profiled]:
    """Every system on every task that is looked at."""
    for task in TASKS_PROFILED:
        for peer in COMPARED:
            yield Profiled(place, task, peer)


def profiled(runs: Sequence[dict[str, Any]]) -> str:
    """The table; nothing where nothing was profiled."""
    if not runs:
        return ""
    text = (
        "## Where the time of a step goes\n\nTuned, by torch's profiler over a few steps; each operation's own time as "
        "a share of the whole. The profiler makes many small operations look somewhat dearer than they are.\n"
    )
    for task in TASKS:
        some = [run for run in runs if run["task"] == task]
        if some:
            rows = [
                [group, *(f"{100 * run['shares'][group]:.1f} %" for run in some)]
                for group in [*(name for name, _ in GROUPS), REST]
            ]
            text += f"\n{table([task, *(PEERS[run['system']].shown for run in some)], rows)}"
    return text
