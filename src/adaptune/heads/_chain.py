"""Chains of BIO tags: which may follow which, the best path, the sum over all paths, marginals. Knows no layers.

Shape letters: R chains, L steps of the longest, C tags. Scores are logarithms; minus infinity is impossible.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adaptune.core.batch import Batch
from adaptune.core.lazy import torch

Numbers = NDArray[np.floating]


@lru_cache(maxsize=64)
def legal(tags: tuple[str, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(C, C) and (C,): 0 where a tag may follow another, or start; minus infinity where not."""

    def follows(before: str, after: str) -> bool:
        return not after.startswith("I-") or before in (f"B-{after[2:]}", after)

    pairs = [[0.0 if follows(before, after) else -np.inf for after in tags] for before in tags]
    starts = [-np.inf if tag.startswith("I-") else 0.0 for tag in tags]
    return np.array(pairs, dtype=np.float32), np.array(starts, dtype=np.float32)


def viterbi(emissions: Numbers, start: Numbers, follow: Numbers, end: Numbers) -> list[int]:
    """(L, C), (C,), (C, C), (C,) -> the path of the highest score (Viterbi, 1967)."""
    if not len(emissions):
        return []
    score = emissions[0] + start
    back = np.zeros(emissions.shape, dtype=np.int64)
    for step in range(1, len(emissions)):
        candidates = score[:, None] + follow
        back[step] = candidates.argmax(axis=0)
        score = candidates.max(axis=0) + emissions[step]
    best = [int((score + end).argmax())]
    for step in range(len(emissions) - 1, 0, -1):
        best.append(int(back[step, best[-1]]))
    return best[::-1]


class Scores(NamedTuple):
    """What a chain adds to its emissions."""

    start: torch.Tensor
    """(C,)"""
    follow: torch.Tensor
    """(C, C) from tag, to tag."""
    end: torch.Tensor
    """(C,)"""


class Chains(NamedTuple):
    """Where the labelled items of a batch stand in the chains of their rows, whatever window each is in."""

    order: torch.Tensor
    """(N,) items by row, and in the order of their row."""
    chain: torch.Tensor
    """(N,) the chain of each, in that order; chains are in the order of the rows' indices."""
    step: torch.Tensor
    """(N,) its place in its chain."""
    lengths: torch.Tensor
    """(R,)"""

    def padded(self, values: torch.Tensor) -> torch.Tensor:
        """(N, ...) -> (R, L, ...), zero after the end of each chain."""
        shape = (len(self.lengths), int(self.lengths.max()), *values.shape[1:])
        return values.new_zeros(shape).index_put((self.chain, self.step), values[self.order])

    @property
    def present(self) -> torch.Tensor:
        """(R, L) whether a chain has that step."""
        return torch.arange(int(self.lengths.max()), device=self.lengths.device) < self.lengths[:, None]


def chains_of(batch: Batch) -> Chains:
    """One chain a row that has items."""
    assert batch.sequence_of is not None and batch.items is not None, "chains need items"
    _, chain = torch.unique(batch.rows[batch.sequence_of], return_inverse=True)
    order = (chain * (batch.items.max() + 1) + batch.items).argsort()
    chain = chain[order]
    lengths = torch.bincount(chain)
    step = torch.arange(len(chain), device=chain.device) - (lengths.cumsum(0) - lengths)[chain]
    return Chains(order, chain, step, lengths)


def log_partition(emissions: torch.Tensor, present: torch.Tensor, scores: Scores) -> torch.Tensor:
    """(R, L, C), (R, L) -> (R,) the logarithm of the sum over all paths (Lafferty et al., 2001)."""
    return (_forward(emissions, present, scores)[-1] + scores.end).logsumexp(dim=1)


def path_score(emissions: torch.Tensor, present: torch.Tensor, scores: Scores, path: torch.Tensor) -> torch.Tensor:
    """(R, L, C), (R, L), (R, L) -> (R,) the score of one path a chain."""
    of_tags = (emissions.gather(2, path[:, :, None]).squeeze(2) * present).sum(dim=1)
    of_pairs = (scores.follow[path[:, :-1], path[:, 1:]] * present[:, 1:]).sum(dim=1)
    last = path.gather(1, present.sum(dim=1, keepdim=True) - 1).squeeze(1)
    return scores.start[path[:, 0]] + of_tags + of_pairs + scores.end[last]


def marginals(emissions: torch.Tensor, present: torch.Tensor, scores: Scores) -> torch.Tensor:
    """(R, L, C), (R, L) -> (R, L, C) each tag's probability at each step (forward-backward; Rabiner, 1989, eq. 27)."""
    alphas = _forward(emissions, present, scores)
    beta = scores.end.expand(emissions.shape[0], -1)
    betas = [beta]
    for step in range(emissions.shape[1] - 1, 0, -1):
        after = (scores.follow + (emissions[:, step] + beta)[:, None, :]).logsumexp(dim=2)
        beta = torch.where(present[:, step, None], after, beta)
        betas.append(beta)
    both = torch.stack(alphas, dim=1) + torch.stack(betas[::-1], dim=1)
    return (both - (alphas[-1] + scores.end).logsumexp(dim=1)[:, None, None]).exp()


def _forward(emissions: torch.Tensor, present: torch.Tensor, scores: Scores) -> list[torch.Tensor]:
    """L times (R, C): the logarithm of the sum over all paths that end in a tag at a step; after an end it stays."""
    alphas = [scores.start + emissions[:, 0]]
    for step in range(1, emissions.shape[1]):
        reached = (alphas[-1][:, :, None] + scores.follow).logsumexp(dim=1) + emissions[:, step]
        alphas.append(torch.where(present[:, step, None], reached, alphas[-1]))
    return alphas
