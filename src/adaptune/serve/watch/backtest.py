"""What rules would have said of a history: its rows one by one, its time in place of the clock."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from adaptune.bundle.reference import Reference
from adaptune.bundle.tally import Seen, labels_of
from adaptune.core.config import Config
from adaptune.core.errors import DataError
from adaptune.serve.watch.alerts import Alarm, Alert, windows_of
from adaptune.serve.watch.grammar import Call, calls_of
from adaptune.serve.watch.rules import Rule
from adaptune.serve.watch.watch import Subject, Watch

VERSION = "history"
UNSEEN = ("number", "unknown", "embedding")
"""Signals that take the bundle itself: the mean of its training targets, its tokens, its trunk."""


class Happened(Config):
    """One answered row, or one request without any."""

    time: float
    """Seconds since 1970, or ISO 8601; without a zone: UTC."""
    bundle: str
    task: str | None = None
    label: str | None = None
    labels: tuple[str, ...] | None = None
    """Of a row with several, perhaps none."""
    answer: dict[str, JsonValue] | None = None
    """In place of labels and confidence: as /v1/predict gives it."""
    confidence: float | None = Field(default=None, ge=0, le=1)
    text: str | None = None
    length: int | None = Field(default=None, ge=0)
    """In place of a text: its characters."""
    status: int | None = None
    """Of the request, where errors are counted; a row without a status is counted as no request."""
    seconds: float | None = Field(default=None, ge=0)
    """That the request took."""

    @field_validator("time", mode="before")
    @classmethod
    def _time(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()

    @model_validator(mode="after")
    def _said_once(self) -> Happened:
        said = [self.label is not None, self.labels is not None, self.answer is not None]
        if sum(said) > 1:
            raise ValueError("label, labels and answer say the same; give one of them")
        if self.text is not None and self.length is not None:
            raise ValueError("text and length say the same; give one of them")
        if self.seconds is not None and self.status is None:
            raise ValueError("seconds are those of a request; give its status, too")
        return self

    @property
    def is_row(self) -> bool:
        """Whether something was answered."""
        known = (self.label, self.labels, self.answer, self.confidence, self.text, self.length)
        return any(one is not None for one in known)

    def seen(self) -> Seen:
        """As the server would remember it."""
        answer: Mapping[str, Any] = self.answer or {"label": self.label, "labels": self.labels}
        confidence = answer.get("probability") if self.confidence is None else self.confidence
        return Seen(
            labels=labels_of(answer),
            confidence=None if confidence is None else float(confidence),
            characters=self.length if self.text is None else len(self.text),
        )


def read_history(file: Path) -> Iterator[Happened]:
    """The rows of a file of JSON lines, in their order. Raises DataError for one that does not read, by its number."""
    before = -math.inf
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    found = _read(line, f"{file}, row {number}")
                    if found.time < before:
                        raise DataError(f"{file}, row {number} happened before the row above it; sort the rows by time")
                    before = found.time
                    yield found
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from None


def backtest(
    rules: Sequence[Rule],
    history: Iterable[Happened],
    references: Mapping[tuple[str, str | None], Reference],
    *,
    every: float,
) -> Iterator[Alert]:
    """The alerts that would have come, in order, from rules that are looked at at every so many seconds.

    `references` by bundle and task; without one, rows are compared with the first ones of the history. The last look
    is at or after the last row.
    """
    now = 0.0
    watch = Watch(lambda: now, windows_of(rules))
    alarm = Alarm(rules, watch, lambda rule: Subject(rule.bundle, VERSION, rule.task))
    for rule in rules:
        watch.begin(Subject(rule.bundle, VERSION, rule.task), references.get((rule.bundle, rule.task)))
    tick: float | None = None
    for row in history:
        tick = _next(row.time, every) if tick is None else tick
        while tick < row.time:
            now = tick
            yield from alarm.look()
            tick += every
        now = row.time
        _count(watch, row)
    if tick is not None:
        now = tick
        yield from alarm.look()


def unseen(rules: Iterable[Rule]) -> Iterator[tuple[Rule, Call]]:
    """Values that no history holds, and the rules that look at them."""
    for rule in rules:
        yield from ((rule, call) for call in calls_of(rule.condition) if call.of in UNSEEN)


def _count(watch: Watch, row: Happened) -> None:
    if row.status is not None:
        watch.requested(row.bundle, row.seconds, failed=row.status >= 500)
    if row.is_row:
        watch.answered(Subject(row.bundle, VERSION, row.task), [row.seen()])


def _next(time: float, every: float) -> float:
    """The first look at or after a moment."""
    return math.ceil(time / every) * every


def _read(line: str, where: str) -> Happened:
    try:
        return Happened.model_validate(json.loads(line))
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise DataError(f"{where}{', ' + place if place else ''}: {fault['msg']}") from None
    except ValueError as error:
        raise DataError(f"{where} is no JSON: {error}") from None
