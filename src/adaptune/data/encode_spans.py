"""Questions beside texts to tokens: long texts in overlapping windows, each token located. Knows no files."""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptune.core.batch import Encoded
from adaptune.core.errors import DataError
from adaptune.core.types import Example, OfSpan, Sequence
from adaptune.data.findings import Finding

OVERLAP = 0.25
"""Share of a window's text that it has in common with the one before."""
AT_ONCE = 1000
"""Rows that are tokenised together."""
LEAST = 2
"""Tokens of the text that must fit beside the question, so that windows move on."""
SHOWN = 3
"""Rows that a message names."""


@dataclass(slots=True)
class Spanned:
    """Encoded rows, and those whose answer is whole in no window, named as messages do."""

    encoded: list[Encoded] = field(default_factory=list)
    answered: int = 0
    """Rows whose answer is whole in some window."""
    lost: list[str] = field(default_factory=list)

    def findings(self) -> list[Finding]:
        """The same as sentences. Raises DataError where rows have answers, and all are lost."""
        if not self.lost:
            return []
        count = "1 row has an answer" if len(self.lost) == 1 else f"{len(self.lost):,} rows have answers"
        text = f"{count} whole in no window; raise model.max_length where the model allows it, or shorten the questions"
        if not self.answered:
            named = ", ".join(self.lost[:SHOWN]) + (", ..." if len(self.lost) > SHOWN else "")
            raise DataError(f"no answer is left to learn: {text} ({named})")
        return [
            Finding("warning", f"{text}; all that is learned of them is that a window holds none", tuple(self.lost))
        ]


@dataclass(frozen=True, slots=True)
class _Pair:
    """One question and its text in tokens."""

    ids: NDArray[np.int32]
    """(T,) special tokens included."""
    segments: NDArray[np.int8] | None
    """(T,)"""
    first: int
    last: int
    """Where the text's tokens begin, and the position after them."""
    offsets: NDArray[np.int32]
    """(last - first, 2) characters of the text, without white space; of a token without others, start and end agree."""


def encode_spans(examples: Several[Example], tokenizer: Any, max_length: int, *, segments: bool) -> Spanned:
    """Every example as one or more windows of its text, each beside the whole question.

    Item 0 of a window is its first token, which stands for no answer; the others are the text's tokens. Raises
    DataError for a question that leaves no room.
    """
    found = Spanned()
    between = "" if tells_apart(tokenizer) else "\n"
    rows = [(row, sequence) for row, example in enumerate(examples) for sequence in example.sequences]
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        pairs = _pairs([sequence for _, sequence in some], tokenizer, between, segments)
        for (row, sequence), pair in zip(some, pairs, strict=True):
            _add(found, row, (examples[row].row.where, sequence), pair, max_length)
    return found


def _add(found: Spanned, row: int, named: tuple[str, Sequence], pair: _Pair, max_length: int) -> None:
    where, sequence = named
    around = len(pair.ids) - (pair.last - pair.first)
    room = max_length - around
    if room < min(LEAST, pair.last - pair.first):
        raise DataError(
            f"{where}, column 'question': it has {around} tokens with those that mark a text's start and end, and the "
            f"model reads {max_length}, which leaves no room for the context; shorten it, or raise model.max_length"
        )
    target = sequence.target.span if isinstance(sequence.target, OfSpan) else None
    whole = False
    for start, end in _windows(pair.last - pair.first, room):
        window, complete = _window(row, sequence, pair, (start, end), target)
        found.encoded.append(window)
        whole = whole or complete
    if target is not None:
        found.answered += whole
        found.lost += [] if whole else [where]


def _window(
    row: int, sequence: Sequence, pair: _Pair, cut: tuple[int, int], target: tuple[int, int] | None
) -> tuple[Encoded, bool]:
    """The text's tokens from one to another, and whether the answer is among them."""
    start, end = cut
    kept = np.r_[0 : pair.first, pair.first + start : pair.first + end, pair.last : len(pair.ids)]
    visible = pair.offsets[:, 0] < pair.offsets[:, 1]
    items = np.cumsum(visible)  # white space alone is no item
    here = np.flatnonzero(visible[start:end]) + start
    offsets = pair.offsets[here]
    labels = _labels(offsets, pair.offsets[visible], target) if target is not None else (0, 0)
    return Encoded(
        row=row,
        ids=pair.ids[kept],
        segments=None if pair.segments is None else pair.segments[kept],
        tokens=np.r_[0, here - start + pair.first].astype(np.int32),
        items=np.r_[0, items[here]].astype(np.int32),
        labels=None if sequence.target is None else np.array([labels], dtype=np.int64),
        text=str(sequence.second),
        offsets=np.r_[np.zeros((1, 2), np.int32), offsets],
    ), labels != (0, 0)


def _labels(here: NDArray[np.int32], every: NDArray[np.int32], target: tuple[int, int]) -> tuple[int, int]:
    """Which items of a window start and end the answer, the first being 1; twice 0 where it is not whole in it."""
    touched = every[(every[:, 0] < target[1]) & (target[0] < every[:, 1])]
    inside = np.flatnonzero((here[:, 0] < target[1]) & (target[0] < here[:, 1]))
    if not len(touched) or len(inside) < len(touched):
        return 0, 0
    return int(inside[0]) + 1, int(inside[-1]) + 1


def _windows(count: int, room: int) -> list[tuple[int, int]]:
    """First and last token (exclusive) of windows that overlap."""
    step = max(1, room - int(OVERLAP * room))
    starts = range(0, max(1, count - room + step), step)
    return [(start, min(count, start + room)) for start in starts]


def _pairs(sequences: Several[Sequence], tokenizer: Any, between: str, segments: bool) -> list[_Pair]:
    output = tokenizer(
        [f"{sequence.first}{between}" for sequence in sequences],
        [sequence.second for sequence in sequences],
        return_attention_mask=False,
        return_token_type_ids=segments,
        return_offsets_mapping=True,
        verbose=False,  # it would warn of every text that is too long
    )
    found = []
    for index, sequence in enumerate(sequences):
        ids = np.array(output["input_ids"][index], dtype=np.int32)
        own = [place for place, part in enumerate(output.sequence_ids(index)) if part == 1]
        first, last = (own[0], own[-1] + 1) if own else (len(ids), len(ids))
        offsets = [_trimmed(str(sequence.second), *span) for span in output["offset_mapping"][index][first:last]]
        types = np.array(output["token_type_ids"][index], dtype=np.int8) if segments else None
        found.append(_Pair(ids, types, first, last, np.array(offsets, dtype=np.int32).reshape(-1, 2)))
    return found


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Without white space at either end, which some tokenizers count in."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def tells_apart(tokenizer: Any) -> bool:
    """Whether the tokenizer puts a special token between two texts."""
    parts = tokenizer("a", "a").sequence_ids(0)
    return any(part is None for part in parts[parts.index(0) : parts.index(1)])
