"""States of token sequences, kept by all that was read of them: in memory first, then in a file. Knows no model."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adaptune.core.batch import Batch
from adaptune.core.errors import TrainingError

MOST = 512_000_000
"""Bytes of states that are kept in memory where nothing else is said."""

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one sequence stands in the tensors of a batch."""

    row: int
    start: int
    stop: int


class Remembered:
    """The states of sequences that were seen, each by itself, whatever batch it comes in again.

    What memory has no room for goes into a file without a name, which the system removes when the process ends, however
    that comes about; TMPDIR says where. What that has no room for either is not kept.
    """

    def __init__(self, memory: int = MOST, disk: int = 0, *, half: bool = False, own_tokens: bool = False) -> None:
        """Most bytes of each. `half`: kept in 16 bits, each number within 1 / 2048 of what it was.

        `own_tokens`: a head's own tokens stand where the labelled items are, so that these tell sequences apart, too.
        """
        self.memory = self.disk = 0
        """Bytes that are kept."""
        self._room, self._room_on_disk, self._half, self._own_tokens = memory, disk, half, own_tokens
        self._states: dict[Key, Tensor | tuple[int, int]] = {}
        self._dtype, self._width = torch.float32, 0
        self._file = _Bytes() if disk else None

    def __len__(self) -> int:
        """Sequences that are kept."""
        return len(self._states)

    def get(self, batch: Batch) -> Tensor | None:
        """(B, T, D) of the batch, zero where there is padding; None unless all of its sequences are there."""
        if batch.embeddings is not None or not self._states:
            return None
        places = list(places_of(batch))
        found = [self._states.get(key) for key in self._keys(batch, places)]
        if any(one is None for one in found):
            return None
        mask = batch.mask if batch.decoder_mask is None else batch.decoder_mask
        states = torch.zeros(*mask.shape, self._width, dtype=self._dtype)
        for place, one in zip(places, found, strict=True):
            assert one is not None
            states[place.row, place.start : place.stop] = one if isinstance(one, Tensor) else self._read(one)
        return states.to(mask.device)

    def put(self, batch: Batch, states: Tensor) -> None:
        """Keep (B, T, D) of a batch, as far as there is room. A batch that is given as embeddings is not kept."""
        if batch.embeddings is not None:
            return
        self._dtype, self._width = states.dtype, states.shape[-1]
        places = list(places_of(batch))
        for key, place in zip(self._keys(batch, places), places, strict=True):
            if key not in self._states:
                self._keep(key, self._narrowed(states[place.row, place.start : place.stop]))

    def forget(self) -> None:
        """Give up everything."""
        self._states.clear()
        if self._file is not None:
            self._file.close()

    def _keep(self, key: Key, states: Tensor) -> None:
        size = states.numel() * states.element_size()
        if self.memory + size <= self._room:
            self._states[key] = states
            self.memory += size
        elif self._file is not None and self.disk + size <= self._room_on_disk:
            self._states[key] = (self._file.append(states.view(torch.uint8).numpy().tobytes()), size)
            self.disk += size

    def _narrowed(self, states: Tensor) -> Tensor:
        kept = states.detach().to("cpu", torch.float16 if self._half else states.dtype, copy=True)
        if self._half and not bool(kept.isfinite().all()):
            raise TrainingError(
                f"hidden states reach {float(states.abs().max()):.3g}, more than 16 bits hold; "
                "set train.trunk_cache_precision=exact"
            )
        return kept.contiguous()

    def _read(self, where: tuple[int, int]) -> Tensor:
        assert self._file is not None
        flat = torch.frombuffer(self._file.read(*where), dtype=torch.float16 if self._half else self._dtype)
        return flat.view(-1, self._width)

    def _keys(self, batch: Batch, places: list[Place]) -> Iterator[Key]:
        """All that a trunk reads of each sequence."""
        read = (batch.ids, batch.segments, batch.decoder_ids)
        ids, segments, decoder = (None if one is None else one.cpu().numpy() for one in read)
        lengths = batch.mask.sum(dim=1).tolist()
        for number, place in enumerate(places):
            there = slice(place.start, place.stop)
            here = slice(lengths[number]) if batch.lengths is None else there
            key = tuple(None if one is None else one[place.row, here].tobytes() for one in (ids, segments))
            yield (
                *key,
                None if decoder is None else decoder[place.row, there].tobytes(),
                *(self._own(batch, number) if self._own_tokens else ()),
            )

    def _own(self, batch: Batch, number: int) -> Iterator[bytes]:
        """Which of a head's own tokens stand where in a sequence."""
        if batch.sequence_of is None or batch.token_of is None or batch.items is None:
            return
        here = (batch.sequence_of == number).cpu().numpy()
        for one in (batch.token_of, batch.items):
            yield one.cpu().numpy()[here].tobytes()


def places_of(batch: Batch) -> Iterator[Place]:
    """Where each sequence's states stand: of two stacks those of the decoder."""
    if batch.lengths is not None:
        ends = np.cumsum(batch.lengths).tolist()
        for length, end in zip(batch.lengths, ends, strict=True):
            yield Place(0, end - length, end)
        return
    mask = batch.mask if batch.decoder_mask is None else batch.decoder_mask
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        yield Place(row, 0, length)


class _Bytes:
    """A file without a name that is written at its end and read through memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the object lives
        self._size = 0
        self._map: mmap.mmap | None = None

    def append(self, content: bytes) -> int:
        """Where it stands. Raises TrainingError where the disk is full."""
        try:
            self._file.write(content)
        except OSError as error:
            raise TrainingError(
                f"what frozen layers give does not fit onto the disk of {tempfile.gettempdir()!r} "
                f"({error.strerror} after {self._size / 1e6:,.0f} MB); set TMPDIR to a larger one, or "
                "train.trunk_cache=memory"
            ) from error
        self._size += len(content)
        return self._size - len(content)

    def read(self, start: int, size: int) -> bytearray:
        """A copy, which may be written to."""
        if self._map is None or start + size > len(self._map):
            self._file.flush()
            self._map = mmap.mmap(self._file.fileno(), self._size, access=mmap.ACCESS_READ)
        return bytearray(self._map[start : start + size])

    def close(self) -> None:
        """Give the file up."""
        if self._map is not None:
            self._map.close()
        self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.close()
