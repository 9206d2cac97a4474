"""Texts with marked spans to tokens: the marks are found again, and never cut off. Knows no files and no tasks."""

from __future__ import annotations

from collections.abc import Sequence as Several
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adaptune.core.errors import DataError, Unsupported
from adaptune.core.types import Sequence

Ids = NDArray[np.int32]


class Marked(NamedTuple):
    """One text in tokens, special ones included."""

    ids: Ids
    """(T,)"""
    at: Ids
    """(2 M,) of each marked span its first and its last token."""


def encode_marked(
    texts: Several[tuple[str, Sequence]], tokenizer: Any, special: tuple[list[int], list[int]], max_length: int
) -> list[Marked]:
    """Every text in at most `max_length` tokens; with each comes its row as messages name it.

    Of a text that is longer, what is farthest from all marked spans is left out, or it is refused, as it says itself.
    Raises DataError by row, Unsupported where the vocabulary lacks a marker.
    """
    output = tokenizer(
        [str(sequence.first) for _, sequence in texts],
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=True,
        verbose=False,  # it would warn of every text that is too long
    )
    before, after = special
    room = max_length - len(before) - len(after)
    found = []
    for index, (where, sequence) in enumerate(texts):
        ids = np.array(output["input_ids"][index], dtype=np.int32)
        spans = [_tokens_of(span, output["offset_mapping"][index], where) for span in sequence.marks]
        _check_known(ids, spans, sequence, tokenizer)
        kept = _kept(len(ids), spans, room, sequence.overflow, where)
        at = np.searchsorted(kept, [token for span in spans for token in span]) + len(before)
        found.append(Marked(np.array([*before, *ids[kept], *after], dtype=np.int32), at.astype(np.int32)))
    return found


def _tokens_of(span: tuple[int, int], offsets: Several[tuple[int, int]], where: str) -> tuple[int, int]:
    """The first and the last token of a span of characters."""
    inside = [token for token, (start, end) in enumerate(offsets) if start < span[1] and span[0] < end and start < end]
    if len(inside) < 2:
        raise DataError(f"{where}: the tokenizer makes no tokens of the marks at characters {span[0]} to {span[1]}")
    return inside[0], inside[-1]


def _check_known(ids: Ids, spans: Several[tuple[int, int]], sequence: Sequence, tokenizer: Any) -> None:
    for (first, last), (start, end) in zip(spans, sequence.marks, strict=True):
        if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in (int(ids[first]), int(ids[last])):
            text = str(sequence.first)[start:end]
            raise Unsupported(
                f"the vocabulary lacks the markers around {text!r}; set task.markers to signs that the model has"
            )


def _kept(count: int, spans: Several[tuple[int, int]], room: int, overflow: str, where: str) -> NDArray[np.int64]:
    """Which tokens stay: all, or those of the spans and the nearest to them."""
    if count <= room:
        return np.arange(count)
    if overflow == "refuse":
        raise DataError(
            f"{where}: the text has {count} tokens and the model reads {room}; shorten it, raise model.max_length, or "
            "set task.overflow: around"
        )
    places = np.arange(count)
    distance = np.min([np.maximum(np.maximum(first - places, places - last), 0) for first, last in spans], axis=0)
    if (distance == 0).sum() > room:
        raise DataError(f"{where}: the marked spans alone have more than the {room} tokens that the model reads")
    return np.sort(distance.argsort(kind="stable")[:room])
