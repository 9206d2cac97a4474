"""Rows cut into two parts that keep the shares of every stratum. Knows rows only by their numbers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptune.core.types import Example

FEW = 4
"""A stratum of at least so many rows gives the smaller part at least one."""

Numbers = NDArray[np.int64]


def cut(
    strata: Sequence[str], share: float, seed: int, groups: Sequence[str] | NDArray[Any] | None = None
) -> tuple[list[int], list[int]]:
    """Indices of the rows that stay and of those cut off, about `share` of them, each in order.

    Every stratum gives its share, to within a row, but never its last row; rows of one group go the same way. The same
    arguments give the same cut, on every machine. Raises ValueError for a share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"share is {share}, expected at least 0 and less than 1")
    names, stratum_of_row = _named(strata)
    group_of = np.arange(len(strata)) if groups is None else numbered(groups)
    sizes = np.bincount(group_of)
    stratum_of = _strata_of_groups(stratum_of_row, group_of, len(sizes))
    by_stratum = _by_stratum(stratum_of, len(names))
    found = {names[stratum]: members for stratum, members in by_stratum}
    quotas = _quotas({name: sizes[members] for name, members in found.items()}, share, seed)
    taken = np.zeros(len(sizes), dtype=bool)
    for name, members in found.items():
        taken[_pick(members, sizes, quotas[name], random.Random(f"{seed} {name}"))] = True
    off = taken[group_of]
    return np.flatnonzero(~off).tolist(), np.flatnonzero(off).tolist()


def numbered(values: Sequence[str] | NDArray[Any]) -> Numbers:
    """(R,) equal values by one number, numbers in the order in which values first appear."""
    if not isinstance(values, np.ndarray):
        return _named(values)[1]
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def _named(values: Sequence[str]) -> tuple[list[str], Numbers]:
    """The different values in the order in which they appear, and the place of each row's among them."""
    names = {value: place for place, value in enumerate(dict.fromkeys(values))}
    return list(names), np.fromiter((names[value] for value in values), dtype=np.int64, count=len(values))


def _strata_of_groups(strata: Numbers, group_of: Numbers, groups: int) -> Numbers:
    """(G,) the most frequent stratum of a group's rows; of several the one that comes first."""
    _, first = np.unique(group_of, return_index=True)
    found = strata[first] if groups else np.zeros(0, dtype=np.int64)
    mixed = np.unique(group_of[strata != found[group_of]])
    rows = np.flatnonzero(np.isin(group_of, mixed))
    counts: dict[int, Counter[int]] = {}
    for group, stratum in zip(group_of[rows].tolist(), strata[rows].tolist(), strict=True):
        counts.setdefault(group, Counter())[stratum] += 1
    for group, of in counts.items():
        found[group] = of.most_common(1)[0][0]
    return found


def _by_stratum(stratum_of: Numbers, strata: int) -> list[tuple[int, Numbers]]:
    """Every stratum that a group has, with its groups in order; strata in the order of their first groups."""
    order = np.argsort(stratum_of, kind="stable")
    ends = np.cumsum(np.bincount(stratum_of, minlength=strata))
    parts = [(stratum, part) for stratum, part in enumerate(np.split(order, ends[:-1])) if len(part)]
    return sorted(parts, key=lambda part: int(part[1][0]))


def same_text(example: Example) -> str:
    """Equal for examples that a model reads alike: their inputs, white space aside."""
    return joined(
        [plain(part) for part in (sequence.first, sequence.second) if part is not None]
        for sequence in example.sequences
    )


def joined(inputs: Iterable[Sequence[str]]) -> str:
    """The texts of each sequence as one, in which they can be told apart."""
    return "\x1f".join(["\x1e".join(texts) for texts in inputs])


def plain(part: str | tuple[str, ...]) -> str:
    """A text or words, white space aside."""
    return " ".join(part.split() if isinstance(part, str) else part)


def _quotas(sizes: dict[str, Numbers], share: float, seed: int) -> dict[str, int]:
    """How many rows each stratum gives: its share, rounded so that all together are nearest to the whole's share."""
    rows = {stratum: int(groups.sum()) for stratum, groups in sizes.items()}
    # What cannot be cut without taking everything: the largest group of a stratum stays.
    most = {stratum: rows[stratum] - int(groups.max()) for stratum, groups in sizes.items()}
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


def _pick(groups: Numbers, sizes: Numbers, quota: int, generator: random.Random) -> list[int]:
    """Groups of together at most `quota` rows, at random."""
    order = groups.tolist()
    generator.shuffle(order)
    picked = []
    for group, size in zip(order, sizes[order].tolist(), strict=True):
        if size <= quota:
            picked.append(group)
            quota -= size
    return picked
