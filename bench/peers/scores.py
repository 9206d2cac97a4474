"""How answers on validation rows are scored while peers train, the same for all. Standard library alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

Entity = tuple[int, int, str]


def score(kind: str, predicted: Sequence[Any], expected: Sequence[Any]) -> float:
    """The metric of a kind of task; larger is better, 1 perfect.

    For texts to be written `predicted` holds, row by row, the summed log-probability of its tokens and their number.
    """
    if kind == "classify":
        return sum(a == b for a, b in zip(predicted, expected, strict=True)) / len(expected)
    if kind == "tag":
        return entity_f1(predicted, expected)
    if kind == "regress":
        return pearson(predicted, expected)
    return math.exp(sum(total for total, _ in predicted) / sum(tokens for _, tokens in predicted))


def entity_f1(predicted: Sequence[Sequence[str]], expected: Sequence[Sequence[str]]) -> float:
    """Of whole entities, over all sentences."""
    right = given = wanted = 0
    for found, true in zip(predicted, expected, strict=True):
        mine, theirs = set(entities(found)), set(entities(true))
        right, given, wanted = right + len(mine & theirs), given + len(mine), wanted + len(theirs)
    return 2 * right / (given + wanted) if right else 0.0


def entities(tags: Sequence[str]) -> list[Entity]:
    """First word, the one after the last, and type, as seqeval counts: an I without its B begins an entity."""
    found: list[Entity] = []
    start, kind = 0, ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if kind and (prefix != "I" or name != kind):
            found.append((start, place, kind))
            kind = ""
        if prefix != "O" and not kind:
            start, kind = place, name
    return found


def pearson(predicted: Sequence[float], expected: Sequence[float]) -> float:
    """The correlation; 0 where either side does not vary."""
    mean_a, mean_b = math.fsum(predicted) / len(predicted), math.fsum(expected) / len(expected)
    a, b = [value - mean_a for value in predicted], [value - mean_b for value in expected]
    spread = math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / spread if spread else 0.0
