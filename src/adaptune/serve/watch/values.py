"""A condition's truth at one moment. Where a value is not known, neither is what depends on it alone."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from adaptune.bundle.tally import Tally
from adaptune.serve.watch.drift import Signal, distance, level
from adaptune.serve.watch.grammar import Call, Compare, Condition, Joined, Not, Number, calls_of
from adaptune.serve.watch.watch import Subject, Watch
from adaptune.serve.watch.windows import Requests

_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_OF_REQUESTS = ("requests", "errors", "latency")


@dataclass(frozen=True, slots=True)
class Found:
    """What a condition comes to."""

    holds: bool | None
    """None: not known, because there are no rows, or no such bundle."""
    values: Mapping[str, float]
    """That it looked at and that are known, as they stand in it."""


def judge(condition: Condition, watch: Watch, subject: Subject) -> Found:
    """The truth of a condition on a task now."""
    values = {call: value_of(call, watch, subject) for call in calls_of(condition)}
    return Found(_holds(condition, values), {str(call): one for call, one in values.items() if one is not None})


def value_of(call: Call, watch: Watch, subject: Subject) -> float | None:
    """One value now; None where nothing is known of it."""
    assert call.window is not None, "parse gives every value its window"
    if call.function in _OF_REQUESTS or call.of in ("errors", "latency"):
        found = watch.requests(subject.bundle, call.window)
        return None if found is None else _of_requests(call, found)
    rows = watch.rows(subject, call.window)
    if rows is None:
        return None
    return _drift(call, watch, subject, rows) if call.function == "drift" else _of_rows(call, rows)


def _of_requests(call: Call, found: Requests) -> float | None:
    if call.function == "share":
        return found.errors / found.requests if found.requests else None
    if call.function == "mean":
        return found.mean()
    if call.function == "latency":
        return found.quantile(call.quantile)
    return float(found.errors if call.function == "errors" else found.requests)


def _of_rows(call: Call, rows: Tally) -> float | None:
    if call.function == "n":
        return float(rows.rows)
    if call.function == "share" and call.of == "label":
        return rows.labels[str(call.label)] / rows.rows if rows.rows else None
    signals: dict[str | None, Signal] = {"unknown": "unknown", "confidence": "confidence", "length": "length"}
    return level(signals[call.of], rows)


def _drift(call: Call, watch: Watch, subject: Subject, rows: Tally) -> float | None:
    compared = watch.compared(subject)
    if compared is None or not compared.complete:
        return None
    return distance(call.of, rows, compared.tally)  # type: ignore[arg-type]  # of SIGNALS, as the grammar sees to


def _holds(condition: Condition, values: Mapping[Call, float | None]) -> bool | None:
    """Kleene's three truth values."""
    if isinstance(condition, Compare):
        left, right = (
            side.value if isinstance(side, Number) else values[side] for side in (condition.left, condition.right)
        )
        return None if left is None or right is None else _SIGNS[condition.sign](left, right)
    if isinstance(condition, Not):
        inner = _holds(condition.inner, values)
        return None if inner is None else not inner
    return _joined(condition, values)


def _joined(condition: Joined, values: Mapping[Call, float | None]) -> bool | None:
    decides = condition.how == "or"
    found = [_holds(part, values) for part in condition.parts]
    if decides in found:
        return decides
    return None if None in found else not decides
