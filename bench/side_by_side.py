"""Measures adaptune beside other systems and keeps one small JSON a measurement, which docs/bench.md is made from.

    python bench/side_by_side.py throughput --models FOLDER --budget 120
    python bench/side_by_side.py quality --models FOLDER --budget 600
    python bench/side_by_side.py profile --models FOLDER

Each system runs in an environment of its own (bench/environments.py makes them) as `python -m peers.NAME`.
`throughput`: the systems of a task are started once and warmed up; then each in turn works for 20 seconds while the
others sleep, five rounds long (--window, --rounds). `quality`: one system at a time trains to its end, or for ten
minutes (--rows). `profile`: a few steps of each under torch's profiler. Measurements whose JSON is there are skipped;
none is started once the budget (minutes) is spent, or while the machine is busy.
ADAPTUNE_DATA names the data folder; FOLDER holds minilm/ and smollm2/ (without it the hub is asked for both).
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from environments import ROOT, python, size
from evidence import carry_out, write
from final_scores import scored
from peers.catalogue import PEERS, WINDOWS, Peer, settings_of, windows_of
from peers.rows import TASKS
from peers.session import Order
from profiles import Profiled, profile_jobs
from quiet import Quiet, machine, threads

SEEDS = (1, 2, 3)
HUB = {"minilm": "sentence-transformers/all-MiniLM-L6-v2", "smollm2": "HuggingFaceTB/SmolLM2-135M"}
PATIENCE = 900.0
"""Seconds in which a process must have said something."""
LIMIT = Peer("limit", "matrix products", "transformers-peft", ())


@dataclass(frozen=True, slots=True)
class Place:
    """Where things are, and how long measurements last."""

    environments: Path
    data: Path
    models: Path | None
    """None: the hub has them."""
    results: Path
    quiet: Quiet
    busy: bool = False
    """Measure on a busy machine, too, and say so in the result."""
    rounds: int = 5
    window: float = 20.0
    """Seconds."""
    max_seconds: float = 600.0
    max_steps: int | None = None
    """Where the benchmark itself is tried out."""
    most_rows: int | None = None
    """Of training, in trainings to the end."""

    def order(self, peer: str, task: str, setting: str, measure: str, **more: Any) -> Order:
        """What a process is told; the moment of its start is added when it starts."""
        return Order(
            peer,
            task,
            setting,
            measure,
            model=str(self.models / TASKS[task].model) if self.models else HUB[TASKS[task].model],
            data=str(self.data),
            started=0.0,
            max_seconds=self.max_seconds,
            max_steps=self.max_steps,
            most_rows=self.most_rows if measure == "quality" else None,
            **{"seed": SEEDS[0], **more},
        )

    def start(self, peer: Peer, order: Order) -> subprocess.Popen[str]:
        """The peer's process, at work on its order; what it prints beside its answers goes into a log."""
        command = [str(python(self.environments / peer.environment)), "-m", f"peers.{peer.name}"]
        number = str(threads())
        environment = os.environ | {
            "OMP_NUM_THREADS": number,
            "MKL_NUM_THREADS": number,
            "HF_DATASETS_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            **({"HF_HUB_OFFLINE": "1"} if self.models else {}),
        }
        environment.pop("PYTHONPATH", None)
        command.append(replace(order, started=time.monotonic()).text())
        with self.log(order).open("w", encoding="utf-8") as log:
            return subprocess.Popen(
                command,
                cwd=ROOT / "bench",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )

    def log(self, order: Order) -> Path:
        """What its process printed last."""
        folder = self.environments / "logs"
        folder.mkdir(exist_ok=True)
        return folder / f"{order.measure}-{order.task}-{order.peer}-{order.setting}.txt"

    def speed_before(self) -> float:
        """Of a calibration just before a measurement; ends the program where it may not be made."""
        speed, reason = self.why_not()
        if reason:
            sys.exit(f"not measured: {reason}; --busy measures all the same")
        return speed

    def speed_after(self, before: float) -> dict[str, Any] | None:
        """What a measurement keeps of the machine's speed; None where it must be thrown away."""
        after, reason = self.why_not()
        if reason:
            print(f"  thrown away: {reason}", file=sys.stderr)
            return None
        return {"calibration": [before, after], "busy": self.busy}

    def why_not(self, *, load: bool = False) -> tuple[float, str | None]:
        """The speed of a calibration, and why not to measure now."""
        speed, reason = self.quiet.check(load=load and not self.busy)
        return speed, None if self.busy else reason


@dataclass(frozen=True, slots=True)
class Windows:
    """The throughput of every system that can learn a task, in one setting."""

    place: Place
    task: str
    setting: str

    def file(self, results: Path) -> Path:
        """Where its figures are kept."""
        return results / "throughput" / self.task / f"{self.setting}.json"

    def run(self, out: Path, models: Path | None) -> None:
        """Start every system, one after another; then rounds of windows."""
        before = self.place.speed_before()
        peers = [LIMIT, *(p for p in PEERS.values() if self.task in p.tasks and self.setting in windows_of(p))]
        running: dict[str, subprocess.Popen[str]] = {}
        found: dict[str, dict[str, Any]] = {}
        try:
            for peer in peers:
                order = self.place.order(peer.name, self.task, self.setting, "throughput")
                running[peer.name] = self.place.start(peer, order)
                if answer := _answer(running[peer.name]):
                    found[peer.name] = {**answer, "windows": []}
                else:
                    print(f"  {peer.name} failed: see {self.place.log(order)}", file=sys.stderr)
            for _ in range(self.place.rounds):
                for name in list(found):
                    _say(running[name], f"window {self.place.window}")
                    if answer := _answer(running[name]):
                        found[name]["windows"].append(answer)
                    else:
                        print(f"  {name} ended before its time", file=sys.stderr)
                        del found[name]
        finally:
            for process in running.values():
                _end(process)
        if record := self.place.speed_after(before):
            write(out, self.record(found, len(peers)) | record)

    def record(self, found: dict[str, dict[str, Any]], started: int) -> dict[str, Any]:
        """Every window, and what follows from it."""
        limit = found.pop(LIMIT.name, None)
        return {
            "task": self.task,
            "setting": self.setting,
            "machine": machine(),
            "window_seconds": self.place.window,
            "failed": started - 1 - len(found),
            "limit": limit and limit_of(limit),
            "peers": {name: summary(measured) | self.sizes(PEERS[name]) for name, measured in found.items()},
        }

    def sizes(self, peer: Peer) -> dict[str, int]:
        """Of its environment on disk, and how much of that are PyTorch and what it needs."""
        own, base = (size(self.place.environments / name) for name in (peer.environment, "base"))
        return {"environment_mb": round((own + base) / 1e6), "of_it_torch_mb": round(base / 1e6)}


def limit_of(measured: dict[str, Any]) -> dict[str, Any]:
    """What the matrix products came to, and what one real token calls for."""
    speeds = [window["tokens"] / window["seconds"] for window in measured["windows"]]
    return {"operations_per_second": speeds, "operations_per_token": measured["operations_per_token"]}


def summary(measured: dict[str, Any]) -> dict[str, Any]:
    """The figures of one system out of its windows."""
    rates = [window["tokens"] / window["seconds"] for window in measured["windows"]]
    return {
        "tokens_per_second": [round(rate, 1) for rate in rates],
        "median": round(median(rates), 1),
        "steps": [window["steps"] for window in measured["windows"]],
        "startup_seconds": round(measured["startup_seconds"], 2),
        "peak_memory_mb": round(max(window["peak_memory_mb"] for window in measured["windows"])),
    }


@dataclass(frozen=True, slots=True)
class Training:
    """One system trained to its end on one task, or for one pass where a learning rate is looked for."""

    place: Place
    peer: str
    task: str
    setting: str
    seed: int = SEEDS[0]
    trial: float | None = None
    """A rate that is tried for one pass, without test rows."""

    def file(self, results: Path) -> Path:
        """Where its figures are kept."""
        if self.trial is not None:
            return self.trial_file(results, self.trial)
        group = "whole" if self.place.most_rows is None else "quality"
        return results / group / self.task / f"{self.peer}-{self.setting}-seed{self.seed}.json"

    def trial_file(self, results: Path, rate: float) -> Path:
        """Of a rate that is tried."""
        return results / "rates" / self.task / f"{self.peer}-{rate:g}.json"

    def run(self, out: Path, models: Path | None) -> None:
        """Train in a process of its own; test rows are answered once, and scored here, the same for all."""
        before = self.place.speed_before()
        peer, tried = PEERS[self.peer], self.trial is not None
        with tempfile.TemporaryDirectory() as folder:
            answer = Path(folder) / "run.json"
            order = self.place.order(
                self.peer,
                self.task,
                self.setting,
                "quality",
                seed=self.seed,
                out=str(answer),
                rate=self.rate(self.place.results),
                epochs=1 if tried else TASKS[self.task].epochs,
                tested=not tried,
            )
            process = self.place.start(peer, order)
            _wait(process, 2 * self.place.max_seconds + PATIENCE)
            if process.returncode or not answer.exists():
                print(f"  {out.stem} failed: see {self.place.log(order)}", file=sys.stderr)
                return
            run = json.loads(answer.read_text(encoding="utf-8"))
        head = {"system": self.peer, "task": self.task, "setting": self.setting, "seed": self.seed}
        found = head | {"learning_rate": order.rate, "metric": TASKS[self.task].metric, "machine": machine()}
        scores = {} if tried else scored(TASKS[self.task], order.rows()["test"], run.pop("predicted"))
        run.pop("predicted", None)
        if record := self.place.speed_after(before):
            write(out, found | run | scores | record)

    def rate(self, results: Path) -> float | None:
        """Of a trial its own; tuned: the best of those tried, or the only one; documented: None.

        Of rates that differ by less than a point after one pass it is the largest, which further passes make most of;
        where none has learned anything in it, the middle one. On all rows, whose many steps bear less than the few of
        such a pass (transformers' Trainer came to nothing on BANKING77), it is half of that.
        """
        if self.trial is not None or self.setting == "documented":
            return self.trial
        tried, rates = {}, PEERS[self.peer].rates[TASKS[self.task].kind]
        if len(rates) == 1:
            return rates[0]
        for rate in rates:
            if (file := self.trial_file(results, rate)).exists():
                tried[rate] = json.loads(file.read_text(encoding="utf-8"))["curve"][-1]["score"]
        if not tried:
            raise LookupError(f"no learning rate of {self.peer} was tried on {self.task}: see why those trials failed")
        best = max(tried, key=lambda rate: (round(tried[rate], 2), rate))
        best = best if any(tried.values()) else sorted(tried)[len(tried) // 2]
        return best if self.place.most_rows is not None else best / 2


def throughput_jobs(place: Place) -> Iterator[Windows]:
    """Every task in every setting."""
    for task in TASKS:
        for setting in reversed(WINDOWS):
            yield Windows(place, task, setting)


def quality_jobs(place: Place) -> Iterator[Training]:
    """Task by task rates, then tuned systems; further seeds on BANKING77; every system as documented."""
    for task in TASKS.values():
        for peer in PEERS.values():
            if task.name in peer.tasks:
                rates = peer.rates.get(task.kind, ())
                trials = rates if len(rates) > 1 else ()
                yield from (Training(place, peer.name, task.name, "tuned", trial=rate) for rate in trials)
        yield from trainings(place, task.name, "tuned", SEEDS[0])
    for seed in SEEDS[1:]:
        yield from trainings(place, "banking77", "tuned", seed)
        for own in ("adaptune", "adaptune_upper"):  # by their defaults, beside others tuned
            yield Training(place, own, "banking77", "documented", seed)
    for task in TASKS.values():
        yield from trainings(place, task.name, "documented", SEEDS[0])


def trainings(place: Place, task: str, setting: str, seed: int) -> Iterator[Training]:
    """Every system that can learn a task."""
    for peer in PEERS.values():
        if task in peer.tasks and setting in settings_of(peer):
            yield Training(place, peer.name, task, setting, seed)


def takes_long(job: Windows | Training | Profiled) -> bool:
    """What is measured last: SetFit's trainings, and texts as documented, where a step in bf16 may take minutes."""
    return getattr(job, "peer", "") == "setfit" or (TASKS[job.task].kind, job.setting) == ("write", "documented")


def main() -> None:
    """Every measurement of a group that is not there yet, within the budget."""
    options = parse()
    place = place_of(options)
    speed, reason = place.why_not(load=True)
    if reason:
        sys.exit(f"not measured: {reason}; wait until it is quiet, or use --busy (BUSY=1 with make), which is noted")
    print(f"a matrix product runs at {speed / 1e9:.0f} GFLOP/s" + (", on a busy machine" if options.busy else ""))
    groups = {"throughput": throughput_jobs, "quality": quality_jobs, "profile": profile_jobs}
    jobs = [
        job
        for job in groups[options.group](place)
        if options.only in (None, job.task)
        and options.peer in (None, getattr(job, "peer", ""))
        and options.setting in (None, job.setting)
        and options.seed in (None, getattr(job, "seed", None))
    ]
    jobs.sort(key=takes_long)
    left = carry_out(jobs, place.results, minutes=options.budget, models=place.models)
    print(f"{left} measurements left for another time, or failed" if left else "every measurement is there")


def place_of(options: argparse.Namespace) -> Place:
    """From the command line and ADAPTUNE_DATA."""
    data = os.environ.get("ADAPTUNE_DATA", "")
    if not data or not Path(data).is_dir():
        sys.exit(f"ADAPTUNE_DATA must name the folder of the data sets, {', '.join(TASKS)}; it is {data!r}")
    quiet = Quiet(python(options.environments / "base"), options.results / "calibration.json")
    short = {"rounds": 1, "window": 1.0, "max_seconds": 60.0, "max_steps": 3} if options.smoke else {}
    return Place(
        options.environments.resolve(),
        Path(data).resolve(),
        options.models and options.models.resolve(),
        options.results,
        quiet,
        options.busy,
        most_rows=options.rows,
        **({"rounds": options.rounds, "window": options.window} | short),
    )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("group", choices=("throughput", "quality", "profile"))
    parser.add_argument("--models", type=Path, help="folder with minilm/ and smollm2/")
    parser.add_argument("--environments", type=Path, default=ROOT / ".bench", help="default: .bench")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "bench", help="default: results/bench")
    parser.add_argument("--budget", type=float, default=60, help="minutes (default: 60)")
    parser.add_argument("--only", choices=list(TASKS), help="the measurements of one task")
    parser.add_argument("--peer", choices=list(PEERS), help="of one system; quality alone")
    parser.add_argument("--setting", choices=WINDOWS, help="in one setting")
    parser.add_argument("--seed", type=int, choices=SEEDS, help="of one seed; quality alone")
    parser.add_argument("--rows", type=int, help="most training rows of trainings to the end (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="of throughput (default: 5)")
    parser.add_argument("--window", type=float, default=20.0, help="seconds of a system in each round (default: 20)")
    parser.add_argument("--busy", action="store_true", help="measure though the machine is busy")
    parser.add_argument("--smoke", action="store_true", help="three steps of each, to try out the benchmark itself")
    return parser.parse_args()


def _answer(process: subprocess.Popen[str]) -> dict[str, Any] | None:
    """The next line that a process says; None where it ended. One that says nothing for long is ended."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], PATIENCE)[0]:
        process.kill()
    line = process.stdout.readline()
    return json.loads(line) if line else None


def _wait(process: subprocess.Popen[str], seconds: float) -> None:
    """For its end, or end it."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for end in (process.stdin, process.stdout):
        if end is not None:
            end.close()


def _say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has ended; its missing answer tells so
        process.stdin.write(line + "\n")
        process.stdin.flush()


def _end(process: subprocess.Popen[str]) -> None:
    """Let a process end by itself; one that does not is ended."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    _wait(process, 60)


if __name__ == "__main__":
    main()
