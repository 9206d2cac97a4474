"""Token sequences as bytes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from adaptune.core.batch import Encoded
from adaptune.data.packed import pack, unpack

IDS = np.array([5, 6, 7], dtype=np.int32)
SPANS = np.array([[0, 1], [2, 6]], dtype=np.int32)
NONE = np.zeros(0, dtype=np.int32)


def same(one: Encoded, other: Encoded) -> bool:
    """Equal in every field, kinds of numbers and shapes included."""

    def equal(a: Any, b: Any) -> bool:
        if isinstance(a, np.ndarray):
            return isinstance(b, np.ndarray) and (a.dtype, a.shape) == (b.dtype, b.shape) and bool((a == b).all())
        return bool(a == b)

    return all(equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Encoded))


@pytest.mark.parametrize(
    "given",
    [
        Encoded(3, IDS, None, NONE, NONE, None),
        Encoded(3, IDS, np.array([0, 0, 1], dtype=np.int8), NONE, NONE, np.array([2])),
        Encoded(3, IDS, None, NONE, NONE, np.array([2]), end=7),
        Encoded(3, IDS, None, NONE, NONE, np.array([0.5], dtype=np.float32)),
        Encoded(3, IDS, None, NONE, NONE, np.array([[0, 1, 1]], dtype=np.float32)),
        Encoded(3, IDS, None, NONE, NONE, np.zeros((1, 0), dtype=np.float32)),
        Encoded(3, IDS, None, IDS[:2], IDS[1:], np.array([4, 9])),
        Encoded(3, IDS, None, IDS[:2], IDS[1:], np.array([4, 9]), decoder_ids=IDS),
        Encoded(3, IDS, None, IDS[:2], IDS[1:], np.array([[4, 9]]), text="一 text", offsets=SPANS),
        Encoded(3, IDS, None, NONE, NONE, None, text="", offsets=np.zeros((0, 2), np.int32)),
        Encoded(3, NONE, None, NONE, NONE, np.zeros(0, dtype=np.int64)),
    ],
)
def test_what_is_packed_comes_back_bit_for_bit(given: Encoded) -> None:
    other = Encoded(3, IDS[::-1].copy(), None, NONE, NONE, np.array([1]))
    for sequences in ([given], [given, other], [other, given, given]):
        found = unpack(pack(sequences), 3)
        assert all(map(same, found, sequences))
        assert len(found) == len(sequences)


def test_a_row_without_sequences_has_none() -> None:
    assert unpack(pack([]), 0) == []
