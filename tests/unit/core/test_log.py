"""Notices and progress, on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from adaptune.core import log
from adaptune.core.log import Progress, notice, warn


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def plain() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=False, width=40), file


def test_notices_go_to_the_error_stream_as_one_line_without_markup(capsys: pytest.CaptureFixture[str]) -> None:
    text = "wrote [bold]100[/bold] rows to " + "a" * 200
    notice(text)
    captured = capsys.readouterr()
    assert captured.err == text + "\n"
    assert captured.out == ""


def test_warnings_say_that_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    warn("3 rows will be cut")
    assert capsys.readouterr().err == "warning: 3 rows will be cut\n"


def test_a_silenced_process_says_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log.console, "quiet", False)
    log.silence()
    notice("hello")
    assert capsys.readouterr().err == ""


def test_elsewhere_than_on_a_terminal_a_line_comes_every_ten_seconds() -> None:
    console, file = plain()
    clock = Clock()
    with Progress("train", total=100, console=console, clock=clock) as progress:
        for _ in range(21):
            clock.now += 1.0
            progress.advance(tokens=500, loss=0.123456)
    assert file.getvalue().splitlines() == [
        "train  10/100  loss 0.1235  500 tokens/s  1:30 left",
        "train  20/100  loss 0.1235  500 tokens/s  1:20 left",
    ]


def test_an_evaluation_has_a_line_of_its_own() -> None:
    console, file = plain()
    clock = Clock()
    with Progress("train", total=100, console=console, clock=clock) as progress:
        clock.now += 1.0
        progress.advance(loss=2.0)
        progress.show(accuracy=0.93)
    assert file.getvalue() == "train  1/100  loss 2  accuracy 0.93  1:39 left\n"


def test_a_plain_count_needs_no_total() -> None:
    console, file = plain()
    clock = Clock()
    with Progress("predict", total=None, unit="rows", console=console, clock=clock) as progress:
        clock.now += 11.0
        progress.advance(123456)
    assert file.getvalue() == "predict  123,456 rows\n"


def test_a_time_limit_shortens_the_time_left() -> None:
    clock = Clock()
    progress = Progress("train", total=1000, seconds=60, console=plain()[0], clock=clock)
    clock.now += 10.0
    progress.advance(10)
    assert progress.seconds_left == 50.0


def test_work_of_an_earlier_run_does_not_count_for_the_time_left() -> None:
    clock = Clock()
    progress = Progress("train", total=100, console=plain()[0], clock=clock)
    progress.start_at(50)
    assert progress.seconds_left is None
    clock.now += 10.0
    progress.advance(10)
    assert progress.seconds_left == 40.0


def test_on_a_terminal_a_bar_shows_figures() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=120)
    with Progress("train", total=3, console=console) as progress:
        progress.advance(loss=0.5)
    assert "1/3" in file.getvalue()
    assert "loss 0.5" in file.getvalue()


def test_in_a_notebook_progress_is_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, str]] = []

    class Cell:
        def update(self, line: dict[str, str], *, raw: bool) -> None:
            shown.append(("changed", line["text/plain"]))

    def display(line: dict[str, str], *, raw: bool, display_id: bool) -> Cell:
        shown.append(("new", line["text/plain"]))
        return Cell()

    monkeypatch.setattr(log.ipython_display, "display", display, raising=False)
    clock, file = Clock(), io.StringIO()
    with Progress("train", 300, console=Console(file=file, force_jupyter=True), clock=clock) as progress:
        for _ in range(300):
            clock.now += 0.1
            progress.advance(loss=0.5)
        progress.show(accuracy=0.9)
    assert [how for how, _ in shown].count("new") == 1
    assert len(shown) <= 30 / log.CELL_EVERY + 2
    assert "300/300" in shown[-1][1]
    assert "accuracy 0.9" in shown[-1][1]
    assert "\x1b" not in "".join(line for _, line in shown)
    assert file.getvalue() == ""
