"""Which labels of a recipe's rows to mistrust: those that models of the other rows contradict, and unequal twins.

Northcutt et al. (2021), Confident learning: estimating uncertainty in dataset labels, JAIR 70; by the library cleanlab.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptune.core.errors import DataError, MissingExtra, Unsupported
from adaptune.core.lazy import cleanlab_filter, cleanlab_multilabel
from adaptune.core.types import Example, Labels, OfLabels, OfMarked, OfRow, OfSequence, OfWords
from adaptune.data.split import plain, same_text
from adaptune.labels.folds import check_counts, deal, out_of_fold
from adaptune.labels.frozen import Items, frozen, read_items
from adaptune.labels.near import Pair, near, plainly
from adaptune.prepare import Prepared
from adaptune.recipe import Recipe

LABELLED = (OfSequence, OfMarked, OfRow, OfLabels, OfWords)
"""Targets that are labels."""
MOST = 50_000
"""Rows that are held in memory, each as a vector, once more for every fold."""
FOLDS = 5
GIVEN = 0.5
"""Of rows with any number of labels: a label of a larger probability is suggested."""


@dataclass(frozen=True, slots=True)
class Twin:
    """A row with nearly the same text and another label."""

    where: str
    label: Any
    alike: float
    """In [0, 1]; 1: nothing but capitals, signs and white space differs."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A label to look at again."""

    example: Example
    word: int | None
    """Which word of the row, counted from 0; None where rows are labelled whole."""
    label: Any
    """As it is given: a label, or several."""
    suggested: Any
    """None where the given one is the most probable, and the row only has a twin."""
    quality: float
    """Of the label as given: its probability by models that did not see the row; of several, that of exactly these."""
    confidence: float
    """The probability of what is suggested; with none, of the label as given."""
    twin: Twin | None = None

    @property
    def text(self) -> str:
        """What is labelled: the row's texts, or the word."""
        if self.word is not None:
            return str(self.example.sequences[0].first[self.word])
        return _text(self.example)

    def record(self) -> dict[str, Any]:
        """As a line of the file that people go through."""
        of_word = {} if self.word is None else {"word": self.word + 1, "sentence": _text(self.example)}
        twin = self.twin and {"where": self.twin.where, "label": self.twin.label, "alike": round(self.twin.alike, 4)}
        return {
            "file": self.example.row.source,
            "row": self.example.row.number,
            **of_word,
            "text": self.text,
            "label": self.label,
            "suggested": self.suggested,
            "confidence": round(self.confidence, 4),
            "quality": round(self.quality, 4),
            "twin": twin,
        }


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a class can be trusted."""

    label: str
    count: int
    """Items with it, as given."""
    mistrusted: int

    @property
    def trusted(self) -> float:
        """In [0, 1]"""
        return 1 - self.mistrusted / self.count


@dataclass(frozen=True, slots=True)
class Mistrusted:
    """What came of it."""

    rows: int
    items: int
    """Rows, or words where these are tagged."""
    doubts: tuple[Doubt, ...]
    """The least probable labels first; then rows that only have a twin."""
    shares: tuple[Share, ...]
    """Of every class, the least trusted first."""


def check_labelled(recipe: Recipe) -> None:
    """Refuse what has no labels, and a missing library, before any row is read. Raises Unsupported, MissingExtra."""
    if not issubclass(recipe.task.target, LABELLED):
        raise Unsupported(
            f"task {recipe.task.name!r} has no labels that could be mistrusted; they are looked at of classify, match, "
            "relate, multilabel and tag"
        )
    if find_spec("cleanlab") is None:
        raise MissingExtra("cleanlab", "labels", "adaptune doctor --labels")


def mistrust(recipe: Recipe, prepared: Prepared, *, folds: int = FOLDS) -> Mistrusted:
    """The labels of all parts of a recipe's data that are to be looked at again; changes nothing.

    The model stays as it comes: a linear layer on its frozen features is fitted once a fold. Raises DataError for
    labels with too few rows, Unsupported.
    """
    check_labelled(recipe)
    examples = _examples(prepared)
    labels = recipe.task.labels(examples)
    groups = [same_text(example) if example.group is None else example.group for example in examples]
    check_counts([_labels_of(example) for example in examples], groups, folds)
    items = read_items(frozen(recipe, recipe.task, labels), examples)
    fold_of = deal(recipe.task.strata(examples), groups, folds, recipe.seed)
    probabilities = out_of_fold(items, fold_of, len(labels), folds)
    found = doubted(items, probabilities)
    twins = _twins(examples) if _is_whole(items, examples) else {}
    judged = _Judged(examples, items, labels, probabilities, twins)
    listed = {int(items.rows[place]) for place in found}
    doubts = [judged.doubt(place) for place in found]
    doubts += [judged.doubt(row, contradicted=False) for row in twins if row not in listed]
    return Mistrusted(len(examples), len(items.rows), tuple(doubts), _shares(items, labels, found))


def doubted(items: Items, probabilities: NDArray[np.float64]) -> list[int]:
    """Items whose label confident learning finds wrong, the least probable label first.

    As many of each given label as its off-diagonal of the confident joint says, of the largest margin
    (`prune_by_noise_rate`).
    """
    how = {"return_indices_ranked_by": "self_confidence", "filter_by": "prune_by_noise_rate", "n_jobs": 1}
    targets = items.targets.numpy()
    if items.link == "softmax":
        present, targets = np.unique(targets, return_inverse=True)  # a tag may stand nowhere
        shares = probabilities[:, present]
        found = cleanlab_filter.find_label_issues(targets, shares / shares.sum(axis=1, keepdims=True), **how)
    else:
        given = targets > 0
        both = given.any(axis=0) & ~given.all(axis=0)  # what all rows or none have says nothing of any
        if not both.any():
            return []
        several = [np.flatnonzero(row).tolist() for row in given[:, both]]
        found = cleanlab_multilabel.find_label_issues(several, probabilities[:, both], **how)
    return [int(place) for place in found]


def _examples(prepared: Prepared) -> list[Example]:
    """Every row of every part. Raises DataError."""
    parts = prepared.splits.parts
    rows = sum(map(len, parts.values()))
    if rows > MOST:
        raise DataError(
            f"there are {rows:,} rows, and at most {MOST:,} are judged at once; set data.train_rows (and "
            "data.valid_rows, data.test_rows) to judge a sample"
        )
    found = [example for examples in parts.values() for example in examples]
    if any(isinstance(example.expected, float) for example in found):
        raise DataError("the labels of these rows are numbers, which cannot be mistrusted as labels can")
    return found


def _is_whole(items: Items, examples: Sequence[Example]) -> bool:
    """Whether a label is of a whole text: one text has several marked pairs, each with a relation of its own."""
    return items.words is None and not any(sequence.marks for example in examples for sequence in example.sequences)


def _labels_of(example: Example) -> Collection[str]:
    if isinstance(example.expected, str):
        return (example.expected,)
    return {name for name in example.expected if name is not None}


@dataclass(frozen=True, slots=True)
class _Judged:
    """Rows, and what models that did not see them say of their items."""

    examples: Sequence[Example]
    items: Items
    labels: Labels
    probabilities: NDArray[np.float64]
    """(N, C)"""
    twins: Mapping[int, Twin]

    def doubt(self, place: int, *, contradicted: bool = True) -> Doubt:
        """An item as a label to look at again."""
        row = int(self.items.rows[place])
        label, suggested, quality, confidence = self._said(place)
        suggests = contradicted and suggested != label
        return Doubt(
            example=self.examples[row],
            word=None if self.items.words is None else int(self.items.words[place]),
            label=label,
            suggested=suggested if suggests else None,
            quality=quality,
            confidence=confidence if suggests else quality,
            twin=self.twins.get(row),
        )

    def _said(self, place: int) -> tuple[Any, Any, float, float]:
        """What is given, what is most probable, and their probabilities."""
        shares, target = self.probabilities[place], self.items.targets[place].numpy()
        if self.items.link == "softmax":
            best, given = int(shares.argmax()), int(target)
            return self.labels.names[given], self.labels.names[best], float(shares[given]), float(shares[best])
        quality = float(np.where(target > 0, shares, 1 - shares).prod())
        confidence = float(np.maximum(shares, 1 - shares).prod())
        return self._named(target > 0), self._named(shares > GIVEN), quality, confidence

    def _named(self, chosen: NDArray[np.bool_]) -> list[str]:
        return [self.labels.names[place] for place in np.flatnonzero(chosen)]


def _twins(examples: Sequence[Example]) -> dict[int, Twin]:
    """Of each row that has one the text most like it with another label, in the order of how like they are."""
    alike: dict[tuple[str, str], list[int]] = {}
    for row, example in enumerate(examples):  # what repeats a text and its label is compared once
        alike.setdefault((plainly(_text(example)), repr(example.expected)), []).append(row)
    rows = list(alike.values())
    found: dict[int, Twin] = {}
    for pair in near([_text(examples[of[0]]) for of in rows], [label for _, label in alike]):
        for own, other in ((pair.one, pair.other), (pair.other, pair.one)):
            for row in rows[own]:
                found.setdefault(row, _twin(examples[rows[other][0]], pair))
    return found


def _twin(example: Example, pair: Pair) -> Twin:
    expected = example.expected
    return Twin(example.row.where, expected if isinstance(expected, str) else list(expected), pair.alike)


def _text(example: Example) -> str:
    """All that is read of a row, as one line."""
    parts = [part for sequence in example.sequences for part in (sequence.first, sequence.second) if part is not None]
    return " | ".join(map(plain, parts))


def _shares(items: Items, labels: Labels, found: Sequence[int]) -> tuple[Share, ...]:
    targets = items.targets.numpy()
    table = targets > 0 if targets.ndim == 2 else np.eye(len(labels), dtype=bool)[targets]
    counts, mistrusted = table.sum(axis=0), table[list(found)].sum(axis=0)
    shares = [
        Share(name, int(count), int(wrong))
        for name, count, wrong in zip(labels.names, counts, mistrusted, strict=True)
        if count
    ]
    return tuple(sorted(shares, key=lambda share: (share.trusted, share.label)))
