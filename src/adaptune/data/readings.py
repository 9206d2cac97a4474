"""What a model reads of a row and what it learns there, as plain records. Knows encoded sequences, and no task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adaptune.core.batch import Encoded
from adaptune.core.types import Array, Labels

IGNORED = 0
"""Labels below it are none: losses leave them out."""

Learned = str | float | tuple[str, ...]
"""A label, a number, several labels, or the token that is to be written next."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token as the model reads it."""

    text: str
    special: bool = False
    """Whether the tokenizer put it there, not the text."""
    label: Learned | None = None
    """What is learned at this token: it carries loss. None: it carries none of its own."""
    read: bool = False
    """Whether the head reads this token, of few, for the label of the whole sequence."""

    def record(self) -> dict[str, Any]:
        """As JSON, what does not hold left out."""
        values = {"token": self.text, "special": self.special, "label": self.label, "read": self.read}
        return {name: value for name, value in values.items() if value is not None and value is not False}


@dataclass(frozen=True, slots=True)
class AsRead:
    """One token sequence of a row as the model reads it."""

    tokens: tuple[Token, ...]
    label: Learned | None = None
    """What is learned of the whole sequence: all of it carries the loss. None: its labelled tokens carry it, if any."""
    decoder: tuple[Token, ...] = ()
    """What the decoder of a model of two stacks reads; labelled tokens are then among these."""

    @property
    def learns(self) -> bool:
        """Whether any loss comes of it."""
        return self.label is not None or any(token.label is not None for token in (*self.tokens, *self.decoder))

    def record(self) -> dict[str, Any]:
        """As JSON, what does not hold left out."""
        found: dict[str, Any] = {"tokens": [token.record() for token in self.tokens]}
        if self.decoder:
            found["decoder"] = [token.record() for token in self.decoder]
        return found if self.label is None else found | {"label": self.label}


def reading_of(encoded: Encoded, tokenizer: Any, labels: Labels, own_tokens: Sequence[str] = ()) -> AsRead:
    """An encoded sequence in words; where there are no `labels` to choose from, tokens themselves are learned.

    `own_tokens`: names of what a head puts in the place of the labelled items, by item.
    """
    names = [] if encoded.labels is None else [_learned(label, tokenizer, labels) for label in encoded.labels]
    places = encoded.tokens.tolist()
    if encoded.asked is None and places and len(names) == len(places):
        learned, read, whole = dict(zip(places, names, strict=True)), set[int](), None
    else:
        learned, read, whole = {}, set(places), _whole(names)
    if encoded.decoder_ids is None:
        pairs = zip(places, encoded.items.tolist(), strict=True)
        own = {place: item for place, item in pairs if item < len(own_tokens)}
        found = _tokens(encoded.ids, tokenizer, learned, read)
        named = (replace(one, text=own_tokens[own[place]]) if place in own else one for place, one in enumerate(found))
        return AsRead(tuple(named), whole)
    decoder = _tokens(encoded.decoder_ids, tokenizer, learned, read)
    return AsRead(_tokens(encoded.ids, tokenizer, {}, set()), whole, decoder)


def _whole(names: Sequence[Learned | None]) -> Learned | None:
    """What is learned of a whole sequence; what is neither one label nor one a token is shown as several."""
    return names[0] if len(names) == 1 else tuple(map(str, names)) or None


def _tokens(ids: Array, tokenizer: Any, learned: dict[int, Learned | None], read: set[int]) -> tuple[Token, ...]:
    special = set(tokenizer.all_special_ids)
    return tuple(
        Token(token_text(one, tokenizer), one in special, learned.get(place), place in read)
        for place, one in enumerate(ids.tolist())
    )


def _learned(label: Any, tokenizer: Any, labels: Labels) -> Learned | None:
    """One label as encoded: an index of a label or a token, a number, or 0 and 1 of every label."""
    if isinstance(label, np.ndarray) and not len(labels):
        return float(label[0])  # how right one of several sequences is; the other is its row
    if isinstance(label, np.ndarray):
        return tuple(name for name, has in zip(labels.names, label.tolist(), strict=True) if has)
    if isinstance(label, np.floating):
        return float(f"{float(label):.6g}")  # as it was written: float32 holds no more
    if label < IGNORED:
        return None
    if not len(labels):
        return token_text(int(label), tokenizer)
    return labels.names[int(label)] if label < len(labels) else str(int(label))


def token_text(one: int, tokenizer: Any) -> str:
    """A token as its vocabulary spells it; of bytes that are whole characters these, behind the mark of a space."""
    piece = str(tokenizer.convert_ids_to_tokens(one))
    text = str(tokenizer.decode([one], clean_up_tokenization_spaces=False)).strip()
    spelt_in_bytes = "\ufffd" not in text and any(character not in piece for character in text)
    return ("Ġ" if piece.startswith("Ġ") else "") + text if spelt_in_bytes else piece


def readings_of(
    encoded: Sequence[Encoded], tokenizer: Any, labels: Labels, own_tokens: Sequence[str] = ()
) -> dict[int, list[AsRead]]:
    """Every sequence in words, by its row's index."""
    found: dict[int, list[AsRead]] = {}
    for sequence in encoded:
        found.setdefault(sequence.row, []).append(reading_of(sequence, tokenizer, labels, own_tokens))
    return found
