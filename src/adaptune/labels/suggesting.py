"""Which rows of a pool to label next, by a bundle's own answers and vectors. Reads and writes no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adaptune.bundle.answers import encoded_for
from adaptune.bundle.load import Bundle
from adaptune.bundle.tally import labels_of
from adaptune.core.errors import Unsupported
from adaptune.core.log import Progress, notice
from adaptune.core.task import Task
from adaptune.core.types import (
    Answer,
    Example,
    OfLabels,
    OfMarked,
    OfNumber,
    OfOption,
    OfRow,
    OfSequence,
    OfSpan,
    OfWords,
)
from adaptune.data.split import same_text
from adaptune.evaluate.vectors import looked_at
from adaptune.labels.choosing import By, Floats, choose, least_sure, margins

MOST_KNOWN = 5000
"""Labelled rows that are looked at, spread evenly over more."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for."""

    count: int
    by: By
    balance: bool = False
    """Whether predicted labels are to have equal shares."""
    seed: int = 1
    """Decides where clusters begin."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A row to label."""

    example: Example
    answer: Answer | None
    """What the bundle says of it; None where that would have to be written or found elsewhere."""
    uncertainty: float | None
    """From 0, sure, to 1; None where it was not asked for."""


@dataclass(frozen=True, slots=True)
class Suggested:
    """The rows, the most wanted first, and what was left out."""

    rows: Sequence[Suggestion]
    pool: int
    """Rows that there were."""
    labelled: int
    """Of these, as many are among the bundle's own rows."""
    repeated: int
    """As many say the same as one before."""
    predicted: Mapping[str, int]
    """How often each label is predicted for the suggested rows; empty where there are none."""


def suggest(
    bundle: Bundle, pool: Sequence[Example], wanted: Wanted, *, learned: Sequence[Example], held: Sequence[Example] = ()
) -> Suggested:
    """`learned`: rows that the bundle was trained on; `held`: other labelled rows, which are left out, too.

    Raises Unsupported where the task's answers say nothing of how sure they are.
    """
    measure = _check(bundle.task, wanted)
    rows, labelled, repeated = _fresh(pool, [*learned, *held])
    if not rows:
        raise Unsupported(
            f"all {len(pool)} rows of the pool are labelled already ({labelled}) or repeated ({repeated})"
        )
    answered = measure is not None or _gives_labels(bundle.task) or bundle.task.target in (OfNumber, OfRow)
    vectors, answers = _looked(bundle, rows, "pool", answers=answered)
    known = None
    if wanted.by != "uncertainty" and learned:
        some = _spread(learned)
        known, _ = _looked(bundle, some, "labelled rows", answers=False)
    uncertainty = None
    if measure is not None and wanted.by != "coverage":
        uncertainty = measure([answers[row] for row in range(len(rows))])
    labels = [_label(bundle, example, answers.get(row)) for row, example in enumerate(rows)]
    places = choose(
        wanted.count,
        by=wanted.by,
        uncertainty=uncertainty,
        vectors=vectors,
        known=known,
        predicted=_rarest(labels) if wanted.balance else None,
        seed=wanted.seed,
    ).tolist()
    found = [
        Suggestion(rows[place], answers.get(place), None if uncertainty is None else float(uncertainty[place]))
        for place in places
    ]
    predicted = Counter(label for place in places for label in labels[place])
    return Suggested(found, len(pool), labelled, repeated, dict(predicted.most_common()))


Measure = Callable[[Sequence[Answer]], Floats]


def _check(task: Task, wanted: Wanted) -> Measure | None:
    """How unsure answers are measured; None where that is not asked for. Raises Unsupported."""
    if task.pools or task.name == "rank":
        raise Unsupported(
            f"the rows of task {task.name!r} are queries with texts to rank, and one alone is not labelled"
        )
    if wanted.balance and not _gives_labels(task):
        raise Unsupported(f"--balance: task {task.name!r} predicts no labels whose shares could be equal; leave it out")
    measure = _measure_of(task)
    if measure is None and wanted.by != "coverage":
        raise Unsupported(
            f"--by {wanted.by}: the answers of task {task.name!r} are "
            f"{'numbers, which carry' if _gives_numbers(task) else 'texts, which carry'} no probability that says how "
            "sure they are; use --by coverage"
        )
    return None if wanted.by == "coverage" else measure


def _gives_numbers(task: Task) -> bool:
    return task.target is OfNumber or getattr(task, "kind", None) == "score"


def _gives_labels(task: Task) -> bool:
    return task.target in (OfSequence, OfLabels, OfMarked, OfWords, OfRow) and not _gives_numbers(task)


def _measure_of(task: Task) -> Measure | None:
    if _gives_numbers(task):
        return None
    if task.target is OfLabels:
        return lambda answers: least_sure(np.array([answer.probabilities for answer in answers]))
    if task.target is OfWords:
        return _of_words
    if task.target in (OfSequence, OfMarked, OfRow, OfOption, OfSpan):
        return _of_one
    return None


def _of_one(answers: Sequence[Answer]) -> Floats:
    """By the margin between the two likeliest, where every label has its probability, else by that of the answer."""
    sizes = {len(answer.probabilities) for answer in answers}
    if len(sizes) == 1 and sizes.pop() > 1:
        return margins(np.array([answer.probabilities for answer in answers]))
    return np.array([1 - (answer.probability or 0.0) for answer in answers])


def _of_words(answers: Sequence[Answer]) -> Floats:
    """1 - the mean probability of the tags, which does not favour long texts (after Shen et al., 2018)."""
    return np.array([1 - (float(np.mean(answer.probabilities)) if answer.probabilities else 1.0) for answer in answers])


def _fresh(pool: Sequence[Example], labelled: Sequence[Example]) -> tuple[list[Example], int, int]:
    """Rows that say something else than any labelled row and than any before them; how many were left out for each."""
    known = {same_text(example) for example in labelled}
    rows: dict[str, Example] = {}
    left = 0
    for example in pool:
        if (text := same_text(example)) in known:
            left += 1
        else:
            rows.setdefault(text, example)
    return list(rows.values()), left, len(pool) - left - len(rows)


def _spread(learned: Sequence[Example]) -> Sequence[Example]:
    if len(learned) <= MOST_KNOWN:
        return learned
    notice(f"{MOST_KNOWN:,} of {len(learned):,} labelled rows are looked at, spread evenly")
    return [learned[place] for place in np.linspace(0, len(learned) - 1, MOST_KNOWN).astype(int).tolist()]


def _looked(bundle: Bundle, rows: Sequence[Example], about: str, *, answers: bool) -> tuple[Floats, dict[int, Answer]]:
    """(R, D) the mean vector of each row's sequences, of length 1, and answers by row."""
    assembly = bundle.assembly
    encoded = encoded_for(assembly, rows, max_length=bundle.manifest.preprocessing.max_length)
    vectors = np.zeros((len(rows), assembly.backbone.hidden_size))
    found: dict[int, Answer] = {}
    with Progress(about, len(encoded), unit="sequences") as progress:
        for looked in looked_at(assembly, encoded, batch_tokens=None, answers=answers):
            np.add.at(vectors, looked.rows, looked.vectors.double().cpu().numpy())
            found |= looked.answers
            progress.advance(len(looked.rows))
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), found


def _label(bundle: Bundle, example: Example, answer: Answer | None) -> tuple[str, ...]:
    return () if answer is None or not _gives_labels(bundle.task) else labels_of(bundle.task.describe(example, answer))


def _rarest(labels: Sequence[Sequence[str]]) -> list[str]:
    """Of each row the one of its labels that is predicted for the fewest rows."""
    rows = Counter(label for of in labels for label in set(of))
    return [min(of, key=lambda label: (rows[label], label)) if of else "" for of in labels]
