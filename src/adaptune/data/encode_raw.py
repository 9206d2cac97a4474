"""Raw texts as tokens that predict each other, masked or from left to right. Knows no files and no tasks."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Several
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adaptune.core.batch import Encoded
from adaptune.core.types import Example, Reading
from adaptune.data.encode_text import AT_ONCE, end_tokens
from adaptune.data.special_tokens import special_tokens

MASKED, REPLACED = 0.8, 0.1
"""Of the chosen tokens: shares that are hidden, and that another token stands in for (Devlin et al., 2019)."""


class _Text(NamedTuple):
    ids: list[int]
    words: list[int]
    """Which word each token belongs to."""


def encode_raw(
    examples: Several[Example], tokenizer: Any, reading: Reading, max_length: int, *, segments: bool
) -> list[Encoded]:
    """Every text in consecutive windows of at most `max_length` tokens, its own token ids as labels.

    Masked: texts with a target have labels at all their tokens, nothing hidden yet (`masked` does that); of others
    every sequence hides one of at most `reading.scored` tokens (Salazar et al., 2020). From left to right: the token
    before carries the label, the end of the text is predicted too.
    """
    rows = [(row, sequence) for row, example in enumerate(examples) for sequence in example.sequences]
    window = _Windows(tokenizer, reading, max_length)
    encoded: list[Encoded] = []
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        for (row, sequence), text in zip(some, _tokens(tokenizer, [str(s.first) for _, s in some]), strict=True):
            windows = list(window.cut(row, text, segments=segments))
            scored = reading.mask is not None and sequence.target is None
            encoded += _one_by_one(windows, reading) if scored else windows
    return encoded


def masked(sequence: Encoded, reading: Reading, seed: Several[int]) -> Encoded:
    """Some of a sequence's labelled tokens chosen and hidden, by the seed alone; the others lose their labels.

    A share of them is chosen, at least one; of these 80 % become the mask, 10 % any token, 10 % stay (Devlin et al.,
    2019).
    """
    if reading.mask is None or not len(sequence.tokens):
        return sequence
    generator = np.random.default_rng(list(seed))
    chosen = _chosen(sequence.items, reading, generator)
    places = sequence.tokens[chosen]
    ids, fate = sequence.ids.copy(), generator.random(len(places))
    ids[places] = np.where(
        fate < MASKED,
        reading.mask,
        np.where(fate < MASKED + REPLACED, generator.choice(_others(reading), len(places)), ids[places]),
    )
    assert sequence.labels is not None
    return replace(
        sequence, ids=ids, tokens=places, items=sequence.items[chosen], labels=_integers(sequence.labels[chosen])
    )


@lru_cache(maxsize=8)
def _others(reading: Reading) -> NDArray[np.int32]:
    """Ids that may stand in for a token."""
    return np.setdiff1d(np.arange(reading.vocabulary, dtype=np.int32), np.array(reading.special, dtype=np.int32))


def masked_once(encoded: Several[Encoded], reading: Reading | None, seed: int) -> list[Encoded]:
    """Every sequence as the first epoch of this seed hides its tokens; unchanged where there is nothing to hide."""
    if reading is None:
        return list(encoded)
    return [masked(sequence, reading, (seed, 0, index)) for index, sequence in enumerate(encoded)]


def _chosen(words: NDArray[np.int32], reading: Reading, generator: np.random.Generator) -> NDArray[np.int64]:
    """Which of the labelled tokens are predicted, in order."""
    count = max(1, round(reading.share * len(words)))
    if not reading.whole_words:
        return np.sort(generator.permutation(len(words))[:count])
    order = generator.permutation(np.unique(words))
    sizes = np.array([np.count_nonzero(words == word) for word in order]).cumsum()
    taken = order[: int(np.searchsorted(sizes, count)) + 1]
    return np.flatnonzero(np.isin(words, taken))


def _one_by_one(windows: list[Encoded], reading: Reading) -> list[Encoded]:
    """A copy of its window for each scored token, that token hidden."""
    places = [(window, at) for window in windows for at in range(len(window.tokens))]
    if not places:
        return windows
    assert reading.mask is not None
    spread = np.unique(np.linspace(0, len(places) - 1, min(len(places), reading.scored)).round().astype(int))
    return [_hiding(window, at, reading.mask) for window, at in (places[index] for index in spread.tolist())]


def _hiding(window: Encoded, at: int, mask: int) -> Encoded:
    ids = window.ids.copy()
    ids[window.tokens[at]] = mask
    one = slice(at, at + 1)
    assert window.labels is not None
    return replace(
        window, ids=ids, tokens=window.tokens[one], items=window.items[one], labels=_integers(window.labels[one])
    )


def _tokens(tokenizer: Any, texts: list[str]) -> Iterator[_Text]:
    output = tokenizer(
        texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False, verbose=False
    )
    for index, ids in enumerate(output["input_ids"]):
        words = output.word_ids(index)
        yield _Text(ids, [place if word is None else word for place, word in enumerate(words)])


class _Windows:
    """How many tokens go into one sequence, and what stands around them."""

    def __init__(self, tokenizer: Any, reading: Reading, max_length: int) -> None:
        self._prefix, self._suffix = special_tokens(tokenizer)
        self._end = end_tokens(tokenizer, self._suffix) if reading.mask is None else []
        self._masks = reading.mask is not None
        self._length = max_length

    def cut(self, row: int, text: _Text, *, segments: bool) -> Iterator[Encoded]:
        """The sequences of one text, at least one."""
        for ids, tokens, items, labels in self._masked(text) if self._masks else self._causal(text):
            yield Encoded(
                row=row,
                ids=np.array(ids, dtype=np.int32),
                segments=np.zeros(len(ids), dtype=np.int8) if segments else None,
                tokens=np.array(tokens, dtype=np.int32),
                items=np.array(items, dtype=np.int32),
                labels=np.array(labels, dtype=np.int64),
            )

    def _masked(self, text: _Text) -> Iterator[tuple[list[int], range, list[int], list[int]]]:
        room, before = self._length - len(self._prefix) - len(self._suffix), len(self._prefix)
        for start in range(0, max(1, len(text.ids)), room):
            ids = text.ids[start : start + room]
            whole = [*self._prefix, *ids, *self._suffix]
            yield whole, range(before, before + len(ids)), text.words[start : start + room], ids

    def _causal(self, text: _Text) -> Iterator[tuple[list[int], range, list[int], list[int]]]:
        """Each window but the first begins with the last token that the one before predicts."""
        whole = [*self._prefix, *text.ids, *self._end]
        for start in range(0, max(1, len(whole) - 1), self._length):
            labels = whole[start + 1 : start + 1 + self._length]
            ids = whole[start : start + max(1, len(labels))]
            yield ids, range(len(labels)), list(range(start, start + len(labels))), labels


def _integers(labels: NDArray[Any]) -> NDArray[np.int64]:
    return labels.astype(np.int64)
