"""Rules that hold become alerts, each at most once in its cooldown. Knows no place that alerts are sent to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from adaptune.core.config import Config
from adaptune.serve.watch.rules import Rule
from adaptune.serve.watch.values import judge
from adaptune.serve.watch.watch import Subject, Watch

RECENT = 500
"""Alerts that are remembered."""
LATE = 1e-6
"""Seconds by which a cooldown may seem not quite over."""


class Alert(Config):
    """That a rule held."""

    time: str
    """UTC, ISO 8601."""
    rule: str
    bundle: str
    version: str
    task: str | None
    severity: str
    when: str
    values: dict[str, float]
    """That the condition looked at."""


@dataclass(frozen=True, slots=True)
class State:
    """How a rule stands."""

    rule: Rule
    holds: bool | None
    """None: not known, because there are no rows, or no such bundle."""
    silent_until: str | None


class Alarm:
    """Looks at all rules whenever it is told to."""

    def __init__(self, rules: Sequence[Rule], watch: Watch, find: Callable[[Rule], Subject | None]) -> None:
        """`find` says which version and task a rule now means; None where there is no such bundle or task."""
        self._rules = tuple(rules)
        self._watch = watch
        self._find = find
        self._holds: dict[str, bool | None] = {}
        self._silent: dict[str, float] = {}
        self.recent: deque[Alert] = deque(maxlen=RECENT)
        """The newest last."""

    def look(self) -> list[Alert]:
        """The alerts of this moment."""
        found = [alert for rule in self._rules if (alert := self._alert(rule)) is not None]
        self.recent.extend(found)
        return found

    def states(self) -> list[State]:
        """Of every rule, as it was when last looked at."""
        now = self._watch.clock()
        return [
            State(rule, self._holds.get(rule.name), moment(until) if until > now else None)
            for rule in self._rules
            for until in [self._silent.get(rule.name, 0.0)]
        ]

    def _alert(self, rule: Rule) -> Alert | None:
        subject, now = self._find(rule), self._watch.clock()
        if subject is None:
            self._holds[rule.name] = None
            return None
        found = judge(rule.condition, self._watch, subject)
        self._holds[rule.name] = found.holds
        if not found.holds or now < self._silent.get(rule.name, 0.0) - LATE:
            return None
        self._silent[rule.name] = now + rule.silence
        return Alert(
            time=moment(now),
            rule=rule.name,
            bundle=subject.bundle,
            version=subject.version,
            task=subject.task,
            severity=rule.severity,
            when=rule.when,
            values={name: round(value, 6) for name, value in found.values.items()},
        )


def moment(seconds: float) -> str:
    """Seconds since 1970 as UTC, ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def windows_of(rules: Iterable[Rule]) -> set[float]:
    """Seconds of every window that some rule looks at."""
    return set().union(*(rule.windows for rule in rules))
