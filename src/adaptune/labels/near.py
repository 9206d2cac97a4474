"""Texts that are nearly the same, by the share of three-letter sequences that they have in common. Knows no model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from adaptune.data.split import numbered

WORD = re.compile(r"\w+")
ALIKE = 0.8
"""Share of the different three-letter sequences of two texts that both must have (Jaccard similarity)."""
AT_ONCE = 2048
"""Rows that are compared with all others together."""


class Pair(NamedTuple):
    """Two rows, the earlier one first."""

    one: int
    other: int
    alike: float
    """In [0, 1], 1 for texts that differ in capitals, signs and white space at most."""


def plainly(text: str) -> str:
    """Without what makes no difference here: capitals, signs, white space."""
    return f" {' '.join(WORD.findall(text.lower()))} "


def near(texts: Sequence[str], kinds: Sequence[object], alike: float = ALIKE) -> list[Pair]:
    """Every pair of texts of different kinds that are so much alike, the most alike first.

    Exact. Two sets of which so large a share is common have one of their rarest elements in common: only pairs that
    do are looked at (Chaudhuri et al., 2006, A primitive operator for similarity joins, section 4.2).
    """
    plain = list(map(plainly, texts))
    if not any(len(text) > 2 for text in plain):
        return []
    sets = _by_rarity(CountVectorizer(analyzer="char", ngram_range=(3, 3), binary=True, lowercase=False), plain)
    sizes, kind_of = np.diff(sets.indptr), numbered(list(map(repr, kinds)))
    rare = _rarest(sets, sizes, alike)
    found: list[Pair] = []
    for start in range(0, len(plain), AT_ONCE):
        both = (rare[start : start + AT_ONCE] @ rare.T).tocoo()
        ones, others = both.row + start, both.col
        small, large = np.minimum(sizes[ones], sizes[others]), np.maximum(sizes[ones], sizes[others])
        looked_at = (ones < others) & (kind_of[ones] != kind_of[others]) & (small >= alike * large)
        ones, others = ones[looked_at], others[looked_at]
        common = np.asarray(sets[ones].multiply(sets[others]).sum(axis=1)).ravel()
        shares = common / (sizes[ones] + sizes[others] - common)
        enough = shares >= alike
        found += map(Pair, ones[enough].tolist(), others[enough].tolist(), shares[enough].tolist())
    return sorted(found, key=lambda pair: (-pair.alike, pair.one, pair.other))


def _by_rarity(vectors: CountVectorizer, texts: Sequence[str]) -> Any:
    """(R, S) which sequences each text has, the rarest in front."""
    sets = vectors.fit_transform(texts)
    frequency = np.asarray(sets.sum(axis=0)).ravel()
    sets = sets[:, np.argsort(frequency, kind="stable")].tocsr()
    sets.sort_indices()
    return sets


def _rarest(sets: Any, sizes: Any, alike: float) -> Any:
    """(R, S) of each set n - ceil(alike n) + 1 of its n elements, the rarest."""
    most = sizes - np.ceil(alike * sizes - 1e-9).astype(sizes.dtype) + 1
    place = np.arange(len(sets.indices)) - np.repeat(sets.indptr[:-1], sizes)
    kept = sets.copy()
    kept.data = (place < np.repeat(most, sizes)).astype(sets.dtype)
    kept.eliminate_zeros()
    return kept
