"""What checks and cuts must know of every example, in columns of a few bytes a row. Reads no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adaptune.core.types import Example, OfLabels, OfMarked, OfRow, OfSequence, OfText, OfWords
from adaptune.data.split import joined, plain

EMPTY, UNLABELLED, WRITTEN = 1, 2, 4
"""Flags of a row: one of its texts is empty; it has no answer; its answer is a text."""
REMEMBERED = 65_536
"""Different labels, or sets of them, whose digests are kept at hand."""


class Kind(NamedTuple):
    """The labels of a row."""

    counted: tuple[tuple[str, int], ...]
    """Labels that open an item of their class, as people read them, and how often: of a span its first word's."""
    seen: tuple[tuple[str, str], ...]
    """Every label in order, as it is written and as people read it."""


@dataclass(frozen=True, slots=True)
class Outline:
    """R rows in columns."""

    texts: NDArray[np.bytes_]
    """(R,) digests of 16 bytes; equal for rows that a model reads alike."""
    groups: NDArray[np.bytes_]
    """(R,) digests, the same array where those of texts; rows of one group stay together where parts are cut."""
    answers: NDArray[np.uint64]
    """(R,) digests of the right answers."""
    flags: NDArray[np.uint8]
    """(R,)"""
    kind_of: NDArray[np.int32]
    """(R,) which of `kinds` each row is."""
    kinds: Sequence[Kind]
    values: dict[int, Any] | None
    """Each answer by its digest; None where they are too many, or no values to look up by."""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: NDArray[np.int64]) -> Outline:
        """The same of some rows."""
        texts = self.texts[rows]
        return Outline(
            texts,
            texts if self.groups is self.texts else self.groups[rows],
            self.answers[rows],
            self.flags[rows],
            self.kind_of[rows],
            self.kinds,
            self.values,
        )

    def having(self, flag: int) -> NDArray[np.int64]:
        """The rows with a flag."""
        return np.flatnonzero(self.flags & flag)

    def class_counts(self) -> dict[str, int]:
        """Labelled items of each class, the most frequent first; where words are tagged, the spans of each type."""
        counts: Counter[str] = Counter()
        for kind, rows in zip(self.kinds, np.bincount(self.kind_of, minlength=len(self.kinds)).tolist(), strict=True):
            if rows:
                counts.update({label: times * rows for label, times in kind.counted})
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


class Outlines:
    """Outlines example after example."""

    def __init__(self) -> None:
        self._texts, self._answers = bytearray(), bytearray()
        self._groups: bytearray | None = None
        self._flags, self._kind_of = bytearray(), bytearray()
        self._kinds: dict[Kind, int] = {}
        self._kind_by_label: dict[str, int] = {}
        self._digests: dict[Hashable, bytes] = {}
        self._values: dict[int, Any] | None = {}

    def add(self, example: Example) -> None:
        """One more row."""
        inputs = [
            [plain(part) for part in (sequence.first, sequence.second) if part is not None]
            for sequence in example.sequences
        ]
        text = _digest(joined(inputs), 16)
        self._texts += text
        if example.group is not None and self._groups is None:
            self._groups = self._texts[:-16]
        if self._groups is not None:
            self._groups += text if example.group is None else _digest(f"group {example.group}", 16)
        self._answers += self._answer(example.expected)
        self._flags.append(_flags(example) | (0 if all(all(map(str.strip, texts)) for texts in inputs) else EMPTY))
        self._kind_of += self._kind(example).to_bytes(4, "little")

    def finish(self) -> Outline:
        """The outline of all rows that were added; no more can be."""
        texts = np.frombuffer(self._texts, dtype="S16")
        return Outline(
            texts,
            texts if self._groups is None else np.frombuffer(self._groups, dtype="S16"),
            np.frombuffer(self._answers, dtype="<u8"),
            np.frombuffer(self._flags, dtype="u1"),
            np.frombuffer(self._kind_of, dtype="<i4"),
            tuple(self._kinds),
            self._values,
        )

    def _answer(self, value: Any) -> bytes:
        known = isinstance(value, str) and self._digests.get(value)
        if known:
            return known
        digest = _digest(repr(value), 8)
        if isinstance(value, str) and len(self._digests) < REMEMBERED:
            self._digests[value] = digest
        if self._values is not None:
            self._values[int.from_bytes(digest, "little")] = value
            if len(self._values) > REMEMBERED:
                self._values = None
        return digest

    def _kind(self, example: Example) -> int:
        """The number of a row's kind."""
        target = example.sequences[0].target if len(example.sequences) == 1 else None
        label = target.value if isinstance(target, OfSequence) else None
        if label is not None and label in self._kind_by_label:
            return self._kind_by_label[label]
        number = self._kinds.setdefault(_kind_of(example), len(self._kinds))
        if label is not None and len(self._kind_by_label) < REMEMBERED:
            self._kind_by_label[label] = number
        return number


def outline_of(examples: Sequence[Example]) -> Outline:
    """The outline of examples that are all in memory."""
    found = Outlines()
    for example in examples:
        found.add(example)
    return found.finish()


def _digest(text: str, size: int) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def _flags(example: Example) -> int:
    written = any(isinstance(sequence.target, OfText) for sequence in example.sequences)
    return (UNLABELLED if example.expected is None else 0) | (WRITTEN if written else 0)


def _kind_of(example: Example) -> Kind:
    labels = list(_labels(example))
    spoken = [(label, label[2:] if of_words else label) for of_words, label in labels]
    opening = Counter(
        name for (of_words, label), (_, name) in zip(labels, spoken, strict=True) if _counts(label, of_words)
    )
    return Kind(tuple(opening.items()), tuple(dict.fromkeys(spoken)))


def _labels(example: Example) -> Iterator[tuple[bool, str]]:
    """Every label of an example, and whether a word carries it."""
    of_row = any(isinstance(sequence.target, OfRow) for sequence in example.sequences)
    for sequence in example.sequences[: 1 if of_row else None]:
        if isinstance(sequence.target, OfWords):
            yield from ((True, value) for value in sequence.target.values if value is not None)
        elif isinstance(sequence.target, OfLabels):
            yield from ((False, value) for value in sequence.target.values)
        elif isinstance(sequence.target, (OfSequence, OfMarked, OfRow)) and isinstance(sequence.target.value, str):
            yield False, sequence.target.value


def _counts(label: str, of_words: bool) -> bool:
    """Whether a label opens an item of its class: of a span only its first word's does."""
    return not of_words or label.startswith("B-")
