"""Batches over rows that become tokens chunk by chunk: a pure function of seed and epoch. Knows no files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptune.core.batch import Batch, Encoded
from adaptune.data.batches import Batches, Budget
from adaptune.data.tokens import Tokens

CHUNK = 16_384
"""Rows of a chunk, drawn at random from all: many windows of batches, and a second or two of tokenising."""


class ChunkedBatches:
    """The batches of every epoch: its rows in random order, cut into chunks, each of which is a small set of `Batches`.

    Only the chunk at hand is tokenised, so that the first step waits for no other.
    """

    def __init__(self, tokens: Tokens, budget: Budget, *, seed: int, chunk: int = CHUNK, **options: Any) -> None:
        """`options` are those of `Batches`."""
        self.tokens, self.budget, self.seed, self.chunk, self.options = tokens, budget, seed, chunk, options

    def __call__(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, after the first `skip`."""
        for number, rows in enumerate(self._chunks(epoch)):
            batches = self._batches(rows, epoch, number)
            if batches is None:
                continue
            count = len(batches.plan(epoch))
            if skip < count:
                yield from batches(epoch, skip=skip)
            skip = max(0, skip - count)

    def per_epoch(self) -> int:
        """How many batches an epoch has, as its first chunk suggests: their sequences' lengths are not known yet."""
        return self._per_epoch

    @cached_property
    def _per_epoch(self) -> int:
        for number, rows in enumerate(self._chunks(0)):
            if (batches := self._batches(rows, 0, number)) is not None:
                return max(1, round(len(batches.plan(0)) * len(self.tokens) / len(rows)))
        return 1

    def _chunks(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.tokens))
        for start in range(0, len(order), self.chunk):
            yield order[start : start + self.chunk]

    def _batches(self, rows: NDArray[np.int64], epoch: int, number: int) -> Batches | None:
        """A chunk's; None where none of its rows is trained on."""
        encoded = self.tokens.of(rows)
        own = int(np.random.SeedSequence([self.seed, epoch, number]).generate_state(1)[0])
        return Batches(encoded, self.budget, seed=own, **self.options) if encoded else None


def batches_of(
    encoded: Sequence[Encoded] | Tokens, budget: Budget, *, seed: int, **options: Any
) -> Batches | ChunkedBatches:
    """The batches over a part; `options` are those of `Batches`."""
    if isinstance(encoded, Tokens):
        return ChunkedBatches(encoded, budget, seed=seed, **options)
    return Batches(encoded, budget, seed=seed, **options)
