"""Shares of several tasks, and the batches of every epoch that keep them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from adaptune.core.batch import Encoded
from adaptune.data.batches import Batches, Budget
from adaptune.data.mixing import Mixed, Mixing

ROWS = {"large": 64, "small": 16}


def _batches(rows: int, seed: int) -> Batches:
    empty = np.array([], dtype=np.int32)
    encoded = [
        Encoded(row, np.array([1, row, 2], dtype=np.int32), None, empty, empty, np.array([0], dtype=np.int64))
        for row in range(rows)
    ]
    return Batches(encoded, Budget(tokens=1000, rows=4), pad=0, seed=seed)


def _mixed(mixing: Mixing, *, seed: int = 1, together: int = 1) -> Mixed:
    tasks = {name: _batches(rows, seed + place) for place, (name, rows) in enumerate(ROWS.items())}
    return Mixed(tasks, ROWS, mixing, seed=seed, together=together)


def _seen(mixed: Mixed, epochs: range) -> dict[str, Counter[int]]:
    found: dict[str, Counter[int]] = {name: Counter() for name in ROWS}
    for epoch in epochs:
        for batch in mixed(epoch):
            assert batch.task is not None
            found[batch.task].update(batch.rows.tolist())
    return found


@pytest.mark.parametrize(
    ("mixing", "large"),
    [
        (Mixing(), 64 / 80),
        (Mixing(by="temperature"), 8 / 12),
        (Mixing(by="temperature", temperature=3.0), 64 ** (1 / 3) / (64 ** (1 / 3) + 16 ** (1 / 3))),
        (Mixing(by="temperature", temperature=1.0), 64 / 80),
        (Mixing(by="equal"), 0.5),
    ],
    ids=["proportional", "temperature 2", "temperature 3", "temperature 1", "equal"],
)
def test_shares_are_those_of_raffel_and_others(mixing: Mixing, large: float) -> None:
    shares = mixing.shares(ROWS)
    assert shares == {"large": pytest.approx(large), "small": pytest.approx(1 - large)}
    order = _mixed(mixing).order(0)
    assert order.count("large") / len(order) == pytest.approx(large, abs=0.02)


def test_a_proportional_epoch_shows_every_row_once() -> None:
    seen = _seen(_mixed(Mixing()), range(1))
    assert seen == {name: Counter(range(rows)) for name, rows in ROWS.items()}


def test_a_small_task_goes_through_its_rows_again_and_again_and_misses_none() -> None:
    mixed = _mixed(Mixing(by="equal"))
    assert Mixing(by="equal").passes(ROWS) == {"large": pytest.approx(40 / 64), "small": pytest.approx(40 / 16)}
    seen = _seen(mixed, range(2))
    assert set(seen["small"].values()) == {5}
    assert set(seen["large"].values()) <= {1, 2}
    assert len(seen["large"]) == 64


def test_batches_are_a_function_of_seed_and_epoch_alone() -> None:
    one, other = _mixed(Mixing(by="equal")), _mixed(Mixing(by="equal"))
    list(one(0))
    assert _contents(one, 3) == _contents(other, 3)
    assert _contents(one, 3) != _contents(one, 4)
    assert _contents(one, 3) != _contents(_mixed(Mixing(by="equal"), seed=2), 3)


@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_skipped_batches_are_left_out_and_change_no_other(epoch: int) -> None:
    mixed = _mixed(Mixing(by="temperature"))
    whole = _contents(mixed, epoch)
    assert len(whole) == mixed.per_epoch()
    for skip in (1, 7, len(whole)):
        assert _contents(mixed, epoch, skip) == whole[skip:]


def test_the_batches_of_one_step_are_of_one_task() -> None:
    mixed = _mixed(Mixing(), together=3)
    order = mixed.order(0)
    assert len(order) == mixed.per_epoch()
    assert len(order) % 3 == 0
    assert all(len(set(order[start : start + 3])) == 1 for start in range(0, len(order), 3))


def test_every_task_is_seen_in_every_epoch_however_small_its_share() -> None:
    rows = {"large": 4000, "small": 1}
    mixed = Mixed({name: _batches(n, 1) for name, n in rows.items()}, rows, Mixing(), seed=1, together=8)
    assert mixed.order(0).count("small") == 8


def test_a_temperature_that_would_be_ignored_is_refused() -> None:
    with pytest.raises(ValidationError, match="a temperature is for by=temperature, and by is 'equal'"):
        Mixing(by="equal", temperature=2.0)


def _contents(mixed: Mixed, epoch: int, skip: int = 0) -> list[tuple[str | None, list[int]]]:
    return [(batch.task, batch.rows.tolist()) for batch in mixed(epoch, skip)]
