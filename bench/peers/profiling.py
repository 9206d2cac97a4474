"""Where the time of a peer's steps goes, by torch's profiler: the same for all of them, in their own processes.

The profiler itself takes a few microseconds an operation, so that many small operations look somewhat dearer than they
are; the seconds of a step are therefore taken from steps before it begins.
"""

from __future__ import annotations

import time
from typing import Any

from torch.profiler import ProfilerActivity, profile

WARM, TIMED, PROFILED = 4, 8, 8
"""Steps that are not looked at, that are timed, and that are profiled."""
GROUPS = (
    ("matrix products", ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")),
    ("attention", ("scaled_dot_product", "flash_attention")),
    ("activation", ("gelu", "silu", "sigmoid", "tanh")),
    ("norms, softmax, loss", ("layer_norm", "rsqrt", "softmax", "nll_loss", "mse_loss", "aten::mean", "aten::pow")),
    ("optimizer and clipping", ("optimizer", "adam", "_foreach", "_norm")),
    ("dropout", ("dropout", "bernoulli")),
    ("sums, products, copies", ("aten::",)),
)
"""Names of operations begin with, or contain, what stands here; the first group that fits has them."""
REST = "Python, autograd and the rest"


class Profiling:
    """Counts steps; `found` stands once enough were looked at."""

    def __init__(self) -> None:
        self._steps, self._began, self._seconds = 0, 0.0, 0.0
        self._profile: Any = None
        self.found: dict[str, Any] | None = None

    def step(self) -> bool:
        """One optimizer step is done; whether that was the last one."""
        self._steps += 1
        now = time.perf_counter()
        if self._steps == WARM:
            self._began = now
        elif self._steps == WARM + TIMED:
            self._seconds = (now - self._began) / TIMED
            self._profile = profile(activities=[ProfilerActivity.CPU])
            self._profile.__enter__()
            self._began = time.perf_counter()
        elif self._steps == WARM + TIMED + PROFILED:
            wall = now - self._began
            self._profile.__exit__(None, None, None)
            self.found = {"seconds_a_step": self._seconds, "shares": shares(self._profile.key_averages(), wall)}
        return self.found is not None


def shares(events: Any, wall: float) -> dict[str, float]:
    """Of so many seconds, the part that the operations of each group took by themselves."""
    spent = dict.fromkeys((name for name, _ in GROUPS), 0.0)
    for event in events:
        if (name := group_of(event.key)) is not None:
            spent[name] += event.self_cpu_time_total / 1e6
    return {name: seconds / wall for name, seconds in spent.items()} | {REST: 1 - sum(spent.values()) / wall}


def group_of(operation: str) -> str | None:
    """By the operation's name; None of what only calls others (autograd's nodes, ranges of modules)."""
    name = operation.lower()
    if "::" not in name and "optimizer" not in name:
        return None
    return next((group for group, parts in GROUPS if any(part in name for part in parts)), None)
