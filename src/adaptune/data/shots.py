"""A few labelled rows of each label, drawn so that fewer are among more. Knows no files and no model."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence

from adaptune.core.bio import spans
from adaptune.core.errors import DataError
from adaptune.core.types import Example, OfLabels, OfMarked, OfRow, OfSequence, OfWords

SHOWN = 10
"""Labels with too few rows that are named."""


def few(examples: Sequence[Example], shots: int, draw: int) -> list[int]:
    """Indices, in order, of at most so many examples of each label: the first ones of an order that `draw` decides.

    The same draw gives the same order for every number of shots, whatever else is in the rows of other labels. An
    example of several labels is taken where one of them has too few yet. Raises DataError for answers that are no
    labels.
    """
    chosen: list[int] = []
    found: Counter[str] = Counter()
    if shots:
        of = [_labels(example) for example in examples]
        places: dict[str, list[int]] = {}
        for place, labels in enumerate(of):
            places.setdefault("\x1f".join(labels), []).append(place)
        for key in sorted(places):
            order = places[key]
            random.Random(f"{draw} {key}").shuffle(order)
            for place in order:
                if any(found[label] < shots for label in of[place]):
                    chosen.append(place)
                    found.update(of[place])
    return sorted(chosen)


def fewer(examples: Iterable[Example], shots: int) -> str | None:
    """Which labels of drawn examples have fewer rows than that, as words; None where none has."""
    counts = Counter(label for example in examples for label in _labels(example))
    short = [f"{label} ({count})" for label, count in sorted(counts.items()) if count < shots]
    if not short:
        return None
    more = f" and {len(short) - SHOWN} more" if len(short) > SHOWN else ""
    return f"data.shots is {shots}, and these labels have fewer training rows: {', '.join(short[:SHOWN])}{more}"


def _labels(example: Example) -> tuple[str, ...]:
    """Sorted; of tagged words the types of their entities. Raises DataError."""
    target = example.sequences[0].target
    if isinstance(target, OfSequence | OfMarked | OfRow) and isinstance(target.value, str):
        return (target.value,)
    if isinstance(target, OfLabels):
        return tuple(sorted(set(target.values)))
    if isinstance(target, OfWords):
        return tuple(sorted({kind for _, _, kind in spans(example.expected)}))
    raise DataError(
        f"data.shots draws rows of each label, and the answer of {example.row.where} is none: {example.expected!r}; "
        "use data.train_rows for so many rows of any kind"
    )
