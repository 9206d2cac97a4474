"""N-way K-shot episodes: how well the nearest mean of a few vectors tells labels apart. Knows no model and no task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adaptune.core.errors import DataError
from adaptune.core.types import Array


@dataclass(frozen=True, slots=True)
class Episodes:
    """What a number of episodes came to."""

    accuracies: NDArray[np.float64]
    """(E,) share of each episode's queries that were answered rightly."""

    @property
    def accuracy(self) -> float:
        """Their mean."""
        return float(self.accuracies.mean())

    def interval(self, *, samples: int = 1000, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
        """Percentile bootstrap of the mean over episodes."""
        chosen = np.random.default_rng(seed).integers(0, len(self.accuracies), (samples, len(self.accuracies)))
        low, high = np.quantile(self.accuracies[chosen].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)


def episodes(vectors: Array, labels: Array, *, ways: int, shots: int, queries: int, count: int, seed: int) -> Episodes:
    """(N, F) vectors of rows, (N,) their labels -> `count` episodes (Vinyals et al. 2016; Snell et al. 2017).

    Each draws so many labels, so many rows of each whose mean unit vector stands for it, and so many other rows of each
    that are answered by the largest cosine. Raises DataError where there are too few labels, or rows of one.
    """
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    fewest = min((len(one) for one in members), default=0)
    if ways > len(members) or shots + queries > fewest:
        raise DataError(
            f"an episode of {ways} labels with {shots} rows each and {queries} to be answered cannot be drawn: there "
            f"are {len(members)} labels, the rarest with {fewest} rows; lower one of the numbers"
        )
    chance = np.random.default_rng(seed)
    accuracies = np.empty(count)
    for episode in range(count):
        drawn = chance.permutation(len(members))[:ways]
        rows = [chance.permutation(members[label])[: shots + queries] for label in drawn]
        means = np.stack([units[of[:shots]].mean(axis=0) for of in rows])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        asked = np.stack([units[of[shots:]] for of in rows])
        accuracies[episode] = ((asked @ means.T).argmax(axis=2) == np.arange(ways)[:, None]).mean()
    return Episodes(accuracies)
