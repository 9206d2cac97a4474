"""What is wrong, or odd, with labelled examples: empty and repeated texts, labels, class counts. Reads no files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adaptune.core.errors import DataError, nearest
from adaptune.core.task import Task
from adaptune.core.types import Example
from adaptune.data.findings import LISTED, SHOWN, Finding, Findings, Level
from adaptune.data.lengths import Lengths, lengths
from adaptune.data.outline import EMPTY, UNLABELLED, WRITTEN, Outline, outline_of
from adaptune.data.stored import answered, outline
from adaptune.data.table import Rejected

__all__ = ["Finding", "Findings", "Lengths", "class_counts", "diagnose", "lengths"]

FEW = 5
"""A class with fewer training rows is named."""
UNEVEN = 10
"""How many times the smallest class the largest must be to be named."""


def diagnose(
    splits: Mapping[str, Sequence[Example]], task: Task, rejected: Sequence[Rejected] = (), *, known: Sequence[str] = ()
) -> Findings:
    """Every check of the parts of a run (`train`, and `valid`, `test` where there are such); pure.

    `rejected` are rows that could not be read or understood; each kind of them is an error. `known`: the labels, where
    they are not those of the training rows.
    """
    parts = [Part(name, examples, outline(examples)) for name, examples in splits.items() if examples]
    texts = _numbered([part.outline.texts for part in parts])
    answers = _numbered([part.outline.answers for part in parts])
    found = [*_rejections(rejected)]
    for part, text, answer in zip(parts, texts, answers, strict=True):
        found += [*_flagged(part), *_repeated(part, text, answer)]
    found += [*_unknown_labels(parts, task, known), *_leaks(parts, texts), *_contradictions(parts, texts, answers)]
    counts = {part.name: part.outline.class_counts() for part in parts}
    found += _shares(counts.get("train", {}))
    return Findings((), {part.name: len(part.examples) for part in parts}, counts).plus(found)


def class_counts(examples: Sequence[Example]) -> dict[str, int]:
    """Labelled items of each class, the most frequent first; where words are tagged, the spans of each type."""
    return outline_of(examples).class_counts()


Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a run and its outline."""

    name: str
    examples: Sequence[Example]
    outline: Outline


def _numbered(columns: Sequence[NDArray[np.generic]]) -> list[Numbers]:
    """Columns of several parts with their values as numbers, the same for equal ones."""
    if not columns:
        return []
    _, numbers = np.unique(np.concatenate(columns), return_inverse=True)
    return np.split(numbers.astype(np.int64), np.cumsum([len(column) for column in columns])[:-1])


def _first(values: Numbers) -> Numbers:
    """For each row the first one with an equal value."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return first[inverse]


def _finding(level: Level, text: str, rows: Sequence[int] | Numbers, name: Callable[[int], str]) -> Finding:
    """A finding that names its rows, as far as they are not too many."""
    return Finding(level, text, tuple(name(int(row)) for row in rows[:LISTED]), max(0, len(rows) - LISTED))


def _where(examples: Sequence[Example]) -> Callable[[int], str]:
    return lambda row: examples[row].row.where


def _pairs(ones: Sequence[Example], others: Sequence[Example], other_of: Mapping[int, int]) -> Callable[[int], str]:
    return lambda row: _as_in(ones[row], others[other_of[row]])


def _rejections(rejected: Sequence[Rejected]) -> Iterator[Finding]:
    for row in rejected:
        yield Finding("error", str(row))


def _flagged(part: Part) -> Iterator[Finding]:
    for flag, what, remedy in (
        (EMPTY, "without text", "fill or remove them"),
        (UNLABELLED, "without a label", "label or remove them"),
    ):
        rows = part.outline.having(flag)
        if len(rows):
            text = f"{part.name}: {_rows(len(rows))} {what}; {remedy}"
            yield _finding("error", text, rows, _where(part.examples))


def _repeated(part: Part, texts: Numbers, answers: Numbers) -> Iterator[Finding]:
    first = _first(texts * (answers.max() + 1) + answers)
    again = np.flatnonzero(first != np.arange(len(first)))
    if len(again):
        text = f"{part.name}: {_rows(len(again))} with the text and label of an earlier one"
        text = f"{text}; remove repetitions that your users' data would not have"
        same = dict(zip(again.tolist(), first[again].tolist(), strict=True))
        yield _finding("warning", text, again, _pairs(part.examples, part.examples, same))


def _unknown_labels(parts: Sequence[Part], task: Task, known: Sequence[str]) -> Iterator[Finding]:
    """Labels that no training row shows, and that are not known otherwise, cannot be learned."""
    if known:
        for part in parts:
            for label, rows in _by_unknown_label(part.outline, known).items():
                text = f"{part.name}: the label {label!r} is none of those that are told apart{nearest(label, known)}"
                yield _finding("error", text, rows, _where(part.examples))
        return
    train = [example for part in parts if part.name == "train" for example in answered(part.examples)]
    try:
        learned = task.labels([example for example in train if example.expected is not None])
    except DataError as error:
        yield Finding("error", str(error))
        return
    for part in parts:
        for label, rows in _by_unknown_label(part.outline, learned.names).items():
            advice = f"add training rows of it, or correct or remove {'this row' if len(rows) == 1 else 'these rows'}"
            text = f"{part.name}: the label {label!r} stands in no training row; {advice}"
            yield _finding("error", text, rows, _where(part.examples))


def _by_unknown_label(found: Outline, known: Sequence[str]) -> dict[str, list[int]]:
    """The rows of each label that is not known, in the order of its first row."""
    names = frozenset(known)
    unknown = {
        number: list(dict.fromkeys(spoken for label, spoken in kind.seen if label not in names))
        for number, kind in enumerate(found.kinds)
        if any(label not in names for label, _ in kind.seen)
    }
    rows: dict[str, list[int]] = {}
    for row in np.flatnonzero(np.isin(found.kind_of, list(unknown))).tolist():
        for label in unknown[int(found.kind_of[row])]:
            rows.setdefault(label, []).append(row)
    return rows


def _leaks(parts: Sequence[Part], texts: Sequence[Numbers]) -> Iterator[Finding]:
    """Texts that stand in two parts make scores better than they are."""
    by_name = {part.name: (part.examples, of) for part, of in zip(parts, texts, strict=True)}
    for one, other in (("train", "test"), ("train", "valid"), ("valid", "test")):
        if one not in by_name or other not in by_name:
            continue
        (earlier, there), (later, here) = by_name[one], by_name[other]
        values, first = np.unique(there, return_index=True)
        rows = np.flatnonzero(np.isin(here, values))
        if len(rows):
            text = f"{_rows(len(rows))} of {other} {'has' if len(rows) == 1 else 'have'} a text that is also in {one}"
            text = f"{text}, which flatters the scores; remove it from one of them"
            same = dict(zip(rows.tolist(), first[np.searchsorted(values, here[rows])].tolist(), strict=True))
            yield _finding("warning", text, rows, _pairs(later, earlier, same))


def _contradictions(parts: Sequence[Part], texts: Sequence[Numbers], answers: Sequence[Numbers]) -> Iterator[Finding]:
    """Of one source there may be several texts."""
    if not parts:
        return
    starts = np.cumsum([0] + [len(part.examples) for part in parts])
    judged = np.flatnonzero(np.concatenate([part.outline.flags for part in parts]) & WRITTEN == 0)
    answer, first = np.concatenate(answers)[judged], _first(np.concatenate(texts)[judged])
    against = np.flatnonzero(answer != answer[first])

    def example(place: int) -> Example:
        part = int(np.searchsorted(starts, judged[place], side="right")) - 1
        return parts[part].examples[int(judged[place] - starts[part])]

    def named(place: int) -> str:
        one, other = example(place), example(int(first[place]))
        labels = (one.expected, other.expected)
        says = f": {labels[0]!r}, there {labels[1]!r}" if all(isinstance(label, str) for label in labels) else ""
        return _as_in(one, other, says)

    if len(against):
        text = f"{_rows(len(against))} with a text that has another label elsewhere"
        yield _finding("warning", f"{text}; correct the labels, or remove one of each pair", against, named)


def _as_in(one: Example, other: Example, more: str = "") -> str:
    """`test.csv, row 3 (as in train.csv, row 7)`"""
    where = f"row {other.row.number}" if other.row.source == one.row.source else other.row.where
    return f"{one.row.where} (as in {where}{more})"


def _shares(counts: Mapping[str, int]) -> Iterator[Finding]:
    if len(counts) < 2:
        return
    rare = [f"{label} {count}" for label, count in counts.items() if count < FEW]
    if rare:
        named = ", ".join(rare[:SHOWN]) + (f" and {len(rare) - SHOWN:,} more" if len(rare) > SHOWN else "")
        yield Finding("warning", f"train: fewer than {FEW} items of {named}; add rows of them, or leave them out")
    (most, largest), (least, smallest) = next(iter(counts.items())), list(counts.items())[-1]
    if largest >= UNEVEN * smallest:
        text = (
            f"train: {most!r} is {largest / smallest:.0f} times as frequent as {least!r} ({largest:,} to {smallest:,})"
        )
        yield Finding("note", f"{text}; rare classes are easily missed: watch macro_f1, or weight the classes")


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
