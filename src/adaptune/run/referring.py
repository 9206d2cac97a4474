"""How validation rows look to the best weights: what a server later compares its rows with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from adaptune.bundle.answers import encoded_for, said_beside
from adaptune.bundle.reference import Reference, reference_of
from adaptune.bundle.tally import Seen, Tally, seen_of, tally_of, unknown_of
from adaptune.core.batch import Encoded
from adaptune.core.types import Answer, Example, Labels
from adaptune.evaluate.vectors import looked_at
from adaptune.run.kitchen import Kitchen

MOST_ROWS = 1000
"""Validation rows that are read for it, spread evenly over longer parts."""


def reference(kitchen: Kitchen) -> Reference | None:
    """None where there are no validation rows.

    Where texts are written or searched for, the inputs alone are looked at: answering takes long, or needs other rows.
    """
    examples = _some(kitchen)
    if not examples:
        return None
    assembly = kitchen.assembly
    encoded = encoded_for(assembly, examples, max_length=assembly.max_length)
    rows: dict[int, list[Encoded]] = defaultdict(list)
    for one in encoded:
        rows[one.row].append(one)
    unknown = unknown_of(assembly.backbone.tokenizer)
    if assembly.head.learns_texts or kitchen.recipe.task.pools:
        return reference_of(tally_of(_inputs(examples, rows, unknown)))
    found = Tally()
    answers = _answers(kitchen, encoded, found)
    for row, example in enumerate(examples):
        found.add(seen_of(_described(kitchen, example, answers[row]), example, rows[row], unknown, assembly.labels))
    return reference_of(found)


def _some(kitchen: Kitchen) -> list[Example]:
    examples = kitchen.examples("valid")
    places = np.linspace(0, len(examples) - 1, min(MOST_ROWS, len(examples))).astype(int)
    return [examples[place] for place in places.tolist()]


def _inputs(examples: Sequence[Example], rows: Mapping[int, list[Encoded]], unknown: int | None) -> list[Seen]:
    return [seen_of({}, example, rows[row], unknown, Labels(())) for row, example in enumerate(examples)]


def _answers(kitchen: Kitchen, encoded: Sequence[Encoded], tally: Tally) -> dict[int, Answer]:
    """By row; the vectors of the sequences, as a server sees them, are counted in the tally on the way."""
    answers: dict[int, Answer] = {}
    for looked in looked_at(kitchen.assembly, encoded, batch_tokens=kitchen.recipe.evaluate.batch_tokens):
        tally.add_vectors(len(looked.vectors), looked.vectors.sum(dim=0).double().cpu().numpy())
        answers |= looked.answers
    return answers


def _described(kitchen: Kitchen, example: Example, answer: Answer) -> dict[str, object]:
    return kitchen.recipe.task.describe(example, answer) | said_beside(answer)
