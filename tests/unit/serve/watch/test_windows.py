"""Sliding windows against sums over all rows, and how little they hold."""

from __future__ import annotations

import numpy as np
import pytest

from adaptune.bundle.tally import CONFIDENCES, LENGTHS, Seen, Tally
from adaptune.serve.watch.windows import LATENCIES, SLICES, Requests, Window


def test_a_window_holds_the_rows_of_its_last_sixty_slices() -> None:
    generator = np.random.default_rng(7)
    times = np.sort(generator.uniform(1_000_000, 1_004_000, 3000))
    labels = generator.choice(["a", "b", "c"], 3000)
    confidences, lengths = generator.uniform(0, 1, 3000), generator.integers(0, 40_000, 3000)
    vectors = generator.normal(size=(3000, 4))
    window, checked = Window(900.0, Tally), 0
    for place, time in enumerate(times.tolist()):
        tally = window.current(time)
        tally.add(Seen((str(labels[place]),), float(confidences[place]), int(lengths[place]), 1, 10))
        tally.add_vectors(1, vectors[place])
        if place % 250 == 249:
            found = window.total(time + 5)
            # Slices of 15 s: those whose number is larger than that of now less sixty.
            inside = (times <= time) & (times // 15 > (time + 5) // 15 - SLICES)
            assert found.rows == inside.sum()
            assert dict(found.labels) == {
                name: int((labels[inside] == name).sum()) for name in ("a", "b", "c") if (labels[inside] == name).any()
            }
            assert found.confidence_sum == pytest.approx(confidences[inside].sum())
            assert found.confidence.tolist() == np.histogram(confidences[inside], CONFIDENCES)[0].tolist()
            edges = np.append(LENGTHS[:-1], np.inf)
            assert found.length.tolist() == np.histogram(lengths[inside], edges)[0].tolist()
            assert found.length_sum == lengths[inside].sum()
            assert (found.unknown, found.tokens) == (inside.sum(), 10 * inside.sum())
            assert found.vector == pytest.approx(vectors[inside].sum(axis=0))
            checked += 1
    assert checked == 12


def test_a_window_covers_its_length_but_for_a_sixtieth() -> None:
    window = Window(600.0, Requests)
    window.current(1000.0).add(0.1, failed=False)
    assert window.total(1000.0 + 590).requests == 1
    assert window.total(1000.0 + 600).requests == 0


def test_a_window_never_holds_more_slices_than_it_has() -> None:
    window = Window(60.0, Requests)
    for second in range(100_000):
        window.current(float(second)).add(0.1, failed=False)
    assert len(window._slices) == SLICES
    assert window.total(99_999.0).requests == 60


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    window = Window(60.0, Requests)
    window.current(1000.0).add(0.1, failed=False)
    window.current(990.0).add(0.1, failed=True)
    found = window.total(1000.0)
    assert (found.requests, found.errors) == (2, 1)


def test_a_sum_that_was_read_is_not_changed_by_later_rows() -> None:
    window = Window(60.0, Tally)
    window.current(5.0).add(Seen(("a",)))
    before = window.total(5.0)
    window.current(5.0).add(Seen(("a",)))
    assert (before.rows, window.total(5.0).rows) == (1, 2)


def test_quantiles_lie_within_their_slice_of_time() -> None:
    seconds = np.random.default_rng(3).lognormal(-3, 1, 5000)
    sums = Requests()
    for one in seconds.tolist():
        sums.add(one, failed=False)
    assert sums.mean() == pytest.approx(seconds.mean())
    for share in (0.05, 0.5, 0.95, 0.99):
        assert sums.quantile(share) == pytest.approx(np.quantile(seconds, share), rel=0.13)


def test_of_no_requests_nothing_is_known() -> None:
    assert (Requests().mean(), Requests().quantile(0.5)) == (None, None)


def test_very_short_and_very_long_requests_are_counted() -> None:
    sums = Requests()
    sums.add(0.0, failed=False)
    sums.add(1e6, failed=True)
    assert (sums.latency[0], sums.latency[-1]) == (1, 1)
    assert sums.quantile(0.99) == pytest.approx(LATENCIES[-1], rel=0.1)
