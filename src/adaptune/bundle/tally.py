"""What is counted of rows as they are answered: the sums of which references and windows consist. Knows no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptune.core.batch import Encoded
from adaptune.core.types import Example, Labels, Words

CONFIDENCES: NDArray[np.float64] = np.linspace(0.0, 1.0, 21)
"""Edges of the histogram of confidences."""
LENGTHS: NDArray[np.float64] = np.array([0, *sorted({int(2 ** (step / 4)) for step in range(61)})], dtype=np.float64)
"""Edges of the histogram of characters: four steps to each doubling, up to 32,768; longer texts are in the last."""
NUMBERS: NDArray[np.float64] = np.array([-1e6, *np.linspace(-4.0, 4.0, 33)])
"""Edges of the histogram of predicted numbers, in standard deviations of the training targets from their mean: steps of
a quarter; what lies further out is in the first or the last."""
MOST_LABELS = 1000
"""Labels that one tally tells apart; what comes beyond is counted as OTHER."""
NONE, OTHER, ABSTAINED = "(none)", "(other)", "(abstained)"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is remembered of one answered row, which is never its text."""

    labels: tuple[str, ...] = ()
    """That the answer gives; empty where the task gives none."""
    confidence: float | None = None
    characters: int | None = None
    unknown: int = 0
    """Of its tokens, those that stand for what the tokenizer does not know."""
    tokens: int = 0
    """0 where the tokenizer knows everything."""
    number: float | None = None
    """That the answer gives, in standard deviations of the training targets from their mean."""


@dataclass(slots=True)
class Tally:
    """Sums over rows; two tallies add up to that of all their rows."""

    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    confidence: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CONFIDENCES) - 1, np.int64))
    confidence_sum: float = 0.0
    number: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(NUMBERS) - 1, np.int64))
    number_sum: float = 0.0
    length: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(LENGTHS) - 1, np.int64))
    length_sum: float = 0.0
    unknown: int = 0
    tokens: int = 0
    vectors: int = 0
    vector: NDArray[np.float64] | None = None
    """(D) the sum of the sequences' vectors, each of length 1."""

    def add(self, seen: Seen) -> None:
        """Count a row."""
        self.rows += 1
        for label in seen.labels:
            self.labels[label if label in self.labels or len(self.labels) < MOST_LABELS else OTHER] += 1
        if seen.confidence is not None:
            self.confidence[_bin(CONFIDENCES, seen.confidence)] += 1
            self.confidence_sum += seen.confidence
        if seen.number is not None:
            self.number[_bin(NUMBERS, max(float(NUMBERS[0]), seen.number))] += 1
            self.number_sum += seen.number
        if seen.characters is not None:
            self.length[_bin(LENGTHS, seen.characters)] += 1
            self.length_sum += seen.characters
        self.unknown += seen.unknown
        self.tokens += seen.tokens

    def add_vectors(self, count: int, total: NDArray[np.float64]) -> None:
        """Count sequences by the sum of their vectors."""
        self.vectors += count
        self.vector = total.copy() if self.vector is None else self.vector + total

    def plus(self, other: Tally) -> Tally:
        """The rows of both."""
        labels = self.labels + other.labels
        vectors = [one.vector for one in (self, other) if one.vector is not None]
        return Tally(
            rows=self.rows + other.rows,
            labels=labels,
            confidence=self.confidence + other.confidence,
            confidence_sum=self.confidence_sum + other.confidence_sum,
            number=self.number + other.number,
            number_sum=self.number_sum + other.number_sum,
            length=self.length + other.length,
            length_sum=self.length_sum + other.length_sum,
            unknown=self.unknown + other.unknown,
            tokens=self.tokens + other.tokens,
            vectors=self.vectors + other.vectors,
            vector=None if not vectors else np.sum(vectors, axis=0),
        )

    @property
    def confidences(self) -> int:
        """Rows that have a confidence."""
        return int(self.confidence.sum())

    @property
    def numbers(self) -> int:
        """Rows that have a number."""
        return int(self.number.sum())

    @property
    def lengths(self) -> int:
        """Rows whose length is known."""
        return int(self.length.sum())


def tally_of(rows: Iterable[Seen]) -> Tally:
    """The sums over rows."""
    tally = Tally()
    for seen in rows:
        tally.add(seen)
    return tally


def labels_of(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """What an answer, as it is described, gives in place of labels; a number or a text gives none."""
    if answer.get("abstained"):
        return (ABSTAINED,)
    if isinstance(several := answer.get("labels"), Sequence) and not isinstance(several, str):
        return tuple(one["label"] if isinstance(one, Mapping) else str(one) for one in several) or (NONE,)
    if isinstance(entities := answer.get("entities"), Sequence):
        return tuple(str(one["type"]) for one in entities) or (NONE,)
    for key in ("label", "relation", "choice"):
        if answer.get(key) is not None:
            return (str(answer[key]),)
    if isinstance(found := answer.get("answer"), str):
        return ("answered" if found else NONE,)
    return ()


def number_of(answer: Mapping[str, Any], labels: Labels) -> float | None:
    """What an answer gives as a number, in standard deviations of the training targets from their mean.

    None where it gives none, or where the targets were all the same or are not known.
    """
    value = answer.get("number", answer.get("score"))
    mean, deviation = labels.moments or (0.0, 0.0)
    return (float(value) - mean) / deviation if isinstance(value, int | float) and deviation > 0 else None


def seen_of(
    answer: Mapping[str, Any], example: Example, encoded: Sequence[Encoded], unknown: int | None, labels: Labels
) -> Seen:
    """What is remembered of a row; `unknown` is the token for what the tokenizer does not know, if it has one."""
    found = answer.get("probability")
    tokens = 0 if unknown is None else sum(len(one.ids) for one in encoded)
    return Seen(
        labels=labels_of(answer),
        confidence=None if found is None else min(1.0, max(0.0, float(found))),
        number=number_of(answer, labels),
        characters=characters(example),
        unknown=0 if unknown is None else sum(int((one.ids == unknown).sum()) for one in encoded),
        tokens=tokens,
    )


def characters(example: Example) -> int:
    """Of all its texts."""
    return sum(
        sum(len(turn.text) for turn in one.conversation.turns)
        if one.conversation is not None
        else _characters(one.first) + _characters(one.second)
        for one in example.sequences
    )


def unknown_of(tokenizer: Any) -> int | None:
    """The token that stands for what the tokenizer does not know; None where every text can be read.

    Some tokenizers name their end of text so: it stands in every row and says nothing.
    """
    special = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id}
    found: int | None = tokenizer.unk_token_id
    return None if found in special or found == tokenizer.pad_token_id else found


def _characters(part: str | Words | None) -> int:
    if part is None or isinstance(part, str):
        return len(part or "")
    return sum(map(len, part)) + max(0, len(part) - 1)


def _bin(edges: NDArray[np.float64], value: float) -> int:
    """The bin whose lower edge is at most the value; the last one has no end."""
    return min(int(np.searchsorted(edges, value, side="right")), len(edges) - 1) - 1
