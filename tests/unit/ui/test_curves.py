"""Logs that are read while they are written: each line once, and all again where the run dropped some."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptune.core.run_folder import RunDir
from adaptune.ui.curves import MOST, read_part, steps_in


def step(number: int, **more: float) -> dict[str, float]:
    return {"step": number, "epoch": number / 10, "loss": 1.0, "learning_rate": 0.1, "seconds": 0.5} | more


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.begin("seed: 1", {})
    with run.new_checkpoint() as folder:
        (folder / "state").write_text("weights")
    return run


def numbers(part: object) -> list[int]:
    return [int(one["step"]) for one in part.records]  # type: ignore[attr-defined]


def test_what_is_appended_is_read_once(run: RunDir) -> None:
    assert read_part(run.steps).reset
    run.log_step(step(1))
    first = read_part(run.steps)
    assert (numbers(first), first.reset) == ([1], True)
    again = read_part(run.steps, first.cursor)
    assert (numbers(again), again.reset) == ([], False)
    for number in (2, 3):
        run.log_step(step(number))
    assert numbers(read_part(run.steps, again.cursor)) == [2, 3]


def test_half_a_line_waits_for_its_end(run: RunDir) -> None:
    run.log_step(step(1))
    with run.steps.open("ab") as log:
        log.write(b'{"step": 2, "ep')
    first = read_part(run.steps)
    assert numbers(first) == [1]
    with run.steps.open("ab") as log:
        log.write(b'och": 1}\n')
    assert numbers(read_part(run.steps, first.cursor)) == [2]


@pytest.mark.parametrize("later", [1, 20], ids=["shorter than before", "longer than before"])
def test_a_run_that_goes_on_from_its_checkpoint_is_read_anew(run: RunDir, later: int) -> None:
    for number in range(1, 11):
        run.log_step(step(number))
    before = read_part(run.steps)
    run.go_on(4)
    for number in range(5, 5 + later):
        run.log_step(step(number, loss=2.0))
    after = read_part(run.steps, before.cursor)
    assert after.reset
    assert numbers(after) == list(range(1, 5 + later))


@pytest.mark.parametrize("cursor", ["x", "5", "5.x", "-1.2", "99999999.1", "9" * 50 + ".1", "0.0"])
def test_a_cursor_that_nobody_gave_begins_anew(run: RunDir, cursor: str) -> None:
    run.log_step(step(1))
    assert numbers(read_part(run.steps, cursor)) == [1]


def test_many_steps_are_thinned_to_their_means(run: RunDir) -> None:
    count = 2 * MOST
    for number in range(1, count + 1):
        run.log_step(step(number, loss=float(number % 2)))
    run.log_step({"step": 0, "approach": "contrast", "loss": 5.0})
    part = steps_in(read_part(run.steps))
    assert len(part.records) == MOST
    assert {one["loss"] for one in part.records} == {0.5}
    assert sum(one["seconds"] for one in part.records) == pytest.approx(0.5 * count)
    assert part.records[-1]["step"] == count
