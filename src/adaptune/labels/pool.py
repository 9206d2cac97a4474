"""Rows without labels, and rows made of them that carry what a model says. Knows no training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from adaptune.core.errors import DataError, Unsupported
from adaptune.core.log import notice
from adaptune.core.task import Task
from adaptune.core.types import Answer, Example, OfMarked, OfRow, OfSequence, OfShares, Row
from adaptune.data.read import examples_of, read
from adaptune.data.split import same_text
from adaptune.data.stored import Stored
from adaptune.prepare import Prepared
from adaptune.recipe import Recipe

ONE_LABEL = (OfSequence, OfMarked, OfRow)
"""Targets that are one label of a row."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The rows of a file, without labels."""

    examples: tuple[Example, ...]
    fingerprint: str
    """SHA-256 of their texts."""


def read_pool(file: str, recipe: Recipe, prepared: Prepared) -> Pool:
    """The rows of a file, read as the recipe's are; labels in it are not looked at. Raises DataError.

    Texts of the recipe's own rows are left out: what validates or tests is not to be learned from.
    """
    task = recipe.task
    inputs = {column.name for column in task.columns if not column.label}
    columns = {name: there for name, there in recipe.data.columns.items() if name in inputs}
    config = recipe.data.model_copy(update={"columns": columns})
    found = read(file, config, task.columns, labelled=False)
    for text in found.notices:
        notice(text)
    known = {same_text(example) for part in prepared.splits.parts.values() for example in part}
    examples = examples_of(found.rows, task, config).examples
    new = tuple(example for example in examples if same_text(example) not in known)
    if len(new) < len(examples):
        notice(
            f"{len(examples) - len(new):,} of {len(examples):,} rows have texts of the recipe's own and are left out"
        )
    if not new:
        raise DataError(f"{file}: every row has a text of the recipe's own rows; name other rows")
    digest = hashlib.sha256("\0".join(map(same_text, new)).encode())
    return Pool(new, digest.hexdigest())


def check_one_label(recipe: Recipe, prepared: Prepared, verb: str) -> None:
    """Refuse rows that have not one label each, and rows that are not in memory. Raises Unsupported, DataError."""
    train = prepared.splits.train
    if not issubclass(recipe.task.target, ONE_LABEL) or not all(isinstance(one.expected, str) for one in train[:1]):
        raise Unsupported(
            f"`adaptune {verb}` is for rows of one label each (classify, match, relate), and task "
            f"{recipe.task.name!r} has others here"
        )
    if not train or not prepared.splits.valid:
        raise DataError(f"`adaptune {verb}` needs training rows, and validation rows that judge what they are worth")
    if isinstance(train, Stored):
        raise DataError(
            f"the {len(train):,} training rows are streamed, and `adaptune {verb}` holds them in memory; set "
            "data.train_rows=50000 or less"
        )


def with_label(example: Example, task: Task, label: str) -> Example:
    """The same row as if it had been labelled."""
    [column] = [column.name for column in task.columns if column.label]
    row = example.row
    return task.example(Row(row.source, row.number, {**row.values, column: label}))


def with_shares(example: Example, shares: Sequence[tuple[str, float]]) -> Example:
    """The row with a probability of each label; what it is expected to be answered is the most probable one."""
    target = OfShares(tuple((name, share) for name, share in shares if share > 0))
    best = max(shares, key=lambda pair: pair[1])[0]
    sequences = tuple(replace(sequence, target=target) for sequence in example.sequences)
    return replace(example, sequences=sequences, expected=best)


def surest(answers: Sequence[Answer], labels: int, *, confidence: float, balance: bool) -> list[int]:
    """Places of answers that are as probable as `confidence` asks, in order.

    `balance`: of no label more than an equal share of them all, the surest first.
    """
    sure = [
        place
        for place, found in enumerate(answers)
        if (found.probability or 0.0) >= confidence and not found.out_of_scope and not found.abstained
    ]
    if not balance or not sure:
        return sure
    most = max(1, len(sure) // labels)
    by_label: dict[str, list[int]] = {}
    for place in sorted(sure, key=lambda place: (-(answers[place].probability or 0.0), place)):
        by_label.setdefault(answers[place].value, []).append(place)
    return sorted(place for places in by_label.values() for place in places[:most])
