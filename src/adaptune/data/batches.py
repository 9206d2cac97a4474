"""Batches cut by a budget of tokens from length-sorted windows, and their tensors. Knows no files and no tasks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from adaptune.core.batch import Batch, Encoded
from adaptune.core.config import Config
from adaptune.core.errors import DataError
from adaptune.core.lazy import torch
from adaptune.core.types import Reading
from adaptune.data.encode_raw import masked

WINDOW = 50
"""Batches' worth of shuffled sequences that are sorted by length together: long enough to leave little padding, short
enough to keep batches random."""

IDS = 64
"""Tokens of a padded batch for each that is read, where beginnings are read once."""


class Budget(Config):
    """How much one batch holds."""

    tokens: int
    """Most tokens, padding included; a longer single sequence is a batch of its own."""
    rows: int
    """Most sequences."""
    spread: float = Field(default=math.inf, ge=1)
    """How many times longer than its first sequence the longest may be."""
    folded: bool = False
    """Whether what sequences begin with alike counts once, where they say how much that is."""


class Batches:
    """The batches of every epoch over encoded sequences: a pure function of seed and epoch."""

    def __init__(
        self,
        encoded: Sequence[Encoded],
        budget: Budget,
        *,
        pad: int,
        seed: int,
        whole_rows: bool = False,
        packed: bool = False,
        reading: Reading | None = None,
    ) -> None:
        """`pad` is the id of the padding token; `whole_rows` keeps all sequences of a row in one batch, in order.

        `packed`: the sequences of a batch stand in one row, without padding. `reading` hides tokens of raw texts, in
        every epoch others.

        Raises DataError where there are no sequences.
        """
        if not encoded:
            raise DataError("there are no rows to train on; check the training file, and what was skipped of it")
        self.encoded = encoded
        self.budget = budget
        self.pad = pad
        self.packed = packed
        self.seed = seed
        self.reading = reading
        self._lengths = np.array([sequence.length for sequence in encoded], dtype=np.int64)
        self._rows = _rows(encoded) if whole_rows else None
        self._fresh = _fresh(encoded) if budget.folded else None

    def plan(self, epoch: int, kept: NDArray[np.bool_] | None = None) -> list[NDArray[np.int64]]:
        """Indices of the sequences of each batch, in the order of one epoch.

        `kept`: which rows it reads; None: all.
        """
        generator = np.random.default_rng([self.seed, epoch])
        if self._rows is not None:
            rows = [row for row in self._rows if kept is None or kept[self.encoded[row[0]].row]]
            return self._plan_rows(rows, generator)
        order = generator.permutation(len(self.encoded))
        if kept is not None:
            order = order[[bool(kept[self.encoded[index].row]) for index in order.tolist()]]
        mean = max(1.0, float(self._lengths.mean()))
        window = WINDOW * max(1, min(self.budget.rows, int(self.budget.tokens / mean)))
        batches = []
        for start in range(0, len(order), window):
            part = order[start : start + window]
            part = part[self._lengths[part].argsort(kind="stable")]
            pieces = first_fit if self.packed else cut
            batches += list(pieces(part, self._lengths, self.budget))
        return [batches[index] for index in generator.permutation(len(batches))]

    def _plan_rows(self, rows: list[list[int]], generator: np.random.Generator) -> list[NDArray[np.int64]]:
        longest = np.array([self._lengths[row].max() for row in rows])
        a_row = len(self.encoded) / len(rows)
        window = WINDOW * max(1, min(self.budget.rows, int(self.budget.tokens / longest.mean())))
        window = max(1, int(window / a_row)) if self._fresh is None else window
        order = generator.permutation(len(rows))
        batches = []
        for start in range(0, len(order), window):
            part = order[start : start + window]
            part = part[longest[part].argsort(kind="stable")]
            batches += _packed([rows[index] for index in part], self._lengths, self._fresh, self.budget)
        return [batches[index] for index in generator.permutation(len(batches))]

    def __call__(self, epoch: int, skip: int = 0, *, kept: NDArray[np.bool_] | None = None) -> Iterator[Batch]:
        """The batches of one epoch, after the first `skip`; `kept`: which rows it reads."""
        for indices in self.plan(epoch, kept)[skip:]:
            given = [self._given(index, epoch) for index in indices.tolist()]
            yield joined(given) if self.packed else collate(given, self.pad)

    def _given(self, index: int, epoch: int) -> Encoded:
        """A sequence as this epoch shows it."""
        if self.reading is None:
            return self.encoded[index]
        return masked(self.encoded[index], self.reading, (self.seed, epoch, index))

    def per_epoch(self) -> int:
        """How many batches the first epoch has; later ones may differ by a few."""
        return self.count(0)

    def count(self, epoch: int, *, kept: NDArray[np.bool_] | None = None) -> int:
        """How many batches an epoch has; `kept`: which rows it reads."""
        return len(self.plan(epoch, kept))


class NoBatches:
    """The epochs of a training that takes no step."""

    def __call__(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        return iter(())

    def per_epoch(self) -> int:
        """None."""
        return 0


def cut(order: NDArray[np.int64], lengths: NDArray[np.int64], budget: Budget) -> Iterator[NDArray[np.int64]]:
    """Consecutive pieces of `order`, each within the budget."""
    start, longest = 0, 0
    for position, index in enumerate(order.tolist()):
        longest_with = max(longest, int(lengths[index]))
        size = position - start + 1
        if size > 1 and (size > budget.rows or size * longest_with > budget.tokens):
            yield order[start:position]
            start, longest_with = position, int(lengths[index])
        longest = longest_with
    if start < len(order):
        yield order[start:]


def first_fit(order: NDArray[np.int64], lengths: NDArray[np.int64], budget: Budget) -> Iterator[NDArray[np.int64]]:
    """Batches without padding, each within the budget; `order` is by length, the shortest first.

    From the longest on, a sequence goes into the first batch with room for it (first-fit decreasing, Johnson, 1973).
    """
    batches: list[list[int]] = []
    room: list[int] = []
    for index in order[::-1].tolist():
        size = int(lengths[index])
        for place, batch in enumerate(batches):
            if size <= room[place] and len(batch) < budget.rows:
                batch.append(index)
                room[place] -= size
                break
        else:
            batches.append([index])
            room.append(budget.tokens - size)
    return (np.array(batch, dtype=np.int64) for batch in batches)


def by_rows(encoded: Sequence[Encoded], budget: Budget) -> list[NDArray[np.int64]]:
    """Batches for prediction: length-sorted, every window of a row in the same batch."""
    lengths = np.array([sequence.length for sequence in encoded], dtype=np.int64)
    rows = sorted(_rows(encoded), key=lambda row: int(lengths[row].max()))
    return _packed(rows, lengths, _fresh(encoded) if budget.folded else None, budget)


def _fresh(encoded: Sequence[Encoded]) -> NDArray[np.int64] | None:
    """Tokens that a pass reads of each; None where they do not say."""
    found = [sequence.fresh for sequence in encoded if sequence.fresh is not None]
    return np.array(found, dtype=np.int64) if found and len(found) == len(encoded) else None


def _packed(
    rows: Sequence[list[int]], lengths: NDArray[np.int64], fresh: NDArray[np.int64] | None, budget: Budget
) -> list[NDArray[np.int64]]:
    """As `pack`; where beginnings are read once, by the tokens that are read, and by rows instead of sequences.

    Tokens of the padded batch, which are only ids there, may be many more.
    """
    if fresh is None:
        return pack(rows, lengths, budget)
    batches: list[list[int]] = [[]]
    read = longest = held = 0
    for row in rows:
        own = int(fresh[row].sum())
        longest = max(longest, int(lengths[row].max()))
        padded = (len(batches[-1]) + len(row)) * longest
        if held and (held == budget.rows or read + own > budget.tokens or padded > IDS * budget.tokens):
            batches.append([])
            read = held = 0
            longest = int(lengths[row].max())
        batches[-1] += row
        read, held = read + own, held + 1
    return [np.array(batch, dtype=np.int64) for batch in batches if batch]


def pack(rows: Sequence[list[int]], lengths: NDArray[np.int64], budget: Budget) -> list[NDArray[np.int64]]:
    """Consecutive rows, each with its sequences, in batches within the budget; a larger row is a batch of its own."""
    batches: list[list[int]] = [[]]
    longest, most = 0, math.inf
    for row in rows:
        length = int(lengths[row].max())
        longest = max(longest, length)
        size = len(batches[-1]) + len(row)
        if batches[-1] and (size > budget.rows or size * longest > budget.tokens or longest > most):
            batches.append([])
            longest = length
        if not batches[-1]:
            most = budget.spread * length
        batches[-1] += row
    return [np.array(batch, dtype=np.int64) for batch in batches if batch]


def _rows(encoded: Sequence[Encoded]) -> list[list[int]]:
    """The sequences of each row, in order."""
    rows: dict[int, list[int]] = {}
    for index, sequence in enumerate(encoded):
        rows.setdefault(sequence.row, []).append(index)
    return list(rows.values())


def collate(sequences: Sequence[Encoded], pad: int) -> Batch:
    """One batch, padded on the right to its longest sequence."""
    ids, mask = _padded([sequence.ids for sequence in sequences], pad)
    tensors = {
        "rows": np.array([sequence.row for sequence in sequences], dtype=np.int64),
        "mask": mask.astype(np.int64),
        "ids": ids,
        **_segments(sequences, mask),
        **_decoder(sequences, pad),
        **_items(sequences),
        **_offsets(sequences),
        **_asked(sequences),
        **_labels(sequences),
    }
    texts = tuple(sequence.text for sequence in sequences if sequence.text is not None)
    arrays: dict[str, Any] = {name: torch.from_numpy(array) for name, array in tensors.items()}
    return Batch(texts=texts or None, end=sequences[0].end, **arrays)


def joined(sequences: Sequence[Encoded]) -> Batch:
    """One packed batch: sequences of a model of one stack, whose labels are of their tokens, one behind the other."""
    lengths = [len(sequence.ids) for sequence in sequences]
    starts = np.cumsum([0, *lengths[:-1]])
    ids = np.concatenate([sequence.ids for sequence in sequences]).astype(np.int64)[None]
    tensors = {
        "rows": np.array([sequence.row for sequence in sequences], dtype=np.int64),
        "mask": np.ones_like(ids),
        "ids": ids,
        **_items(sequences),
        **_labels(sequences),
    }
    if "sequence_of" in tensors:
        tensors["token_of"] = tensors["token_of"] + starts[tensors["sequence_of"]]
        tensors["sequence_of"] = np.zeros_like(tensors["sequence_of"])
    arrays: dict[str, Any] = {name: torch.from_numpy(array) for name, array in tensors.items()}
    return Batch(lengths=tuple(lengths), **arrays)


def _padded(rows: Sequence[NDArray[np.int32]], pad: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(B, T) ids and mask."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(int(lengths.max()))[None, :] < lengths[:, None]
    ids = np.full(mask.shape, pad, dtype=np.int64)
    ids[mask] = np.concatenate(rows)
    return ids, mask


def _decoder(sequences: Sequence[Encoded], pad: int) -> dict[str, NDArray[np.int64]]:
    rows = [sequence.decoder_ids for sequence in sequences if sequence.decoder_ids is not None]
    if len(rows) < len(sequences):
        return {}
    ids, mask = _padded(rows, pad)
    return {"decoder_ids": ids, "decoder_mask": mask.astype(np.int64)}


def _segments(sequences: Sequence[Encoded], mask: NDArray[np.bool_]) -> dict[str, NDArray[np.int64]]:
    if sequences[0].segments is None:
        return {}
    segments = np.zeros(mask.shape, dtype=np.int64)
    segments[mask] = np.concatenate([sequence.segments for sequence in sequences if sequence.segments is not None])
    return {"segments": segments}


def _items(sequences: Sequence[Encoded]) -> dict[str, NDArray[np.int64]]:
    if not any(len(sequence.tokens) for sequence in sequences):
        return {}
    counts = [len(sequence.tokens) for sequence in sequences]
    return {
        "sequence_of": np.repeat(np.arange(len(sequences)), counts),
        "token_of": np.concatenate([sequence.tokens for sequence in sequences]).astype(np.int64),
        "items": np.concatenate([sequence.items for sequence in sequences]).astype(np.int64),
    }


def _offsets(sequences: Sequence[Encoded]) -> dict[str, NDArray[np.int64]]:
    found = [sequence.offsets for sequence in sequences if sequence.offsets is not None]
    return {"offsets": np.concatenate(found).astype(np.int64)} if len(found) == len(sequences) else {}


def _asked(sequences: Sequence[Encoded]) -> dict[str, NDArray[np.float32]]:
    found = [sequence.asked for sequence in sequences if sequence.asked is not None]
    return {"asked": np.concatenate(found)} if len(found) == len(sequences) else {}


def _labels(sequences: Sequence[Encoded]) -> dict[str, NDArray[Any]]:
    found = [sequence.labels for sequence in sequences if sequence.labels is not None]
    if len(found) < len(sequences):
        return {}
    return {"labels": np.concatenate(found)}
