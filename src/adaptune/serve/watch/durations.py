"""Lengths of time as people write them: 90s, 15m, 1h, 2d."""

from __future__ import annotations

import re

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds_of(text: str) -> float:
    """`15m` -> 900. Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:50]!r} is no length of time; write a number and its unit, as 30s, 15m, 1h or 7d")
    return float(found[1]) * UNITS[found[2]]


def as_text(seconds: float) -> str:
    """900 -> `15m`: in the largest unit of which it is a whole number."""
    for unit in ("d", "h", "m", "s"):
        count = seconds / UNITS[unit]
        if seconds and count == int(count):
            return f"{int(count)}{unit}"
    return f"{seconds * 1000:g}ms"
