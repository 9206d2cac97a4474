"""How ranked texts are scored: reciprocal rank, discounted gain, recall. Knows no rows and no model."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Several
from itertools import groupby
from typing import NamedTuple

import numpy as np

Ranked = Several[tuple[str, float]]
"""Texts, each with its score; larger is better. Of what is expected: with its grade, 0 where it is not right."""


class Measures(NamedTuple):
    """What one row's ranking is worth, each from 0 to 1."""

    reciprocal_rank: float
    """1 / the place of the first right text; 0 where none is ranked."""
    ndcg: float
    """Discounted gain of the first k places over that of the best order (Järvelin and Kekäläinen, 2002), gain = grade,
    discount = 1 / log2(place + 1)."""
    recall: float
    """Share of the right texts that stand among the first k."""


def measure(ranked: Ranked, expected: Ranked, k: int) -> Measures:
    """Texts of equal scores count as all orders of them do on average, so that no order of the data is a gift."""
    grades = dict(expected)
    rights = sum(grade > 0 for grade in grades.values())
    ideal = sorted(grades.values(), reverse=True)[:k]
    best = sum(grade * discount for grade, discount in zip(ideal, _discounts(len(ideal)), strict=True))
    reciprocal, gain, found, before = 0.0, 0.0, 0.0, 0
    for tied in _by_score(ranked, grades):
        right = sum(grade > 0 for grade in tied)
        if right and not found and not reciprocal:
            reciprocal = _first_right(before, len(tied), right)
        shown = max(0, min(k - before, len(tied)))
        gain += sum(tied) / len(tied) * sum(_discounts(k)[before : before + shown])
        found += right * shown / len(tied)
        before += len(tied)
    return Measures(reciprocal, gain / best, found / rights)


def _by_score(ranked: Ranked, grades: dict[str, float]) -> Iterator[list[float]]:
    """The grades of the texts of each score, the highest score first."""
    for _, tied in groupby(sorted(ranked, key=lambda pair: -pair[1]), key=lambda pair: pair[1]):
        yield [grades.get(text, 0.0) for text, _ in tied]


def _discounts(k: int) -> list[float]:
    discounts: list[float] = (1 / np.log2(np.arange(2, k + 2))).tolist()
    return discounts


def _first_right(before: int, tied: int, right: int) -> float:
    """The mean reciprocal place of the first of `right` texts among `tied` in any order, behind `before` others."""
    mean, chance = 0.0, 1.0  # that none has come yet
    for place in range(tied - right + 1):
        here = right / (tied - place)
        mean += chance * here / (before + place + 1)
        chance *= 1 - here
    return mean
