"""The three parts of a run's data: read, understood by the task, and cut where files are not given. Knows no model."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from adaptune.core.errors import DataError
from adaptune.core.log import notice
from adaptune.core.task import Task
from adaptune.core.types import Example
from adaptune.data.config import DataConfig
from adaptune.data.corpus import read_corpus
from adaptune.data.formats.hub import Drawn
from adaptune.data.outline import UNLABELLED
from adaptune.data.read import examples_of, read
from adaptune.data.shots import few, fewer
from adaptune.data.split import cut, same_text
from adaptune.data.stored import Stored, answered
from adaptune.data.stream import load_examples
from adaptune.data.table import Rejected

MOST_CUT = {"valid": 1_000, "test": 10_000}
"""Rows of a part that was cut from streamed rows, where the recipe names no number: every evaluation reads the
validation rows once more, and so many test rows give a narrow interval."""
KEPT = 50_000
"""Rows of a stored part that are taken into memory when there are no more of them."""


@dataclass(frozen=True, slots=True)
class Splits:
    """Labelled examples for training, validation and test."""

    train: Sequence[Example]
    valid: Sequence[Example]
    test: Sequence[Example]
    rejected: tuple[Rejected, ...]
    """Rows that were left out because `on_bad_row` says so."""
    fingerprints: Mapping[str, str]
    """SHA-256 of each data file, by its name in the recipe."""
    columns: Mapping[str, str]
    """The task's name of a column -> the files' name of it."""

    out_of_scope: Sequence[Example] = ()
    """Without labels, and in no part: rows that belong to none of the labels."""
    named: tuple[str, ...] = ()
    """The labels of training rows of which none are learned from (`shots` is 0)."""

    @property
    def parts(self) -> dict[str, Sequence[Example]]:
        """train, valid, test by name."""
        return {"train": self.train, "valid": self.valid, "test": self.test}


def load_splits(config: DataConfig, task: Task, *, seed: int) -> Splits:
    """Read the files of a recipe; validation and test rows that have no file are cut from the training rows by `seed`.

    Raises DataError with file, row, column and value.
    """
    rejected: list[Rejected] = []
    fingerprints: dict[str, str] = {}
    columns: dict[str, str] = {}

    def part(name: str) -> Sequence[Example] | None:
        source = getattr(config, name)
        if source is None:
            return None
        found = load_examples(source, config, task, part=name, drawn=_enough(config, name, seed))
        for text in found.notices:
            notice(text)
        _refuse_unlabelled(found.examples, name, task)
        rejected.extend(found.rejected)
        fingerprints[name] = found.fingerprint
        columns.update({column: there for column, there in found.columns.items() if column not in columns})
        return found.examples

    corpus = _corpus(config, task, fingerprints)
    train: Sequence[Example] = part("train") or ()
    test, valid = part("test"), part("valid")
    if config.train is None:  # nothing can be cut from it
        test, valid = test or (), valid or ()
    most = {name: getattr(config, f"{name}_rows") for name in ("train", "valid", "test")}
    if test is None and config.test_share > 0:
        train, test = _cut(train, task, config.test_share, seed, "test")
        most["test"] = most["test"] or _most_cut(test, "test")
    if valid is None:
        train, valid = _cut(train, task, config.valid_share, seed + 1, "valid")
        most["valid"] = most["valid"] or _most_cut(valid, "valid")
    named = task.labels(answered(train)).names if config.shots == 0 else ()
    train = draw(_shots(train, config), task, most["train"], seed + 2)
    valid = draw(valid, task, most["valid"], seed + 3)
    test = draw(test or [], task, most["test"], seed + 4)
    if (corpus := _corpus(config, task, fingerprints)) is not None or task.pools:
        valid, test = task.pooled(valid, corpus), task.pooled(test, corpus)
    beside = _out_of_scope(config, task, rejected, fingerprints)
    return Splits(
        _settled(train), _settled(valid), _settled(test), tuple(rejected), fingerprints, columns, beside, named
    )


def narrowed(splits: Splits, task: Task, shots: int, number: int) -> Splits:
    """What `data.shots` and `data.draw` leave of parts that were read without them. Raises DataError."""
    named = task.labels(answered(splits.train)).names if shots == 0 else ()
    return replace(splits, train=_settled(_few(splits.train, shots, number)), named=named)


def _shots(train: Sequence[Example], config: DataConfig) -> Sequence[Example]:
    """The rows that `shots` leaves."""
    return train if config.shots is None else _few(train, config.shots, config.draw)


def _few(train: Sequence[Example], shots: int, number: int) -> Sequence[Example]:
    """The same, by a draw; labels with fewer rows are told."""
    taken = _taken(train, few(train, shots, number))
    if (short := fewer(taken, shots)) is not None:
        notice(short)
    return taken


def _out_of_scope(
    config: DataConfig, task: Task, rejected: list[Rejected], fingerprints: dict[str, str]
) -> tuple[Example, ...]:
    """The rows of that file, if there is one; their labels are left out."""
    if config.out_of_scope is None:
        return ()
    columns = {column.name for column in task.columns if not column.label}
    own = config.model_copy(update={"columns": {name: at for name, at in config.columns.items() if name in columns}})
    found = read(config.out_of_scope, own, task.columns, labelled=False, part="test")
    understood = examples_of(found.rows, task, config)
    rejected += [*found.rejected, *understood.rejected]
    fingerprints["out_of_scope"] = found.fingerprint
    return tuple(understood.examples)


def _corpus(config: DataConfig, task: Task, fingerprints: dict[str, str]) -> tuple[str, ...] | None:
    """The texts of the corpus file, if there is one; its fingerprint joins the others."""
    if config.corpus is None and config.corpus_column is None:
        return None
    if config.corpus is None or not task.pools:
        key = "corpus_column" if config.corpus is None else "corpus"
        raise DataError(
            f"data.{key} is {getattr(config, key)!r}, and nothing would read it: it is for rows that are ranked "
            "against a corpus, with data.corpus and task: {name: rank, against: all}; set these, or leave it out"
        )
    texts, fingerprints["corpus"] = read_corpus(config.corpus, config)
    return texts


def draw(examples: Sequence[Example], task: Task, rows: int | None, seed: int) -> Sequence[Example]:
    """At most so many of the examples, in order and with every stratum in its share."""
    if rows is None or rows >= len(examples):
        return examples
    return _taken(examples, drawn(examples, task, rows, seed))


def drawn(examples: Sequence[Example], task: Task, rows: int, seed: int) -> list[int]:
    """At most so many of the examples' indices, in order and with every stratum in its share."""
    if rows >= len(examples):
        return list(range(len(examples)))
    found = cut(task.strata(answered(examples)), rows / len(examples), seed)[1]
    if len(found) > rows:  # more classes than rows
        found = sorted(random.Random(seed).sample(found, rows))
    return found


def _enough(config: DataConfig, part: str, seed: int) -> Drawn | None:
    """How many rows of a stream give a part the rows that it is to have, after others are cut from it."""
    rows = getattr(config, f"{part}_rows")
    if rows is None:
        return None
    away = 0.0
    if part == "train":
        away = (0 if config.valid else config.valid_share) + (0 if config.test else config.test_share)
    # A little more: classes give their shares to within a row, and rows of one group go one way.
    return Drawn(math.ceil(1.02 * rows / (1 - away)) + (100 if away else 0), seed)


def _most_cut(examples: Sequence[Example], part: str) -> int | None:
    """How many rows of a part are kept that was cut from stored rows; said where that is fewer."""
    if not isinstance(examples, Stored) or len(examples) <= MOST_CUT[part]:
        return None
    notice(
        f"{part}: {MOST_CUT[part]:,} of the {len(examples):,} rows that were cut off, for time; set data.{part}_rows "
        "for another number"
    )
    return MOST_CUT[part]


def _taken(examples: Sequence[Example], indices: Sequence[int]) -> Sequence[Example]:
    return examples.take(indices) if isinstance(examples, Stored) else [examples[index] for index in indices]


def _settled(examples: Sequence[Example]) -> Sequence[Example]:
    """In memory, unless they are too many."""
    return examples if isinstance(examples, Stored) and len(examples) > KEPT else tuple(examples)


def _refuse_unlabelled(examples: Sequence[Example], part: str, task: Task) -> None:
    """Every row that trains or scores must have its answer."""
    if isinstance(examples, Stored):
        without = next((examples[int(row)] for row in examples.outline.having(UNLABELLED)[:1]), None)
    else:
        without = next((example for example in examples if example.expected is None), None)
    if without is not None:
        raise DataError(f"{without.row.where} has no label, and data.{part} needs one in every row; {task.unlabelled}")


def _group(example: Example) -> str:
    return same_text(example) if example.group is None else example.group


def _cut(
    examples: Sequence[Example], task: Task, share: float, seed: int, name: str
) -> tuple[Sequence[Example], Sequence[Example]]:
    """Cut one part off; rows with equal inputs stay together."""
    groups = examples.outline.groups if isinstance(examples, Stored) else [_group(example) for example in examples]
    kept, taken = cut(task.strata(answered(examples)), share, seed, groups=groups)
    if not taken:
        raise DataError(
            f"{len(examples)} rows are too few to cut a {name} part from (data.{name}_share is {share}); "
            f"give a file as data.{name}, or more rows"
        )
    return _taken(examples, kept), _taken(examples, taken)
