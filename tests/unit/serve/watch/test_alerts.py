"""Rules on a clock that the test sets: when they hold, when they are not known, and how long they are silent."""

from __future__ import annotations

from typing import Any

import pytest

from adaptune.bundle.reference import reference_of
from adaptune.bundle.tally import Seen, tally_of
from adaptune.serve.watch.alerts import Alarm, moment, windows_of
from adaptune.serve.watch.rules import Rule
from adaptune.serve.watch.values import judge
from adaptune.serve.watch.watch import FIRST_ROWS, Subject, Watch

SUBJECT = Subject("reviews", "0123456789ab")
START = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def rule(when: str, **more: Any) -> Rule:
    return Rule(name=more.pop("name", "a rule"), bundle="reviews", when=when, **more)


def alarm(clock: Clock, *rules: Rule, reference: Any = None) -> tuple[Alarm, Watch]:
    watch = Watch(clock, windows_of(rules))
    watch.begin(SUBJECT, reference)
    return Alarm(rules, watch, lambda one: SUBJECT if one.bundle == "reviews" else None), watch


def rows(label: str, count: int, **more: Any) -> list[Seen]:
    return [Seen((label,), **more)] * count


def test_an_alert_says_what_held_and_by_which_numbers() -> None:
    clock = Clock()
    one, watch = alarm(clock, rule("share(label=negative, window=15m) > 0.4 and n >= 50", severity="critical"))
    watch.answered(SUBJECT, rows("positive", 30) + rows("negative", 30))
    [found] = one.look()
    assert found.model_dump() == {
        "time": "2027-01-15T08:00:00+00:00",
        "rule": "a rule",
        "bundle": "reviews",
        "version": "0123456789ab",
        "task": None,
        "severity": "critical",
        "when": "share(label=negative, window=15m) > 0.4 and n >= 50",
        "values": {"share(label=negative, window=15m)": 0.5, "n(window=15m)": 60.0},
    }
    assert list(one.recent) == [found]


def test_a_rule_is_silent_until_its_cooldown_is_over() -> None:
    clock = Clock()
    one, watch = alarm(clock, rule("n(window=1h) >= 1", cooldown="10m"))
    watch.answered(SUBJECT, rows("a", 1))
    heard = []
    for second in range(0, 1801, 60):
        clock.now = START + second
        heard += [second for _ in one.look()]
    assert heard == [0, 600, 1200, 1800]
    assert one.states()[0].silent_until == moment(START + 2400)


def test_rows_that_leave_the_window_end_what_held() -> None:
    clock = Clock()
    one, watch = alarm(clock, rule("n(window=1m) >= 5", cooldown="1s"))
    watch.answered(SUBJECT, rows("a", 5))
    assert len(one.look()) == 1
    clock.now += 61
    assert one.look() == []
    assert one.states()[0].holds is False


def test_silence_can_be_watched() -> None:
    clock = Clock()
    one, watch = alarm(clock, rule("n(window=1m) == 0"))
    watch.answered(SUBJECT, rows("a", 1))
    assert one.look() == []
    clock.now += 61
    assert len(one.look()) == 1


def test_what_is_not_known_neither_holds_nor_does_its_opposite() -> None:
    clock = Clock()
    unknown = "share(label=a, window=1m) > 0.5"
    for when in (unknown, f"not {unknown}", f"{unknown} and n == 0", f"not ({unknown} or n > 0)"):
        one, _ = alarm(clock, rule(when))
        assert one.look() == []
        assert one.states()[0].holds is None
    for when in (f"{unknown} or n == 0", f"not ({unknown} and n > 0)"):
        one, _ = alarm(clock, rule(when))
        assert len(one.look()) == 1


def test_a_bundle_that_is_not_there_is_not_known() -> None:
    one, _ = alarm(Clock(), Rule(name="x", bundle="none", when="n(window=1m) == 0"))
    assert one.look() == []
    assert one.states()[0].holds is None


def test_requests_errors_and_latency_are_those_of_the_bundle() -> None:
    clock = Clock()
    conditions = {
        "requests == 10": True,
        "errors == 2": True,
        "share(errors) > 19%": True,
        "share(errors) > 20%": False,
        "mean(latency) > 280ms": True,
        "latency(quantile=0.5) < 150ms": True,
        "latency > 1s": True,
    }
    one, watch = alarm(clock, *(rule(when, name=when, window="1m") for when in conditions))
    for place in range(10):
        watch.requested("reviews", 1.1 if place > 7 else 0.1, failed=place > 7)
    watch.requested("another", 9.0, failed=True)
    one.look()
    assert {state.rule.name: state.holds for state in one.states()} == conditions


def test_means_of_confidence_and_length() -> None:
    clock = Clock()
    one = rule("mean(confidence) < 0.6 and mean(length) > 29 and share(unknown) >= 5%", window="1m")
    _, watch = alarm(clock, one)
    watch.answered(SUBJECT, [Seen(("a",), 0.5, 20, 1, 10), Seen(("a",), 0.6, 40, 0, 10)])
    found = judge(one.condition, watch, SUBJECT)
    assert found.holds
    assert list(found.values.values()) == pytest.approx([0.55, 30, 0.05])


def test_drift_is_measured_from_the_bundles_reference() -> None:
    clock = Clock()
    reference = reference_of(tally_of(rows("a", 50) + rows("b", 50)))
    one, watch = alarm(clock, rule("drift(labels, window=1m) > 0.3"), reference=reference)
    watch.answered(SUBJECT, rows("a", 10) + rows("b", 10))
    assert one.look() == []
    watch.answered(SUBJECT, rows("a", 200))
    assert len(one.look()) == 1


def test_without_a_reference_the_first_rows_stand_in_and_nothing_is_known_before() -> None:
    clock = Clock()
    one, watch = alarm(clock, rule("drift(labels, window=1m) > 0.3"))
    watch.answered(SUBJECT, rows("a", FIRST_ROWS - 1))
    one.look()
    assert one.states()[0].holds is None
    watch.answered(SUBJECT, rows("b", 1) + rows("b", 5))
    one.look()
    compared = watch.compared(SUBJECT)
    assert compared is not None
    assert (compared.source, compared.complete, compared.tally.rows) == ("first rows", True, FIRST_ROWS)
    assert dict(compared.tally.labels) == {"a": FIRST_ROWS - 1, "b": 1}
    assert one.states()[0].holds is False
    clock.now += 61
    watch.answered(SUBJECT, rows("b", 20))
    assert len(one.look()) == 1


def test_what_ends_is_forgotten_and_what_is_not_watched_is_not_counted() -> None:
    clock = Clock()
    _, watch = alarm(clock, rule("n(window=1m) == 0"))
    watch.end([])
    watch.answered(SUBJECT, rows("a", 1))
    watch.requested("reviews", 0.1, failed=False)
    assert watch.subjects() == []
    assert watch.rows(SUBJECT, 60.0) is None
    assert watch.requests("reviews", 60.0) is None
    assert watch.compared(SUBJECT) is None
