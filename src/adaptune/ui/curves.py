"""What a run logs while it learns, from where the reader left off: nothing twice, nothing lost if the run goes on."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST = 2000
"""Points of a whole log; where there are more, each is the mean of several."""
CHECKED = 512
"""Bytes before a place that must be the same when the reader comes back."""
STEP = ("step", "epoch", "loss", "learning_rate", "seconds")
"""What is drawn of a step; of several, seconds are their sum."""


@dataclass(frozen=True, slots=True)
class Part:
    """What was appended to a log."""

    records: Sequence[Mapping[str, Any]]
    cursor: str
    """Where the next part begins."""
    reset: bool
    """Whether it is the log from its beginning: what was read before no longer stands."""


def read_part(log: Path, cursor: str = "") -> Part:
    """The whole lines behind a cursor; from the beginning where the log is no longer the one that was read.

    A run that goes on from its checkpoint drops what it had logged after it, so that a place alone does not say enough:
    a cursor holds a checksum of what stands before it.
    """
    try:
        with log.open("rb") as file:
            begin = _place(file.read, file.seek, cursor)
            file.seek(begin)
            new = file.read()
            new = new[: new.rfind(b"\n") + 1]
            end = begin + len(new)
            before = max(0, end - CHECKED)
            file.seek(before)
            checksum = zlib.crc32(file.read(end - before))
    except FileNotFoundError:
        return Part((), "", reset=True)
    records = [found for line in new.splitlines() if (found := _record(line)) is not None]
    return Part(records, f"{end}.{checksum}", reset=begin == 0)


def steps_in(part: Part) -> Part:
    """The steps of a part, few enough to be drawn; those that come before training are left out."""
    steps = [record for record in part.records if "approach" not in record and {*STEP} <= record.keys()]
    size = -(-len(steps) // MOST) or 1
    means = [_mean(steps[first : first + size]) for first in range(0, len(steps), size)]
    return Part(means, part.cursor, part.reset)


def _mean(steps: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    found = {name: sum(step[name] for step in steps) / len(steps) for name in ("loss", "learning_rate")}
    seconds = sum(step["seconds"] for step in steps)
    return {"step": steps[-1]["step"], "epoch": steps[-1]["epoch"], **found, "seconds": seconds}


def _place(read: Any, seek: Any, cursor: str) -> int:
    place, _, checksum = cursor.partition(".")
    if not (place.isdecimal() and checksum.isdecimal() and len(place) < 16):
        return 0
    end = int(place)
    seek(max(0, end - CHECKED))
    before = read(min(end, CHECKED))
    return end if len(before) == min(end, CHECKED) and zlib.crc32(before) == int(checksum) else 0


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
