from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from adaptune.tasks._ranking import measure


def _plain(order: list[int], k: int) -> tuple[float, float, float]:
    """Reciprocal rank, nDCG and recall of grades in the order in which they were ranked."""
    reciprocal = next((1 / place for place, grade in enumerate(order, 1) if grade > 0), 0.0)
    gains = [
        sum(grade / np.log2(place + 1) for place, grade in enumerate(some[:k], 1)) for some in (order, _best(order))
    ]
    rights = [sum(grade > 0 for grade in some) for some in (order[:k], order)]
    return reciprocal, gains[0] / gains[1], rights[0] / rights[1]


def _best(order: list[int]) -> list[int]:
    return sorted(order, reverse=True)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("k", [1, 3, 10, 100])
def test_each_measure_is_what_a_plain_loop_finds(seed: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    grades = [3, *generator.integers(0, 3, 14).tolist()]
    scores = generator.permutation(15).astype(float).tolist()
    texts = [f"text {number}" for number in range(15)]
    found = measure(list(zip(texts, scores, strict=True)), list(zip(texts, grades, strict=True)), k)
    order = [grade for _, grade in sorted(zip(scores, grades, strict=True), reverse=True)]
    assert tuple(found) == pytest.approx(_plain(order, k))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("k", [1, 3, 10])
def test_discounted_gain_is_that_of_scikit_learn(seed: int, k: int, ties: bool) -> None:
    generator = np.random.default_rng(seed)
    grades = [2, *generator.integers(0, 4, 11).tolist()]
    scores = generator.integers(0, 3, 12).astype(float) if ties else generator.normal(size=12)
    texts = [str(number) for number in range(12)]
    found = measure(list(zip(texts, scores.tolist(), strict=True)), list(zip(texts, grades, strict=True)), k)
    assert found.ndcg == pytest.approx(ndcg_score([grades], [scores], k=k))


@pytest.mark.parametrize("grades", [(1, 0, 0), (0, 1, 2), (2, 0, 1, 0)])
@pytest.mark.parametrize("scores", [(1, 1, 1, 1), (2, 1, 1, 1), (2, 2, 1, 1)])
def test_equal_scores_count_as_all_their_orders_do_on_average(grades: tuple[int, ...], scores: tuple[int, ...]) -> None:
    texts = [str(number) for number in range(len(grades))]
    pairs = list(zip(scores[: len(grades)], grades, strict=True))
    orders = [[grade for _, grade in one] for one in permutations(pairs) if _descends([score for score, _ in one])]
    mean = np.mean([_plain(order, 2) for order in orders], axis=0)
    ranked = [(text, float(score)) for text, (score, _) in zip(texts, pairs, strict=True)]
    assert tuple(measure(ranked, list(zip(texts, grades, strict=True)), 2)) == pytest.approx(tuple(mean))


def _descends(scores: list[int]) -> bool:
    return scores == sorted(scores, reverse=True)


def test_a_right_text_that_is_not_ranked_is_missed() -> None:
    found = measure([("a", 2.0), ("b", 1.0)], [("b", 1.0), ("z", 1.0)], 10)
    assert found.reciprocal_rank == 0.5
    assert found.recall == 0.5
    assert found.ndcg == pytest.approx(np.log2(3) ** -1 / (1 + np.log2(3) ** -1))
    assert tuple(measure([("a", 2.0)], [("z", 1.0)], 10)) == (0.0, 0.0, 0.0)
