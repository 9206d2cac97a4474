"""Prompts as tokens, with the places where answers are read. Knows no files, no tasks and no templates."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Several
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adaptune.core.batch import Encoded
from adaptune.core.errors import Unsupported
from adaptune.core.types import Blank, Example, Given, OfPrompt, Prompt, Sequence, Soft
from adaptune.data.encode_text import AT_ONCE
from adaptune.data.findings import Finding
from adaptune.data.special_tokens import special_tokens


class _Word(NamedTuple):
    """One way to say an answer."""

    answer: int
    ids: list[int]
    weight: float


@dataclass(frozen=True, slots=True)
class _Text:
    """A prompt written out."""

    text: str
    blank: tuple[int, int]
    """Its characters; empty, and at the end, where the answer follows."""
    soft: tuple[tuple[int, int], ...]
    """Characters of each run of own tokens."""


class _Read(NamedTuple):
    """A prompt as tokens, without special ones around it."""

    ids: list[int]
    blank: list[int]
    """Places of its hidden tokens."""
    soft: list[int]
    words: list[_Word]
    lost: int
    """Texts in front that had no room."""
    cut: bool
    """Whether a text of the row lost its end."""


def encode_prompts(examples: Several[Example], tokenizer: Any, max_length: int, *, segments: bool) -> list[Encoded]:
    """Every prompt as one sequence that hides its answer, or as one for each word that may follow it.

    Items are the tokens of the words, by `Encoded.asked`, each at the place whose hidden state predicts it; a last
    token that predicts nothing is not read. Raises Unsupported for a template that leaves no room, or a word that does
    not fit its blank.
    """
    rows = [(row, sequence) for row, example in enumerate(examples) for sequence in example.sequences]
    reader = _Reader(tokenizer, max_length, segments=segments)
    read: list[_Read] = []
    for start in range(0, len(rows), AT_ONCE):
        read += reader.read([_prompt(sequence) for _, sequence in rows[start : start + AT_ONCE]])
    common = _common([one.ids for one in read])
    return [
        encoded
        for (row, sequence), found in zip(rows, read, strict=True)
        for encoded in reader.encoded(row, sequence, found, common)
    ]


def prompt_findings(examples: Several[Example], tokenizer: Any, max_length: int) -> list[Finding]:
    """What prompts lose that are longer than the model reads, as sentences."""
    rows = [(example.row.where, sequence) for example in examples for sequence in example.sequences]
    reader = _Reader(tokenizer, max_length, segments=False)
    read = reader.read([_prompt(sequence) for _, sequence in rows])
    kinds = (
        (
            [one.lost > 0 for one in read],
            "row has no room for all demonstrations",
            "rows have no room for all demonstrations",
        ),
        (
            [one.cut for one in read],
            "row is longer and loses the end of its text",
            "rows are longer and lose the ends of their texts",
        ),
    )
    found = []
    for which, one, many in kinds:
        where = tuple(where for (where, _), there in zip(rows, which, strict=True) if there)
        if where:
            said = f"1 {one}" if len(where) == 1 else f"{len(where):,} {many}"
            advice = "raise model.max_length where the model allows it, or shorten what stands around them"
            found.append(Finding("warning", f"{said}; {advice}", where))
    return found


def _prompt(sequence: Sequence) -> Prompt:
    assert sequence.prompt is not None, "an approach puts all rows of a run as prompts, or none"
    return sequence.prompt


class _Reader:
    """A tokenizer with what stands around a sequence, and the words that it has seen."""

    def __init__(self, tokenizer: Any, max_length: int, *, segments: bool) -> None:
        self._tokenizer, self._max_length, self._segments = tokenizer, max_length, segments
        self._prefix, self._suffix = special_tokens(tokenizer)
        self._words: dict[tuple[object, ...], list[_Word]] = {}

    def read(self, prompts: Several[Prompt]) -> list[_Read]:
        """Each prompt, cut where it is too long."""
        texts = [self._written(prompt, prompt.shots, _texts(prompt)) for prompt in prompts]
        outputs = self._tokens([text.text for text in texts])
        return [
            self._fitted(prompt, text, *output) for prompt, text, output in zip(prompts, texts, outputs, strict=True)
        ]

    def encoded(self, row: int, sequence: Sequence, read: _Read, common: int) -> Iterator[Encoded]:
        """The sequences of one prompt; `common`: tokens that all prompts begin with."""
        labels = None
        if sequence.target is not None:
            assert isinstance(sequence.target, OfPrompt)
            labels = np.array([sequence.target.right], dtype=np.int64)
        if read.blank:
            whole = [*self._prefix, *read.ids, *self._suffix]
            blank = [len(self._prefix) + place for place in read.blank]
            items = [(number, place, word) for number, word in enumerate(read.words) for place in blank]
            ids = list(chain.from_iterable(word.ids for word in read.words))
            yield self._one(row, whole, read, [(*one, ids[at]) for at, one in enumerate(items)], labels)
            return
        before = [*self._prefix, *read.ids]
        for number, word in enumerate(read.words):
            places = range(len(before) - 1, len(before) - 1 + len(word.ids))
            found = [(number, place, word, token) for place, token in zip(places, word.ids, strict=True)]
            own = len(word.ids) - 1
            fresh = own if number else len(before) + own - len(self._prefix) - common
            yield self._one(row, [*before, *word.ids[:-1]], read, found, labels, fresh=fresh)

    def _one(
        self,
        row: int,
        ids: list[int],
        read: _Read,
        items: Several[tuple[int, int, _Word, int]],
        labels: NDArray[np.int64] | None,
        *,
        fresh: int | None = None,
    ) -> Encoded:
        """`items`: for each token of a word the word's number, the place, the word, the token's id."""
        own = len(read.soft)
        asked = [(0, 0, 0.0)] * own + [(token, word.answer, word.weight) for _, _, word, token in items]
        soft = [len(self._prefix) + place for place in read.soft]
        return Encoded(
            row=row,
            ids=np.array(ids, dtype=np.int32),
            segments=np.zeros(len(ids), dtype=np.int8) if self._segments else None,
            tokens=np.array([*soft, *(place for _, place, _, _ in items)], dtype=np.int32),
            items=np.array([*range(own), *(own + number for number, _, _, _ in items)], dtype=np.int32),
            labels=labels,
            asked=np.array(asked, dtype=np.float32),
            fresh=fresh,
        )

    def _fitted(self, prompt: Prompt, text: _Text, ids: list[int], offsets: list[tuple[int, int]]) -> _Read:
        words = self._words_of(prompt)
        follows = not text.blank[1] > text.blank[0]
        room = self._max_length - len(self._prefix)
        room -= max(len(word.ids) for word in words) - 1 if follows else len(self._suffix)
        shots, givens = prompt.shots, _texts(prompt)
        while len(ids) > room:
            if shots:
                shots = shots[1:]
            else:
                givens = self._shorter(givens, len(ids) - room, len(ids), room)
            text = self._written(prompt, shots, givens)
            ((ids, offsets),) = self._tokens([text.text])
        lost, cut = len(prompt.shots) - len(shots), givens != _texts(prompt)
        soft = [place for span in text.soft for place in self._within(offsets, ids, span, self._stand_in)]
        blank = [] if follows else self._within(offsets, ids, text.blank, self._tokenizer.mask_token_id)
        if len(soft) != sum(part.tokens for part in prompt.parts if isinstance(part, Soft)):
            raise Unsupported("the tokenizer joins what stands for own tokens; put a space on both sides of {soft:N}")
        return _Read(ids, blank, soft, words, lost, cut)

    def _shorter(self, texts: list[str], over: int, has: int, room: int) -> list[str]:
        """The longest text without so many tokens at its end. Raises Unsupported where none is left."""
        longest = max(range(len(texts)), key=lambda place: len(texts[place]), default=None)
        if longest is None or not texts[longest]:
            raise Unsupported(
                f"approach.template alone has {has} tokens, and the model has room for {room}; shorten it, or raise "
                "model.max_length where the model allows it"
            )
        ((_, offsets),) = self._tokens([texts[longest]])
        kept = len(offsets) - over
        end = offsets[kept - 1][1] if kept > 0 else 0
        return [text[: min(end, len(text) - 1)] if place == longest else text for place, text in enumerate(texts)]

    def _words_of(self, prompt: Prompt) -> list[_Word]:
        """The tokens of every word, as they follow what stands before the blank."""
        place = next(at for at, part in enumerate(prompt.parts) if isinstance(part, Blank))
        before = prompt.parts[place - 1] if place else ""
        tail = before if isinstance(before, str) else ""
        blank = prompt.parts[place]
        assert isinstance(blank, Blank)
        key = (tail, blank.masks, prompt.per, prompt.answers)
        if key not in self._words:
            found = [
                (answer, word, self._after(tail, word)) for answer, words in enumerate(prompt.answers) for word in words
            ]
            if blank.masks is not None:
                self._check_blank(blank.masks, found)
            self._words[key] = [_Word(answer, ids, _weight(prompt, word, ids)) for answer, word, ids in found]
        return self._words[key]

    def _check_blank(self, masks: int, found: Several[tuple[int, str, list[int]]]) -> None:
        wrong = [(word, self._tokenizer.convert_ids_to_tokens(ids)) for _, word, ids in found if len(ids) != masks]
        if wrong:
            shown = "; ".join(f"{word!r} is {len(pieces)}: {' '.join(pieces)}" for word, pieces in wrong[:5])
            raise Unsupported(
                f"the template's blank has {masks} token{'s' * (masks > 1)}, and the vocabulary writes {len(wrong)} of "
                f"the words otherwise ({shown}); choose other words, or {{answer:N}} for words that all have N tokens"
            )

    def _after(self, tail: str, word: str) -> list[int]:
        """A word's tokens behind a text; where the two would grow together, those of the word by itself."""
        bare, itself = tail.rstrip(), self._tokens([word])[0][0]
        if not itself:
            raise Unsupported(f"the tokenizer makes nothing of the word {word!r}; choose another for its label")
        if not tail:
            return itself
        written = f"{bare or 'a'}{tail[len(bare) :]}{word}"
        (alone, _), (whole, _) = self._tokens([bare or "a", written])
        return whole[len(alone) :] if whole[: len(alone)] == alone and len(whole) > len(alone) else itself

    @property
    def _stand_in(self) -> int:
        """The token that keeps the place of an own one."""
        found: int = self._tokenizer.convert_tokens_to_ids(self._stand_in_text)
        return found

    @property
    def _stand_in_text(self) -> str:
        names = (self._tokenizer.unk_token, self._tokenizer.eos_token, self._tokenizer.mask_token)
        return next(str(name) for name in names if name is not None)

    def _written(self, prompt: Prompt, shots: Several[str], texts: Several[str]) -> _Text:
        """`texts`: those of its given parts, perhaps shortened."""
        text, left = prompt.before + "".join(shots), list(texts)
        blank, soft = (0, 0), []
        for part in prompt.parts:
            start = len(text)
            if isinstance(part, str):
                text += part
            elif isinstance(part, Given):
                text += left.pop(0)
            elif isinstance(part, Soft):
                text += self._stand_in_text * part.tokens
                soft.append((start, len(text)))
            elif part.masks is None:
                text = text.rstrip()  # the space is the answer's: tokens of words begin with it
                blank = (len(text), len(text))
            else:
                text += str(self._tokenizer.mask_token) * part.masks
                blank = (start, len(text))
        return _Text(text, blank, tuple(soft))

    def _tokens(self, texts: Several[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        output = self._tokenizer(
            list(texts),
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        return list(zip(output["input_ids"], output["offset_mapping"], strict=True))

    @staticmethod
    def _within(offsets: Several[tuple[int, int]], ids: Several[int], span: tuple[int, int], token: int) -> list[int]:
        """Places of a token within a span of characters."""
        pairs = zip(offsets, ids, strict=True)
        return [
            at for at, ((start, end), one) in enumerate(pairs) if one == token and start < span[1] and end > span[0]
        ]


def _weight(prompt: Prompt, word: str, ids: list[int]) -> float:
    """Of each token in the score of a word."""
    return 1 / {"answer": 1, "token": len(ids), "byte": len(word.encode())}[prompt.per]


def _texts(prompt: Prompt) -> list[str]:
    return [part.text for part in prompt.parts if isinstance(part, Given)]


def _common(prompts: Several[list[int]]) -> int:
    """Tokens that all of several prompts begin with."""
    if len(prompts) < 2:
        return 0
    first, common = prompts[0], min(map(len, prompts))
    for one in prompts[1:]:
        common = next((at for at in range(common) if one[at] != first[at]), common)
    return common
