"""Examples to token sequences: labels on first pieces, windows instead of silent cuts. Knows no files and no tasks."""

from __future__ import annotations

import re
from collections.abc import Sequence as Several
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptune.core.batch import CORPUS, Encoded
from adaptune.core.errors import Unsupported
from adaptune.core.types import (
    Example,
    Labels,
    OfCandidate,
    OfDocument,
    OfHypothesis,
    OfLabels,
    OfMarked,
    OfNumber,
    OfOption,
    OfRow,
    OfSequence,
    OfShares,
    OfWords,
    Reading,
    Sequence,
    Words,
    Writing,
)
from adaptune.data.encode_chat import encode_chat
from adaptune.data.encode_prompt import encode_prompts
from adaptune.data.encode_raw import encode_raw
from adaptune.data.encode_spans import encode_spans
from adaptune.data.encode_text import Written, encode_written
from adaptune.data.marked import encode_marked
from adaptune.data.special_tokens import special_tokens

OVERLAP = 0.25
"""Share of a window that it has in common with the one before."""

_CJK = re.compile("[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")


def encode(
    examples: Several[Example],
    tokenizer: Any,
    labels: Labels,
    *,
    max_length: int,
    segments: bool,
    writing: Writing | None = None,
    reading: Reading | None = None,
) -> list[Encoded]:
    """Every example as one or more token sequences, `Encoded.row` its index; before them their corpus, if any.

    `tokenizer` is a transformers fast tokenizer, `segments` says whether the model takes token types. `writing`: how
    texts that are to be written become tokens, where the head writes; `reading`: how tokens of raw texts are predicted.
    """
    if writing is not None:
        return written(examples, tokenizer, writing, max_length).encoded
    if reading is not None:
        return encode_raw(examples, tokenizer, reading, max_length, segments=segments)
    if any(sequence.prompt is not None for example in examples for sequence in example.sequences):
        return encode_prompts(examples, tokenizer, max_length, segments=segments)
    if any(_is_asked(sequence) for example in examples for sequence in example.sequences):
        return encode_spans(examples, tokenizer, max_length, segments=segments).encoded
    words: list[tuple[int, Sequence]] = []
    texts: list[tuple[int, Sequence]] = []
    spans: list[tuple[int, Sequence]] = []
    corpus = _corpus(examples)
    texts += [(CORPUS, sequence) for sequence in corpus]
    for row, example in enumerate(examples):
        for sequence in example.sequences[: 1 if corpus else None]:
            (spans if sequence.marks else texts if isinstance(sequence.first, str) else words).append((row, sequence))
    encoded = _encode_texts(texts, tokenizer, labels, max_length, segments)
    encoded += _encode_words(words, tokenizer, labels, max_length, segments)
    encoded += _encode_marked(spans, examples, tokenizer, labels, max_length=max_length, segments=segments)
    return sorted(encoded, key=lambda sequence: sequence.row)


def written(examples: Several[Example], tokenizer: Any, writing: Writing, max_length: int) -> Written:
    """What `encode` makes of rows whose targets are texts, with what did not fit."""
    chats = any(sequence.conversation is not None for example in examples for sequence in example.sequences)
    return (encode_chat if chats else encode_written)(examples, tokenizer, writing, max_length)


def _corpus(examples: Several[Example]) -> tuple[Sequence, ...]:
    """The one that all of them are answered from."""
    corpora = {id(example.corpus): example.corpus for example in examples if example.corpus}
    assert len(corpora) < 2 and all(bool(example.corpus) == bool(corpora) for example in examples), "one corpus for all"
    return next(iter(corpora.values()), ())


def _is_asked(sequence: Sequence) -> bool:
    """Whether it is a question beside a text that is read in windows."""
    return isinstance(sequence.second, str) and sequence.overflow == "window"


def _encode_texts(
    texts: Several[tuple[int, Sequence]], tokenizer: Any, labels: Labels, max_length: int, segments: bool
) -> list[Encoded]:
    if not texts:
        return []
    paired = [sequence.second is not None for _, sequence in texts]
    if any(paired) and not all(paired):
        raise Unsupported("some rows have a second text and some do not; give every row one, or none")
    seconds = [sequence.second for _, sequence in texts] if paired[0] else None
    output = tokenizer(
        [sequence.first for _, sequence in texts],
        seconds,
        truncation=True,
        max_length=max_length,
        return_attention_mask=False,
        return_token_type_ids=segments,
    )
    nothing = np.zeros(0, dtype=np.int32)
    return [
        Encoded(
            row=row,
            ids=np.array(ids, dtype=np.int32),
            segments=np.array(output["token_type_ids"][index], dtype=np.int8) if segments else None,
            tokens=nothing,
            items=nothing,
            labels=_sequence_labels(sequence, labels, row),
            text=_quoted(sequence),
        )
        for index, ((row, sequence), ids) in enumerate(zip(texts, output["input_ids"], strict=True))
    ]


def _quoted(sequence: Sequence) -> str | None:
    text = sequence.first if sequence.second is None else sequence.second
    return text if isinstance(text, str) else None


def _sequence_labels(sequence: Sequence, labels: Labels, row: int) -> NDArray[np.int64] | NDArray[np.float32] | None:
    if isinstance(sequence.target, (OfOption, OfHypothesis, OfCandidate, OfDocument)):
        return np.array([[sequence.target.grade, row]], dtype=np.float32)  # whole numbers stay exact to 16,777,216
    if isinstance(sequence.target, OfNumber) or (
        isinstance(sequence.target, OfRow) and not isinstance(sequence.target.value, str)
    ):
        return np.array([sequence.target.value], dtype=np.float32)
    if isinstance(sequence.target, OfLabels):
        several = np.zeros((1, len(labels)), dtype=np.float32)
        several[0, [labels.index(name) for name in sequence.target.values]] = 1
        return several
    if isinstance(sequence.target, OfShares):
        shares = np.zeros((1, len(labels)), dtype=np.float32)
        for name, probability in sequence.target.values:
            shares[0, labels.index(name)] = probability
        return shares
    if sequence.target is None:
        return None
    assert isinstance(sequence.target, (OfSequence, OfRow, OfMarked)) and isinstance(sequence.target.value, str)
    return np.array([labels.index(sequence.target.value)], dtype=np.int64)


def _encode_marked(
    spans: Several[tuple[int, Sequence]],
    examples: Several[Example],
    tokenizer: Any,
    labels: Labels,
    *,
    max_length: int,
    segments: bool,
) -> list[Encoded]:
    if not spans:
        return []
    named = [(examples[row].row.where, sequence) for row, sequence in spans]
    found = encode_marked(named, tokenizer, special_tokens(tokenizer), max_length)
    return [
        Encoded(
            row=row,
            ids=ids,
            segments=np.zeros(len(ids), dtype=np.int8) if segments else None,
            tokens=at,
            items=np.arange(len(at), dtype=np.int32),
            labels=_sequence_labels(sequence, labels, row),
        )
        for (row, sequence), (ids, at) in zip(spans, found, strict=True)
    ]


def _encode_words(
    words: Several[tuple[int, Sequence]], tokenizer: Any, labels: Labels, max_length: int, segments: bool
) -> list[Encoded]:
    if not words:
        return []
    pieces = Pieces(tokenizer)
    pieces.learn([sequence.first for _, sequence in words if isinstance(sequence.first, tuple)])
    return [
        window
        for row, sequence in words
        for window in _windows(row, sequence, pieces, labels, max_length=max_length, segments=segments)
    ]


def _windows(
    row: int, sequence: Sequence, pieces: Pieces, labels: Labels, *, max_length: int, segments: bool
) -> list[Encoded]:
    """The windows of one row; every word with a token belongs to the window in which it has the most context."""
    room = max_length - len(pieces.prefix) - len(pieces.suffix)
    assert isinstance(sequence.first, tuple)
    by_word = [ids[:room] for ids in pieces.of(sequence.first)]
    ends = np.cumsum([0] + [len(ids) for ids in by_word])
    cuts = _cut_words(ends, room)
    owner = _owners(ends, cuts)
    encoded = []
    for window, (first, last) in enumerate(cuts):
        ids = [*pieces.prefix, *(piece for ids in by_word[first:last] for piece in ids), *pieces.suffix]
        mine = np.array(
            [word for word in range(first, last) if owner[word] == window and by_word[word]], dtype=np.int32
        )
        encoded.append(
            Encoded(
                row=row,
                ids=np.array(ids, dtype=np.int32),
                segments=np.zeros(len(ids), dtype=np.int8) if segments else None,
                tokens=(ends[mine] - ends[first] + len(pieces.prefix)).astype(np.int32),
                items=mine,
                labels=_word_labels(sequence, mine, labels),
            )
        )
    return encoded


def _word_labels(sequence: Sequence, mine: NDArray[np.int32], labels: Labels) -> NDArray[np.int64] | None:
    if sequence.target is None:
        return None
    assert isinstance(sequence.target, OfWords)
    values = sequence.target.values
    return np.array([labels.index(values[word] or "O") for word in mine.tolist()], dtype=np.int64)


def _cut_words(ends: NDArray[np.int64], room: int) -> list[tuple[int, int]]:
    """First and last word (exclusive) of windows of at most `room` pieces that overlap by a share of it."""
    count = len(ends) - 1
    cuts, first = [], 0
    while True:
        last = int(np.searchsorted(ends, ends[first] + room, side="right")) - 1
        cuts.append((first, last))
        if last >= count:
            return cuts
        back = int(np.searchsorted(ends, ends[last] - OVERLAP * room, side="left"))
        first = min(max(back, first + 1), last)


def _owners(ends: NDArray[np.int64], cuts: Several[tuple[int, int]]) -> NDArray[np.int64]:
    """Which window each word belongs to: the one whose edges are farthest from it."""
    count = len(ends) - 1
    best, owner = np.full(count, -1.0), np.zeros(count, dtype=np.int64)
    for window, (first, last) in enumerate(cuts):
        words = np.arange(first, last)
        left = ends[words] - ends[first] + (np.inf if first == 0 else 0)
        right = ends[last] - ends[words + 1] + (np.inf if last == count else 0)
        context = np.minimum(left, right)
        wins = context > best[words]
        best[words[wins]], owner[words[wins]] = context[wins], window
    return owner


@dataclass(frozen=True, slots=True)
class _Glued:
    """A word that follows the one before without a space."""

    word: str


class Pieces:
    """The sub-words of words, each word tokenised once, and the special tokens around a sequence.

    Words are joined with spaces, Chinese and Japanese characters without. A tokenizer that marks the start of a word
    with a piece of its own ("▁") does so only where a space would stand.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.prefix, self.suffix = special_tokens(tokenizer)
        self.spaced = self._marks_spaces()
        self._known: dict[str | _Glued, list[int]] = {}

    def learn(self, rows: Several[str | Words | None]) -> None:
        """Tokenise every word that is not known yet, all at once."""
        new = [key for row in rows if isinstance(row, tuple) for key in self._keys(row) if key not in self._known]
        new = list(dict.fromkeys(new))
        if not new:
            return
        texts = [key.word if isinstance(key, _Glued) else (" " + key if self.spaced else key) for key in new]
        found = self._tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        for key, ids in zip(new, found, strict=True):
            self._known[key] = self._without_mark(ids) if isinstance(key, _Glued) else ids

    def of(self, row: Words) -> list[list[int]]:
        """The pieces of each word; a word of which the tokenizer makes nothing has none."""
        self.learn([row])
        return [self._known[key] for key in self._keys(row)]

    def _keys(self, row: Words) -> list[str | _Glued]:
        characters = all(len(word) == 1 for word in row) and any(_CJK.match(word) for word in row)
        keys: list[str | _Glued] = []
        for index, word in enumerate(row):
            before = row[index - 1] if index else ""
            if index:
                glued = characters or bool(before and word and _CJK.match(before[-1]) and _CJK.match(word[0]))
            else:
                glued = self.spaced or bool(_CJK.match(word))
            keys.append(_Glued(word) if glued else word)
        return keys

    def _marks_spaces(self) -> bool:
        """Whether a word's pieces differ after a space (byte-level tokenizers), found by trying."""
        ids = self._tokenizer(["a", " a", "a a"], add_special_tokens=False, return_attention_mask=False)["input_ids"]
        return bool(ids[2] == ids[0] + ids[1] and ids[0] != ids[1])

    def _without_mark(self, ids: list[int]) -> list[int]:
        """Without a first piece that only marks the start of a word; with the bare word's piece where there is one."""
        pieces = self._tokenizer.convert_ids_to_tokens(ids)
        if not pieces or not pieces[0].startswith("▁"):
            return ids
        if pieces[0] == "▁":
            return ids[1:]
        bare = self._tokenizer.convert_tokens_to_ids(pieces[0][1:])
        return ids if bare in (None, self._tokenizer.unk_token_id) else [bare, *ids[1:]]
