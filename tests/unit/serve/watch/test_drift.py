"""Distances and probabilities against the library on the values themselves."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, ks_2samp

from adaptune.bundle.tally import CONFIDENCES, LENGTHS, NUMBERS, Seen, Tally, tally_of
from adaptune.serve.watch.drift import MOST_DRAWN, SIGNALS, distance, level, p_value, shares


def of(labels: dict[str, int]) -> Tally:
    return tally_of(Seen((name,)) for name, count in labels.items() for _ in range(count))


def test_labels_are_compared_by_their_shares() -> None:
    now, then = of({"a": 30, "b": 10, "c": 5}), of({"a": 50, "b": 50, "d": 20})
    assert distance("labels", now, then) == pytest.approx(jensenshannon([30, 10, 5, 0], [50, 50, 0, 20], base=2))
    table = [[30, 10, 5, 0], [50, 50, 0, 20]]
    assert p_value("labels", now, then) == pytest.approx(chi2_contingency(table).pvalue)


def test_equal_shares_are_no_distance_and_other_labels_are_all_of_it() -> None:
    assert distance("labels", of({"a": 3, "b": 6}), of({"a": 100, "b": 200})) == pytest.approx(0, abs=1e-7)
    assert distance("labels", of({"a": 3}), of({"b": 3})) == pytest.approx(1)
    assert p_value("labels", of({"a": 3}), of({"a": 9})) == 1


@pytest.mark.parametrize("signal", ["confidence", "length", "number"])
def test_histograms_are_compared_as_kolmogorov_and_smirnov_do(signal: str) -> None:
    generator = np.random.default_rng(5)
    if signal == "confidence":
        values = [generator.beta(5, 2, 400), generator.beta(6, 1, 300)]
        edges, rows = CONFIDENCES, [[Seen(confidence=float(one)) for one in some] for some in values]
    elif signal == "number":
        values = [generator.normal(0.0, 1.0, 400), generator.normal(0.4, 2.0, 300)]
        edges, rows = NUMBERS, [[Seen(number=float(one)) for one in some] for some in values]
    else:
        values = [generator.integers(5, 300, 400), generator.integers(20, 500, 300)]
        edges, rows = LENGTHS, [[Seen(characters=int(one)) for one in some] for some in values]
    now, then = (tally_of(some) for some in rows)
    binned = [np.searchsorted(edges, some, side="right") for some in values]
    expected = ks_2samp(*binned, method="asymp")
    assert distance(signal, now, then) == pytest.approx(expected.statistic)  # type: ignore[arg-type]
    assert p_value(signal, now, then) == pytest.approx(expected.pvalue)  # type: ignore[arg-type]
    assert level(signal, now) == pytest.approx(np.mean(values[0]))  # type: ignore[arg-type]


def test_of_many_rows_the_test_reads_a_sample_in_proportion() -> None:
    now = tally_of(Seen(confidence=0.025 + 0.05 * (place % 20)) for place in range(20_000))
    then = tally_of(Seen(confidence=0.025 + 0.05 * (place % 20)) for place in range(2000))
    assert MOST_DRAWN < 20_000
    assert distance("confidence", now, then) == pytest.approx(0)
    assert p_value("confidence", now, then) == pytest.approx(1, abs=1e-3)


def test_unknown_tokens_are_compared_by_their_share() -> None:
    now, then = tally_of([Seen(unknown=8, tokens=100)]), tally_of([Seen(unknown=5, tokens=500)])
    assert distance("unknown", now, then) == pytest.approx(0.07)
    assert p_value("unknown", now, then) == pytest.approx(chi2_contingency([[8, 92], [5, 495]]).pvalue)
    assert level("unknown", now) == pytest.approx(0.08)


def test_embeddings_are_compared_by_their_means_in_spreads() -> None:
    generator = np.random.default_rng(2)

    def vectors(count: int, shift: float) -> np.ndarray:
        found = generator.normal(size=(count, 8)) + np.eye(8)[0] * shift
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    then = vectors(1000, 3.0)
    spread = np.sqrt(((then - then.mean(axis=0)) ** 2).sum(axis=1).mean())
    reference = Tally()
    reference.add_vectors(1000, then.sum(axis=0))
    for shift in (3.0, 0.0):
        now = vectors(400, shift)
        tally = Tally()
        tally.add_vectors(400, now.sum(axis=0))
        expected = np.linalg.norm(now.mean(axis=0) - then.mean(axis=0)) / spread
        found = distance("embedding", tally, reference)
        assert found == pytest.approx(expected)
        assert (found < 3 * np.sqrt(1 / 400 + 1 / 1000)) == (shift == 3.0)
    assert p_value("embedding", tally, reference) is None


def test_of_nothing_nothing_is_known() -> None:
    full = tally_of([Seen(("a",), 0.5, 10, 1, 10, 0.3)])
    full.add_vectors(1, np.array([0.6, 0.8]))
    for signal in SIGNALS:
        assert distance(signal, Tally(), full) is None
        assert distance(signal, full, Tally()) is None
        assert p_value(signal, Tally(), full) is None
        assert level(signal, Tally()) is None
    other = Tally(vectors=1, vector=np.zeros(3))
    assert distance("embedding", full, other) is None


def test_shares_sum_to_one() -> None:
    assert shares(Counter(a=1, b=3)) == {"a": 0.25, "b": 0.75}
    assert shares({}) == {}
