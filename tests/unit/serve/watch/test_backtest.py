"""Rules on a literal history: what would have come, and what would not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adaptune.bundle.reference import reference_of
from adaptune.bundle.tally import Seen, tally_of
from adaptune.cli import app
from adaptune.core.errors import AdaptuneError, DataError
from adaptune.serve.watch.backtest import Happened, backtest, read_history
from adaptune.serve.watch.rules import Rule

RULE = Rule(
    name="too negative", bundle="reviews", when="share(label=negative, window=15m) > 0.4 and n >= 5", cooldown="30m"
)
NOON = 1_800_000_000.0 + 4 * 3600


def happened(minute: float, label: str, **more: Any) -> Happened:
    return Happened(time=NOON + 60 * minute, bundle="reviews", label=label, **more)


def alerts(rules: list[Rule], history: list[Happened], **more: Any) -> list[tuple[str, str]]:
    found = backtest(rules, history, more.pop("references", {}), every=more.pop("every", 5.0))
    return [(one.rule, one.time[11:19]) for one in found]


def test_an_alert_comes_with_the_first_look_after_the_share_is_reached_and_again_after_the_cooldown() -> None:
    quiet = [happened(minute, "positive") for minute in range(6)]
    loud = [happened(minute, "negative") for minute in (6, 7, 8, 9)]
    later = [happened(minute, "negative") for minute in range(10, 50)]
    # At minute 10 five of eleven rows are negative: 0.45.
    assert alerts([RULE], quiet + loud + later) == [("too negative", "12:10:00"), ("too negative", "12:40:00")]


def test_too_few_rows_raise_nothing() -> None:
    assert alerts([RULE], [happened(minute, "negative") for minute in (0, 5, 10, 15, 20, 25)]) == []


def test_rows_of_other_bundles_raise_nothing() -> None:
    others = [Happened(time=NOON + minute, bundle="others", label="negative") for minute in range(50)]
    assert alerts([RULE], others) == []


def test_rows_leave_the_window_in_simulated_time() -> None:
    rule = Rule(name="silence", bundle="reviews", when="n(window=10m) == 0", cooldown="1h")
    history = [happened(0, "a"), happened(30, "a")]
    assert alerts([rule], history) == [("silence", "12:10:00")]


def test_rules_are_looked_at_as_often_as_is_said() -> None:
    rule = Rule(name="any", bundle="reviews", when="n(window=10m) > 0", cooldown="1s")
    history = [happened(0.5, "a"), happened(3, "a")]
    assert alerts([rule], history, every=60.0) == [("any", f"12:0{minute}:00") for minute in (1, 2, 3)]


def test_errors_and_latency_are_those_of_rows_with_a_status() -> None:
    rule = Rule(name="failing", bundle="reviews", when="share(errors, window=5m) >= 50% and latency > 2s")
    fine = [Happened(time=NOON + second, bundle="reviews", status=200, seconds=0.1) for second in range(10)]
    failing = [Happened(time=NOON + 60 + second, bundle="reviews", status=503, seconds=3.0) for second in range(20)]
    assert alerts([rule], fine + failing) == [("failing", "12:01:10")]
    assert alerts([rule], fine) == []


def test_drift_is_measured_from_a_reference_where_one_is_given() -> None:
    rule = Rule(name="longer", bundle="reviews", when="drift(length, window=1h) > 0.5 and n > 3")
    history = [happened(minute, "a", length=400) for minute in range(10)]
    reference = reference_of(tally_of([Seen(("a",), characters=40)] * 20))
    assert alerts([rule], history, references={("reviews", None): reference}) == [("longer", "12:03:00")]
    assert alerts([rule], history) == []


def test_answers_are_read_as_the_server_gives_them() -> None:
    row = Happened(time=0, bundle="x", answer={"labels": [{"label": "a"}, {"label": "b"}], "probability": 0.7})
    assert row.seen() == Seen(("a", "b"), 0.7)
    assert Happened(time=0, bundle="x", labels=()).seen() == Seen(("(none)",))
    assert Happened(time=0, bundle="x", label="a", confidence=0.2, text="four").seen() == Seen(("a",), 0.2, 4)
    assert Happened(time="1970-01-01T01:00:00+01:00", bundle="x").time == 0  # type: ignore[arg-type]
    assert Happened(time="1970-01-01T00:01:00", bundle="x").time == 60  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "row 2 is no JSON"),
        ("[]", "row 2: Input should be"),
        ('{"bundle": "x"}', "row 2, time: Field required"),
        ('{"time": "noon", "bundle": "x"}', "row 2, time"),
        ('{"time": 5, "bundle": "x"}', "row 2 happened before the row above it"),
        ('{"time": 50, "bundle": "x", "lable": "a"}', "row 2, lable: Extra inputs"),
        ('{"time": 50, "bundle": "x", "label": "a", "labels": []}', "row 2: Value error, label, labels and answer"),
        ('{"time": 50, "bundle": "x", "text": "a", "length": 1}', "text and length say the same"),
        ('{"time": 50, "bundle": "x", "seconds": 1}', "give its status, too"),
    ],
)
def test_a_row_that_does_not_read_is_refused_by_number(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text('{"time": 10, "bundle": "x", "label": "a"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        list(read_history(file))
    assert message in str(caught.value)


RULES = """
rules:
  - {name: too negative, bundle: reviews, when: "share(label=negative, window=15m) > 0.4 and n >= 5"}
  - {name: strange, bundle: reviews, when: "drift(embedding, window=15m) > 1"}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    rows = [{"time": NOON + 60 * minute, "bundle": "reviews", "label": "negative"} for minute in range(8)]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path


def test_the_command_prints_one_line_an_alert(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = CliRunner().invoke(app, ["watch", "backtest", str(desk / "rules.yaml"), str(desk / "history.jsonl")])
    assert done.exit_code == 0, done.output
    [line] = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert json.loads(line)["time"] == "2027-01-15T12:04:00+00:00"


def test_the_command_checks_rules(desk: Path) -> None:
    done = CliRunner().invoke(app, ["watch", "check", str(desk / "rules.yaml")])
    assert done.exit_code == 0, done.output
    assert "too negative" in done.stdout
    assert "windows 15m" in done.stdout
    (desk / "rules.yaml").write_text("rules: [{name: a, bundle: b, when: n > 1}]")
    done = CliRunner().invoke(app, ["watch", "check", str(desk / "rules.yaml")])
    assert isinstance(done.exception, AdaptuneError)
    assert "rule 1 'a', when, column 1: no window is named" in str(done.exception)
