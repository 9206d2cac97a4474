"""Whether this machine is quiet enough to be measured on, and what it is. Standard library alone."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

MOST_LOAD = 0.5
"""The load average of the last minute that is still quiet."""
PATIENCE = 300
"""Seconds in which the load average may fall that far: work of our own that has just ended is in it, too."""
LEAST_SPEED = 0.85
"""Of the first calibration on this machine."""
CALIBRATION = """
import time, torch
a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
best, end = 0.0, time.perf_counter() + 2
while time.perf_counter() < end:
    began = time.perf_counter()
    torch.mm(a, b)
    best = max(best, 2 * 1024**3 / (time.perf_counter() - began))
print(best)
"""


@dataclass(frozen=True, slots=True)
class Quiet:
    """What stands between us and a measurement."""

    python: Path
    """One that has torch."""
    first: Path
    """The file of the first calibration on each machine."""

    def check(self, *, load: bool) -> tuple[float, str | None]:
        """Operations a second of a matrix product now, and why not to measure.

        `load`: whether the load average counts. Between measurements it tells of the last one, and does not; nor where
        we have been given some of the cores, since it tells of all.
        """
        if load and cores() == os.cpu_count() and (average := settled_load()) > MOST_LOAD:
            return 0.0, f"the load average of the last minute is {average:.2f}, and at most {MOST_LOAD} is quiet"
        speed = self.calibrate()
        first = self._first(speed)
        if speed < LEAST_SPEED * first:
            return speed, (
                f"a matrix product runs at {speed / 1e9:.0f} GFLOP/s, and ran at {first / 1e9:.0f} the first time: "
                "something else is at work, or the processor is slowed"
            )
        return speed, None

    def calibrate(self) -> float:
        """Operations a second, the best of two seconds."""
        done = subprocess.run([str(self.python), "-c", CALIBRATION], capture_output=True, text=True, check=True)
        return float(done.stdout)

    def _first(self, speed: float) -> float:
        """Of this kind of machine; this one's, where there was none."""
        known = json.loads(self.first.read_text()) if self.first.exists() else {}
        name = f"{processor()}, {cores()} of {os.cpu_count()} cores"
        if name not in known:
            self.first.parent.mkdir(parents=True, exist_ok=True)
            self.first.write_text(json.dumps(known | {name: speed}, indent=1) + "\n")
        return float(known.get(name, speed))


def cores() -> int:
    """On which we may run; `taskset` gives some of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def settled_load() -> float:
    """The load average of the last minute, once it is quiet or our patience is over."""
    until = time.monotonic() + PATIENCE
    while (average := os.getloadavg()[0]) > MOST_LOAD and time.monotonic() < until:
        time.sleep(5)
    return average


def machine() -> dict[str, object]:
    """What a result is a result of."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "cores_used": cores(),
        "threads": threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def threads() -> int:
    """How many a system may use: one a core that we may run on, where nothing else is said."""
    return int(os.environ.get("OMP_NUM_THREADS", cores()))


def processor() -> str:
    """Its name."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
