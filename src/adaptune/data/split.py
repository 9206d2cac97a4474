"""Rows cut into two parts that keep the shares of every stratum. Knows rows only by their numbers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from adaptune.core.types import Example

FEW = 4
"""A stratum of at least so many rows gives the smaller part at least one."""


def cut(
    strata: Sequence[str], share: float, seed: int, groups: Sequence[str] | None = None
) -> tuple[list[int], list[int]]:
    """Indices of the rows that stay and of those cut off, about `share` of them, each in order.

    Every stratum gives its share, to within a row, but never its last row; rows of one group go the same way. The same
    arguments give the same cut, on every machine. Raises ValueError for a share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"share is {share}, expected at least 0 and less than 1")
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups if groups is not None else map(str, range(len(strata)))):
        members.setdefault(group, []).append(index)
    stratum_of = {group: _stratum([strata[index] for index in rows]) for group, rows in members.items()}
    by_stratum: dict[str, list[str]] = {}
    for group, stratum in stratum_of.items():
        by_stratum.setdefault(stratum, []).append(group)
    sizes = {stratum: [len(members[group]) for group in found] for stratum, found in by_stratum.items()}
    quotas = _quotas(sizes, share, seed)
    taken: set[int] = set()
    for stratum, found in by_stratum.items():
        for group in _pick(found, members, quotas[stratum], random.Random(f"{seed} {stratum}")):
            taken.update(members[group])
    return [index for index in range(len(strata)) if index not in taken], sorted(taken)


def same_text(example: Example) -> str:
    """Equal for examples that a model reads alike: their inputs, white space aside."""
    return "\x1f".join(
        "\x1e".join(_plain(part) for part in (sequence.first, sequence.second) if part is not None)
        for sequence in example.sequences
    )


def _plain(part: str | tuple[str, ...]) -> str:
    return " ".join(part.split() if isinstance(part, str) else part)


def _stratum(strata: Sequence[str]) -> str:
    """The most frequent; of several the first."""
    return strata[0] if len(strata) == 1 else Counter(strata).most_common(1)[0][0]


def _quotas(sizes: dict[str, list[int]], share: float, seed: int) -> dict[str, int]:
    """How many rows each stratum gives: its share, rounded so that all together are nearest to the whole's share."""
    rows = {stratum: sum(groups) for stratum, groups in sizes.items()}
    # What cannot be cut without taking everything: the largest group of a stratum stays.
    most = {stratum: sum(groups) - max(groups) for stratum, groups in sizes.items()}
    least = {stratum: int(share > 0 and count >= FEW) for stratum, count in rows.items()}
    quotas = {stratum: min(most[stratum], max(least[stratum], int(share * rows[stratum]))) for stratum in rows}
    order = list(rows)
    random.Random(f"{seed}").shuffle(order)
    order.sort(key=lambda stratum: quotas[stratum] - share * rows[stratum])
    wanted = round(share * sum(rows.values())) or int(share > 0)
    for stratum in order:
        if sum(quotas.values()) >= wanted:
            break
        quotas[stratum] += int(quotas[stratum] < most[stratum])
    return quotas


def _pick(groups: Sequence[str], members: dict[str, list[int]], quota: int, generator: random.Random) -> list[str]:
    """Groups of together at most `quota` rows, at random."""
    order = list(groups)
    generator.shuffle(order)
    picked = []
    for group in order:
        if len(members[group]) <= quota:
            picked.append(group)
            quota -= len(members[group])
    return picked
