"""Which rows to label next: unsure ones, ones that stand for many, or both. Knows rows by number, vectors and shares.

Margins between the two likeliest labels (Scheffer et al., 2001) say how unsure an answer is. Coverage is TypiClust
(Hacohen et al., 2022): as many clusters as there will be labelled rows, the largest of those without one first, and of
each its most typical row, that with the nearest neighbours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from adaptune.core.lazy import sklearn_cluster, sklearn_neighbors

By = Literal["uncertainty", "coverage", "both"]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MOST_CLUSTERS = 500
"""As many as are told apart; more labelled rows share them."""
NEIGHBOURS = 20
"""That say how typical a row is."""
AT_ONCE = 3_000
"""Rows from which on clusters are found in small batches, which is much faster and little worse."""


def margins(probabilities: Floats) -> Floats:
    """(R, C) of all labels -> (R,) 1 - (the largest - the next), in [0, 1]; 0 is sure."""
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities))
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    found: Floats = 1 - (two[:, 1] - two[:, 0])
    return found


def least_sure(probabilities: Floats) -> Floats:
    """(R, C) of independent labels -> (R,) 1 - |2 p - 1| of that whose p is nearest to 1/2 (Brinker, 2003)."""
    found: Floats = (1 - np.abs(2 * probabilities - 1)).max(axis=1, initial=0.0)
    return found


def choose(
    count: int,
    *,
    by: By,
    uncertainty: Floats | None,
    vectors: Floats | None,
    known: Floats | None = None,
    predicted: Sequence[str] | None = None,
    seed: int = 0,
) -> Integers:
    """Numbers of at most so many rows, the most wanted first.

    `uncertainty`: (R,), for all but coverage. `vectors`: (R, D) of length 1, for all but uncertainty; `known`: (K, D)
    of rows that are labelled already. `predicted`: of each row what is predicted, where equal shares are wanted.
    """
    if by == "uncertainty":
        assert uncertainty is not None
        order = np.argsort(-uncertainty, kind="stable").astype(np.int64)
    else:
        assert vectors is not None
        clusters, covered = _clusters(vectors, known, count, seed)
        within = typicality(vectors, clusters) if by == "coverage" else uncertainty
        assert within is not None
        order = _by_turns(clusters, covered, within)
    found: Integers = (order if predicted is None else _levelled(order, predicted, count))[:count]
    return found


def _clusters(vectors: Floats, known: Floats | None, count: int, seed: int) -> tuple[Integers, Counter[int]]:
    """Of each row its cluster, and how many known rows are in each."""
    labelled = np.zeros((0, vectors.shape[1])) if known is None else known
    together = np.concatenate([vectors, labelled]).astype(np.float32)
    number = min(len(together), MOST_CLUSTERS, len(labelled) + count)
    kind: Any = sklearn_cluster.KMeans if len(together) <= AT_ONCE else sklearn_cluster.MiniBatchKMeans
    found = kind(n_clusters=number, n_init=1, random_state=seed).fit_predict(together).astype(np.int64)
    return found[: len(vectors)], Counter(found[len(vectors) :].tolist())


def typicality(vectors: Floats, clusters: Integers) -> Floats:
    """(R,) 1 / mean distance to the nearest rows of the same cluster."""
    found = np.zeros(len(vectors))
    for cluster in np.unique(clusters):
        members = np.flatnonzero(clusters == cluster)
        near = min(NEIGHBOURS, len(members) - 1)
        if near == 0:
            continue
        search = sklearn_neighbors.NearestNeighbors(n_neighbors=near + 1).fit(vectors[members])
        distances = search.kneighbors(vectors[members])[0][:, 1:]
        found[members] = 1 / (distances.mean(axis=1) + 1e-5)
    return found


def _by_turns(clusters: Integers, covered: Counter[int], within: Floats) -> Integers:
    """Clusters in turn, those with the fewest labelled rows first, of these the largest; in each the best row first."""
    sizes = np.bincount(clusters)
    turns = sorted(np.unique(clusters).tolist(), key=lambda cluster: -sizes[cluster])
    best = sorted(range(len(clusters)), key=lambda row: -within[row])
    taken: Counter[int] = Counter(covered)
    turn: dict[int, int] = {}
    for row in best:  # the how many-th labelled row of its cluster each would be
        turn[row] = taken[int(clusters[row])]
        taken[int(clusters[row])] += 1
    place = {cluster: number for number, cluster in enumerate(turns)}
    return np.array(sorted(best, key=lambda row: (turn[row], place[int(clusters[row])])), dtype=np.int64)


def _levelled(order: Integers, predicted: Sequence[str], count: int) -> Integers:
    """The same order within each predicted label, one label after another in turn, as long as each has rows."""
    turn: Counter[str] = Counter()
    keys = []
    for place, row in enumerate(order.tolist()):
        keys.append((turn[predicted[row]], place))
        turn[predicted[row]] += 1
    found: Integers = order[sorted(range(len(order)), key=lambda place: keys[place])[:count]]
    return found
