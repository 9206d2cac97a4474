"""Rows with their answers that stand in front of others: which, and how many. Knows no template and no tokens."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence as Several
from functools import lru_cache
from itertools import chain, zip_longest
from typing import Any

import numpy as np

from adaptune.core.config import Config
from adaptune.core.errors import DataError
from adaptune.core.lazy import sklearn_text
from adaptune.core.types import Array, Example

LOOKED_AT = 5000
"""Rows that are read to draw some of them."""


class Shot(Config):
    """A row that is shown with its answer."""

    text: str
    """Its text, or the first of two."""
    pair: str | None = None
    """Its second text."""
    answer: str
    """Its label, or the text of its option."""

    @property
    def texts(self) -> dict[str, str]:
        """By the places of a template."""
        return {"text": self.text} if self.pair is None else {"text": self.text, "pair": self.pair}


def shot_of(example: Example) -> Shot:
    """A labelled row as one that is shown. Raises DataError for a row without its answer."""
    if example.expected is None:
        raise DataError(f"{example.row.where} has no label, and rows that are shown have; give it one")
    first = example.sequences[0]
    if isinstance(example.expected, int):
        return Shot(text=str(first.first), answer=str(example.sequences[example.expected].second))
    pair = None if first.second is None else str(first.second)
    return Shot(text=str(first.first), pair=pair, answer=example.expected)


def drawn(examples: Several[Example], count: int, seed: int) -> list[Shot]:
    """So many rows at random, labels in turn, in an order that is drawn, too."""
    order = list(range(len(examples)))
    random.Random(seed).shuffle(order)
    by_label: dict[Any, list[int]] = defaultdict(list)
    for place in order[:LOOKED_AT]:
        example = examples[place]
        by_label["" if isinstance(example.expected, int) else example.expected].append(place)
    turns = chain.from_iterable(zip_longest(*by_label.values()))
    places = [place for place in turns if place is not None][:count]
    return [shot_of(examples[place]) for place in places]


def spread(vectors: Array, count: int) -> list[int]:
    """(N, F) of length 1 -> places of so many that are far from each other.

    The first is nearest to the mean; each next one is farthest from those before it (Gonzalez, 1985).
    """
    center = vectors.mean(axis=0)
    chosen = [int((vectors @ center).argmax())]
    nearest = vectors @ vectors[chosen[0]]
    while len(chosen) < min(count, len(vectors)):
        nearest[chosen] = np.inf
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
    return chosen


def tfidf_vectors(texts: Several[str]) -> Array:
    """(N, F) of length 1."""
    return _vectorizer().fit_transform(texts).toarray()


def most_similar(pool: tuple[Shot, ...], text: str, count: int) -> list[Shot]:
    """So many of a pool, the one most like a text last, next to it; a row is not shown to itself."""
    vectorizer, vectors = _index(pool)
    likeness = (vectors @ vectorizer.transform([text]).T).toarray()[:, 0]
    order = [place for place in likeness.argsort(kind="stable")[::-1].tolist() if joined(pool[place]) != text]
    return [pool[place] for place in reversed(order[:count])]


def joined(shot: Shot) -> str:
    """Its texts as one."""
    return "\n".join(shot.texts.values())


@lru_cache(maxsize=8)
def _index(pool: tuple[Shot, ...]) -> tuple[Any, Any]:
    vectorizer = _vectorizer()
    return vectorizer, vectorizer.fit_transform([joined(one) for one in pool])


def _vectorizer() -> Any:
    """Pieces of words, so that scripts without spaces have some, too."""
    return sklearn_text.TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), sublinear_tf=True)
