"""What is wrong, or odd, with labelled examples: empty and repeated texts, labels, class counts. Reads no files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from adaptune.core.errors import DataError
from adaptune.core.task import Task
from adaptune.core.types import Example, OfLabels, OfMarked, OfRow, OfSequence, OfText, OfWords, Row
from adaptune.data.findings import SHOWN, Finding, Findings
from adaptune.data.lengths import Lengths, lengths
from adaptune.data.split import same_text
from adaptune.data.table import Rejected

__all__ = ["Finding", "Findings", "Lengths", "class_counts", "diagnose", "lengths"]

FEW = 5
"""A class with fewer training rows is named."""
UNEVEN = 10
"""How many times the smallest class the largest must be to be named."""


def diagnose(splits: Mapping[str, Sequence[Example]], task: Task, rejected: Sequence[Rejected] = ()) -> Findings:
    """Every check of the parts of a run (`train`, and `valid`, `test` where there are such); pure.

    `rejected` are rows that could not be read or understood; each kind of them is an error.
    """
    splits = {part: examples for part, examples in splits.items() if examples}
    found = [*_rejections(rejected)]
    for part, examples in splits.items():
        found += [*_empty(part, examples), *_unlabelled(part, examples), *_repeated(part, examples)]
    found += [*_unknown_labels(splits, task), *_leaks(splits), *_contradictions(splits)]
    counts = {part: class_counts(examples) for part, examples in splits.items()}
    found += _shares(counts.get("train", {}))
    return Findings((), {part: len(examples) for part, examples in splits.items()}, counts).plus(found)


def class_counts(examples: Sequence[Example]) -> dict[str, int]:
    """Labelled items of each class, the most frequent first; where words are tagged, the spans of each type."""
    counts = Counter(
        _spoken(label, of_words)
        for example in examples
        for of_words, label in _labels(example)
        if _counts(label, of_words)
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


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


def _spoken(label: str, of_words: bool) -> str:
    return label[2:] if of_words else label


def _rejections(rejected: Sequence[Rejected]) -> Iterator[Finding]:
    for row in rejected:
        yield Finding("error", str(row))


def _empty(part: str, examples: Sequence[Example]) -> Iterator[Finding]:
    rows = tuple(example.row.where for example in examples if _lacks_text(example))
    if rows:
        yield Finding("error", f"{part}: {_rows(len(rows))} without text; fill or remove them", rows)


def _lacks_text(example: Example) -> bool:
    """Whether one of its texts, or all words of one, are empty."""
    inputs = [part for sequence in example.sequences for part in (sequence.first, sequence.second) if part is not None]
    return any(not "".join(part).strip() for part in inputs)


def _unlabelled(part: str, examples: Sequence[Example]) -> Iterator[Finding]:
    rows = tuple(example.row.where for example in examples if example.expected is None)
    if rows:
        yield Finding("error", f"{part}: {_rows(len(rows))} without a label; label or remove them", rows)


def _repeated(part: str, examples: Sequence[Example]) -> Iterator[Finding]:
    first: dict[tuple[str, str], Row] = {}
    again = []
    for example in examples:
        row = first.setdefault((same_text(example), repr(example.expected)), example.row)
        if row is not example.row:
            again.append(_as_in(example.row, row))
    if again:
        text = f"{part}: {_rows(len(again))} with the text and label of an earlier one"
        yield Finding("warning", f"{text}; remove repetitions that your users' data would not have", tuple(again))


def _unknown_labels(splits: Mapping[str, Sequence[Example]], task: Task) -> Iterator[Finding]:
    """Labels that no training row shows cannot be learned."""
    train = [example for example in splits.get("train", ()) if example.expected is not None]
    try:
        known = task.labels(train)
    except DataError as error:
        yield Finding("error", str(error))
        return
    for part, examples in splits.items():
        rows: dict[str, list[str]] = defaultdict(list)
        for example in examples:
            for label in dict.fromkeys(
                _spoken(label, words) for words, label in _labels(example) if label not in known
            ):
                rows[label].append(example.row.where)
        for label, where in rows.items():
            advice = f"add training rows of it, or correct or remove {'this row' if len(where) == 1 else 'these rows'}"
            yield Finding("error", f"{part}: the label {label!r} stands in no training row; {advice}", tuple(where))


def _leaks(splits: Mapping[str, Sequence[Example]]) -> Iterator[Finding]:
    """Texts that stand in two parts make scores better than they are."""
    for one, other in (("train", "test"), ("train", "valid"), ("valid", "test")):
        rows = {same_text(example): example.row for example in reversed(splits.get(one, ()))}
        both = [(example.row, rows.get(same_text(example))) for example in splits.get(other, ())]
        found = tuple(_as_in(row, same) for row, same in both if same is not None)
        if found:
            text = f"{_rows(len(found))} of {other} {'has' if len(found) == 1 else 'have'} a text that is also in {one}"
            yield Finding("warning", f"{text}, which flatters the scores; remove it from one of them", found)


def _contradictions(splits: Mapping[str, Sequence[Example]]) -> Iterator[Finding]:
    """Of one source there may be several texts."""
    first: dict[str, Example] = {}
    against = []
    for example in (example for examples in splits.values() for example in examples if not _is_written(example)):
        other = first.setdefault(same_text(example), example)
        if other.expected != example.expected:
            labels = (example.expected, other.expected)
            named = f": {labels[0]!r}, there {labels[1]!r}" if all(isinstance(label, str) for label in labels) else ""
            against.append(_as_in(example.row, other.row, named))
    if against:
        text = f"{_rows(len(against))} with a text that has another label elsewhere"
        yield Finding("warning", f"{text}; correct the labels, or remove one of each pair", tuple(against))


def _is_written(example: Example) -> bool:
    return any(isinstance(sequence.target, OfText) for sequence in example.sequences)


def _as_in(row: Row, other: Row, more: str = "") -> str:
    """`test.csv, row 3 (as in train.csv, row 7)`"""
    where = f"row {other.number}" if other.source == row.source else other.where
    return f"{row.where} (as in {where}{more})"


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
