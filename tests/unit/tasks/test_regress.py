from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from adaptune.core.errors import DataError
from adaptune.core.types import Answer, Example, Row
from adaptune.evaluate.intervals import interval
from adaptune.tasks.regress import Regress

TASK = Regress()


def _numbers(rows: int = 40, offset: float = 0.0) -> tuple[list[float], list[float]]:
    """Two sides that go together, with ties."""
    generator = np.random.default_rng(3)
    expected = generator.integers(0, 11, rows) / 2
    predicted = 0.7 * expected + generator.normal(size=rows)
    return list(predicted + offset), list(expected + offset)


def _rows(*numbers: object) -> list[Example]:
    return [
        TASK.example(Row("rows.csv", line, {"text": f"text {line}", "number": n})) for line, n in enumerate(numbers, 2)
    ]


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_the_scores_are_those_of_scipy(offset: float) -> None:
    predicted, expected = _numbers(offset=offset)
    found = TASK.score(predicted, expected).values
    assert found["pearson"] == pytest.approx(pearsonr(predicted, expected).statistic)
    assert found["spearman"] == pytest.approx(spearmanr(predicted, expected).statistic)
    assert found["mae"] == pytest.approx(sum(abs(a - b) for a, b in zip(predicted, expected, strict=True)) / 40)


def test_sums_over_any_rows_give_their_correlation() -> None:
    predicted, expected = _numbers()
    counts = TASK.counts(predicted, expected)
    chosen = [3, 3, 7, 12, 25, 39, 0]
    some = pearsonr([predicted[row] for row in chosen], [expected[row] for row in chosen]).statistic
    assert float(TASK.metric_of(counts[chosen].sum(axis=0))) == pytest.approx(some)


def test_a_constant_answer_scores_0() -> None:
    assert TASK.score([3.1] * 4, [1.0, 2.0, 4.0, 3.0]).values == pytest.approx(
        {"pearson": 0, "spearman": 0, "mae": 1.05}
    )


def test_the_interval_is_that_of_a_plain_bootstrap() -> None:
    predicted, expected = _numbers(200)
    generator = np.random.default_rng(5)
    plain = []
    for _ in range(2000):
        rows = generator.integers(0, 200, 200)
        plain.append(pearsonr(np.array(predicted)[rows], np.array(expected)[rows]).statistic)
    low, high = interval(TASK, predicted, expected, samples=2000, seed=1)
    assert (low, high) == pytest.approx(tuple(np.quantile(plain, [0.025, 0.975])), abs=0.02)


def test_labels_keep_mean_and_deviation_of_the_training_rows() -> None:
    labels = TASK.labels(_rows(1, "2", 6))
    assert labels.names == ("number",)
    assert labels.moments == pytest.approx((3.0, np.std([1, 2, 6])))


def test_numbers_that_do_not_differ_are_refused() -> None:
    with pytest.raises(DataError, match=r"the training data have only the number 2; .* must differ"):
        TASK.labels(_rows(2, 2.0))


def test_a_text_in_place_of_a_number_is_named() -> None:
    with pytest.raises(DataError, match=r"rows.csv, row 3, column 'number': 'high' is no finite number"):
        _rows(1, "high")


def test_tenths_of_the_rows_are_strata() -> None:
    strata = TASK.strata(_rows(*range(50), 49))
    assert [strata.count(part) for part in sorted(set(strata))] == [6, 5, 5, 5, 5, 5, 5, 5, 5, 5]


def test_an_answer_is_described_as_its_number() -> None:
    assert TASK.describe(_rows(1)[0], Answer(2.5, None)) == {"number": 2.5}
