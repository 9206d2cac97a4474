"""Keys and values of texts that come and go, one place each, as a cache of transformers. Knows no text.

transformers' own caches hold rows of one length: a row that joins or leaves would move all others. Here every row is as
long as its own text is; a pass of one token writes behind each row's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer

from adaptune.core.backbone import Backbone


class Read(NamedTuple):
    """A row of a cache that a pass over prompts has filled."""

    row: int
    length: int
    """Of its positions, those that count: the first."""
    room: int
    """Positions that it may come to have."""


class Places(Cache):  # type: ignore[misc]  # untyped in transformers
    """Rows in the order in which they came; where one leaves, the last takes its place."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.layers: list[_Layer] = []
        self.lengths: list[int] = []
        """Positions that each row has."""
        self._rooms: list[int] = []
        self.rows = torch.empty(0, dtype=torch.int64)
        """(B,) of the pass that comes: 0, 1, 2 ..."""
        self.ends = torch.empty(0, dtype=torch.int64)
        """(B,) where it writes."""

    @property
    def longest(self) -> int:
        """Positions of the longest row."""
        return max(self.lengths, default=0)

    def add(self, cache: Any, read: Sequence[Read]) -> None:
        """Take rows over from a cache of prompts."""
        rooms = [*self._rooms, *(one.room for one in read)]
        if not self.layers:
            self.layers = [_Layer(self) for _ in cache.layers]
        for own, other in zip(self.layers, cache.layers, strict=True):
            own.take(other.keys, other.values, read, most=max(rooms))
        self._rooms = rooms
        self.lengths += [one.length for one in read]

    def drop(self, place: int) -> None:
        """Take a row out."""
        last = len(self.lengths) - 1
        if place < last:
            for layer in self.layers:
                layer.move(last, place, self.lengths[last])
            self.lengths[place], self._rooms[place] = self.lengths[last], self._rooms[last]
        self.lengths.pop()
        self._rooms.pop()
        if not self.lengths:
            self.layers = []  # and with them the tensors

    def begin(self, device: torch.device) -> Tensor:
        """A pass of one token of every row begins: (B,) the positions that they get, before which all is read."""
        self.rows = torch.arange(len(self.lengths), device=device)
        self.ends = torch.tensor(self.lengths, device=device)
        return self.ends

    def end(self) -> None:
        """The pass is over: every row is longer by its token."""
        self.lengths = [length + 1 for length in self.lengths]


class _Layer(CacheLayerMixin):  # type: ignore[misc]  # untyped in transformers
    """One layer's keys and values, each (R, H, L, d): no more rows and positions than those that came needed."""

    is_sliding = False

    def __init__(self, places: Places) -> None:
        super().__init__()
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self._places = places

    def take(self, keys: Tensor, values: Tensor, read: Sequence[Read], *, most: int) -> None:
        """Rows of a pass over prompts, behind those that stand here."""
        held = len(self._places.lengths)
        self.keys = self._with_room(self.keys, keys, held + len(read), most)
        self.values = self._with_room(self.values, values, held + len(read), most)
        for place, one in enumerate(read, start=held):
            self.keys[place, :, : one.length] = keys[one.row, :, : one.length]
            self.values[place, :, : one.length] = values[one.row, :, : one.length]

    def move(self, place: int, to: int, length: int) -> None:
        """One row over another."""
        assert self.keys is not None and self.values is not None
        self.keys[to, :, :length] = self.keys[place, :, :length]
        self.values[to, :, :length] = self.values[place, :, :length]

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """(B, H, 1, d) of one more token each -> all that the rows have, and behind the shorter ones what no mask lets
        be seen."""
        assert self.keys is not None and self.values is not None
        places = self._places
        count, width = len(places.lengths), places.longest + 1
        self.keys[places.rows, :, places.ends] = key_states[:, :, 0]
        self.values[places.rows, :, places.ends] = value_states[:, :, 0]
        return self.keys[:count, :, :width], self.values[:count, :, :width]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Keys, and where they start."""
        return self._places.longest + query_length, 0

    def get_seq_length(self) -> int:
        """As if every row were as long as the longest: the new token sees what a mask lets it."""
        return self._places.longest

    def get_max_length(self) -> int:
        """No end."""
        return -1

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: rows come with their first keys."""

    def _with_room(self, own: Tensor | None, like: Tensor, rows: int, length: int) -> Tensor:
        """The tensor itself where it is large enough; else its rows in one that is."""
        if own is not None and own.shape[0] >= rows and own.shape[2] >= length:
            return own
        found = like.new_zeros(rows, like.shape[1], length, like.shape[3])
        if own is not None:
            held, longest = len(self._places.lengths), self._places.longest
            found[:held, :, :longest] = own[:held, :, :longest]
        return found


def holds(backbone: Backbone) -> bool:
    """Whether texts of this model can stand in places: it is a decoder, and every layer sees the whole text.

    Layers that see a window alone count back from the end of a row, which here is not where the tensors end.
    """
    config: Any = backbone.whole.config
    if len(backbone.roles.stacks) > 1 or not backbone.roles.main.causal:
        return False
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)
