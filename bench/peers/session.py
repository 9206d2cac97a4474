"""How a peer's process is told what to do and says what it measured. Standard library alone.

An order stands as JSON in the last argument. Where throughput is measured, the process says `ready` once it is warm,
and sleeps but for the windows that it is told to work in; each is answered by one JSON. Where quality is measured, it
trains to its end, or until its time is over, and writes one JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from peers.rows import TASKS, Parts, Task
from peers.scores import score

WARM_SECONDS = 5.0
WARM_STEPS = 3
FEW = {"train": 300, "valid": 40, "test": 40}
ENDLESS = 1000
"""Passes over the rows where only windows end the work."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a process is to do."""

    peer: str
    task: str
    setting: str
    """`documented`, `tuned`; where throughput is measured, `padded`, too"""
    measure: str
    """`throughput`, `quality` or `profile`"""
    model: str
    """A folder or a name."""
    data: str
    seed: int
    started: float
    """When the process was started, by the system's monotonic clock."""
    out: str = ""
    """The file for what quality was reached."""
    rate: float | None = None
    """The learning rate; None: as documented."""
    epochs: float = 1.0
    """Passes over the rows, where quality is measured."""
    max_seconds: float = 600.0
    max_steps: int | None = None
    """Where a run is only tried out."""
    tested: bool = True
    """Whether test rows are answered at the end."""
    most_rows: int | None = None
    """Of training, spread evenly over the file; half as many for validation."""

    @property
    def tuned(self) -> bool:
        """Whether it is configured as we would, not as its documentation does."""
        return self.setting == "tuned"

    @property
    def without_dropout(self) -> bool:
        """Whether dropout is off and weights are fp32."""
        return self.setting != "documented"

    @property
    def batch_rows(self) -> int | None:
        """The same for all that are tuned where texts are learned to the end; None: each system has its own.

        Of 240 rows 32 a batch make 8 steps, in which little is learned at any rate.
        """
        return 8 if self.tuned and self.measure == "quality" and self.of.kind == "write" else None

    @property
    def of(self) -> Task:
        """What is learned."""
        return TASKS[self.task]

    @property
    def passes(self) -> float:
        """Over the rows."""
        return self.epochs if self.measure == "quality" else ENDLESS

    def text(self) -> str:
        """As an argument."""
        return json.dumps(asdict(self))

    def rows(self) -> Parts:
        """The rows of every part; a few hundred, spread evenly, where a run is only tried out."""
        parts = self.of.read(Path(self.data))
        if self.max_steps is not None:
            return {part: _spread(rows, FEW[part]) for part, rows in parts.items()}
        if self.most_rows is None:
            return parts
        most = {"train": self.most_rows, "valid": self.most_rows // 2}
        return {part: _spread(rows, most.get(part, len(rows))) for part, rows in parts.items()}


def _spread(rows: list[Any], most: int) -> list[Any]:
    """So many of them at most, evenly spread and in their order."""
    return rows if len(rows) <= most else [rows[index * len(rows) // most] for index in range(most)]


class Session:
    """A process at work on its order."""

    def __init__(self) -> None:
        self.order = Order(**json.loads(sys.argv[-1]))
        # What libraries print must not stand among the answers.
        self._answers = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self.parts = self.order.rows()
        self.curve: list[dict[str, float]] = []
        self.steps = self.tokens = 0
        self.capped = False
        self.first_step = 0.0
        self.about: dict[str, float] = {}
        """What is said beside `ready`."""
        self.paused = 0.0
        """Seconds of work that the system itself would not do."""
        self._profiling: Any = None
        if self.order.measure != "throughput":
            threading.Thread(target=_end_with_parent, daemon=True).start()
        self._window: tuple[float, float, int, int] | None = None

    @property
    def seconds(self) -> float:
        """Since the process was started."""
        return time.monotonic() - self.order.started - self.paused

    def step(self, tokens: int) -> bool:
        """One optimizer step over so many real tokens is done; whether training must end now."""
        self.steps, self.tokens = self.steps + 1, self.tokens + tokens
        self.first_step = self.first_step or self.seconds
        if self.order.measure == "throughput":
            return self._in_windows()
        if self.order.measure == "profile":
            return self._profiled()
        few = self.order.max_steps is not None and self.steps >= self.order.max_steps
        late = self.seconds > self.order.max_seconds
        self.capped = self.capped or few or late
        return few or late

    def _profiled(self) -> bool:
        if self._profiling is None:
            # It needs torch, which this file does without.
            self._profiling = importlib.import_module("peers.profiling").Profiling()
        if not self._profiling.step():
            return False
        Path(self.order.out).write_text(json.dumps(self._profiling.found), encoding="utf-8")
        return True

    def _in_windows(self) -> bool:
        now = time.monotonic()
        if self._window is None:
            least = 1 if self.order.max_steps else WARM_STEPS
            seconds = 0.0 if self.order.max_steps else WARM_SECONDS
            if self.steps < least or self.seconds - self.first_step < seconds:
                return False
            self._answer({"startup_seconds": self.first_step, **self.about})
        else:
            began, length, steps, tokens = self._window
            if now - began < length:
                return False
            self._answer(
                {
                    "seconds": now - began,
                    "steps": self.steps - steps,
                    "tokens": self.tokens - tokens,
                    "peak_memory_mb": peak_memory(),
                }
            )
        asked = sys.stdin.readline().split()
        if asked[:1] != ["window"]:
            return True
        self._window = (time.monotonic(), float(asked[1]), self.steps, self.tokens)
        return False

    def _answer(self, value: dict[str, Any]) -> None:
        self._answers.write(json.dumps(value) + "\n")

    def scored(self, predicted: list[Any]) -> float:
        """Answers to the validation rows, in their order: a point of the curve."""
        value = score(self.order.of.kind, predicted, [row.label for row in self.parts["valid"]])
        self.point(value, self.seconds, self.steps)
        return value

    def point(self, value: float, seconds: float, step: int) -> None:
        """A point of the curve that was scored elsewhere."""
        self.curve.append({"seconds": seconds, "step": step, "score": value})

    def finish(self, predicted: list[Any] | None, **more: Any) -> None:
        """Write what was measured; `predicted`: answers to the test rows, asked once, with the best weights."""
        best = max((point["score"] for point in self.curve), default=0.0)
        found = {
            "seconds": self.curve[-1]["seconds"] if self.curve else self.seconds,
            "steps": self.steps,
            "tokens": self.tokens,
            "capped": self.capped,
            "valid": best,
            "curve": self.curve,
            "peak_memory_mb": peak_memory(),
            "rows": {part: len(rows) for part, rows in self.parts.items()},
            "predicted": predicted,
            **more,
        }
        Path(self.order.out).write_text(json.dumps(found), encoding="utf-8")


class Meter:
    """Counts the real tokens that a module reads in training, whoever calls it: tensors by name, or one mapping."""

    def __init__(self, model: Any) -> None:
        self._counts: list[Any] = []
        self._hook = model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, module: Any, inputs: tuple[Any, ...], given: dict[str, Any]) -> None:
        if not module.training:
            return
        features = given or inputs[0]
        mask = features.get("attention_mask")
        self._counts.append(features["input_ids"].numel() if mask is None else mask.sum())

    def read(self) -> int:
        """Since it was read last."""
        total = sum(int(count) for count in self._counts)
        self._counts.clear()
        return total


def _end_with_parent() -> None:
    """A run that nobody waits for any more must not go on beside the next one."""
    os.read(0, 1)
    os._exit(1)


def peak_memory() -> float:
    """The most that this process held, in 10^6 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
