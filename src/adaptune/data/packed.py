"""Token sequences as bytes and back, bit for bit. Knows no files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptune.core.batch import Encoded

_HEAD = 12
"""Numbers before each sequence, how many of each part it has: ids, segments, tokens, kind of the labels, their rows and
columns, the decoder's ids, bytes of the text, offsets, what is asked; the token that ends what is written, and fresh
tokens. -1: it has none."""
_LABELS: tuple[type[np.int64] | type[np.float32], ...] = (np.int64, np.float32)


def pack(sequences: Sequence[Encoded]) -> bytes:
    """The sequences of one row."""
    return b"".join([_packed(sequence) for sequence in sequences])


def unpack(content: bytes | memoryview, row: int) -> list[Encoded]:
    """The sequences of a row, under its number; their arrays are read-only. Raises ValueError for other bytes."""
    found, place = [], 0
    while place < len(content):
        sequence, place = _unpacked(content, place, row)
        found.append(sequence)
    return found


def _packed(one: Encoded) -> bytes:
    text = None if one.text is None else one.text.encode("utf-8", "surrogatepass")
    kind, rows, columns = -1, 0, 0
    if one.labels is not None:
        kind, rows = _LABELS.index(one.labels.dtype.type), len(one.labels)
        columns = one.labels.shape[1] if one.labels.ndim == 2 else -1
    head = np.array(
        [
            len(one.ids),
            _size(one.segments),
            len(one.tokens),
            kind,
            rows,
            columns,
            _size(one.decoder_ids),
            _size(text),
            _size(one.offsets),
            _size(one.asked),
            -1 if one.end is None else one.end,
            -1 if one.fresh is None else one.fresh,
        ],
        dtype=np.int32,
    )
    arrays = (head, one.ids, one.segments, one.tokens, one.items, one.labels, one.decoder_ids, one.offsets, one.asked)
    return b"".join([array.tobytes() for array in arrays if array is not None] + ([text] if text else []))


def _size(part: Any) -> int:
    return -1 if part is None else len(part)


def _unpacked(content: bytes | memoryview, place: int, row: int) -> tuple[Encoded, int]:
    """The sequence that begins at a place, and where the next one does."""

    def array(kind: Any, count: int) -> NDArray[Any]:
        nonlocal place
        found = np.frombuffer(content, dtype=kind, count=count, offset=place)
        place += found.nbytes
        return found

    ids, segments, tokens, kind, rows, columns, decoder, text, offsets, asked, end, fresh = array(
        np.int32, _HEAD
    ).tolist()
    parts: dict[str, Any] = {"ids": array(np.int32, ids)}
    parts["segments"] = None if segments < 0 else array(np.int8, segments)
    parts["tokens"], parts["items"] = array(np.int32, tokens), array(np.int32, tokens)
    parts["labels"] = None if kind < 0 else array(_LABELS[kind], rows * (columns if columns >= 0 else 1))
    if columns >= 0 and kind >= 0:
        parts["labels"] = parts["labels"].reshape(rows, columns)
    parts["decoder_ids"] = None if decoder < 0 else array(np.int32, decoder)
    parts["offsets"] = None if offsets < 0 else array(np.int32, 2 * offsets).reshape(offsets, 2)
    parts["asked"] = None if asked < 0 else array(np.float32, 3 * asked).reshape(asked, 3)
    parts["text"] = None if text < 0 else bytes(array(np.uint8, text)).decode("utf-8", "surrogatepass")
    parts["end"] = None if end < 0 else end
    parts["fresh"] = None if fresh < 0 else fresh
    return Encoded(row=row, **parts), place
