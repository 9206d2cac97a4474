"""The three parts of a run's data: read, understood by the task, and cut where files are not given. Knows no model."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adaptune.core.errors import DataError
from adaptune.core.log import notice
from adaptune.core.task import Task
from adaptune.core.types import Example
from adaptune.data.config import DataConfig
from adaptune.data.corpus import read_corpus
from adaptune.data.read import examples_of, read
from adaptune.data.split import cut, same_text
from adaptune.data.table import Rejected


@dataclass(frozen=True, slots=True)
class Splits:
    """Labelled examples for training, validation and test."""

    train: tuple[Example, ...]
    valid: tuple[Example, ...]
    test: tuple[Example, ...]
    rejected: tuple[Rejected, ...]
    """Rows that were left out because `on_bad_row` says so."""
    fingerprints: Mapping[str, str]
    """SHA-256 of each data file, by its name in the recipe."""
    columns: Mapping[str, str]
    """The task's name of a column -> the files' name of it."""

    @property
    def parts(self) -> dict[str, tuple[Example, ...]]:
        """train, valid, test by name."""
        return {"train": self.train, "valid": self.valid, "test": self.test}


def load_splits(config: DataConfig, task: Task, *, seed: int) -> Splits:
    """Read the files of a recipe; validation and test rows that have no file are cut from the training rows by `seed`.

    Raises DataError with file, row, column and value.
    """
    rejected: list[Rejected] = []
    fingerprints: dict[str, str] = {}
    columns: dict[str, str] = {}

    def part(name: str) -> list[Example] | None:
        source = getattr(config, name)
        if source is None:
            return None
        found = read(source, config, task.columns, part=name)
        for text in found.notices:
            notice(text)
        understood = examples_of(found.rows, task, config)
        _refuse_unlabelled(understood.examples, name, task)
        rejected.extend([*found.rejected, *understood.rejected])
        fingerprints[name] = found.fingerprint
        columns.update({column: there for column, there in found.columns.items() if column not in columns})
        return understood.examples

    corpus = _corpus(config, task, fingerprints)
    train = part("train")
    assert train is not None, "data.train is required"
    test, valid = part("test"), part("valid")
    if test is None and config.test_share > 0:
        train, test = _cut(train, task, config.test_share, seed, "test")
    if valid is None:
        train, valid = _cut(train, task, config.valid_share, seed + 1, "valid")
    train = draw(train, task, config.train_rows, seed + 2)
    valid = draw(valid, task, config.valid_rows, seed + 3)
    test = draw(test or [], task, config.test_rows, seed + 4)
    if task.pools:
        valid, test = task.pooled(valid, corpus), task.pooled(test, corpus)
    return Splits(tuple(train), tuple(valid), tuple(test), tuple(rejected), fingerprints, columns)


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


def draw(examples: list[Example], task: Task, rows: int | None, seed: int) -> list[Example]:
    """At most so many of the examples, in order and with every stratum in its share."""
    if rows is None or rows >= len(examples):
        return examples
    drawn = cut(task.strata(examples), rows / len(examples), seed)[1]
    if len(drawn) > rows:  # more classes than rows
        drawn = sorted(random.Random(seed).sample(drawn, rows))
    return [examples[index] for index in drawn]


def _refuse_unlabelled(examples: Sequence[Example], part: str, task: Task) -> None:
    """Every row that trains or scores must have its answer."""
    for example in examples:
        if example.expected is None:
            raise DataError(
                f"{example.row.where} has no label, and data.{part} needs one in every row; {task.unlabelled}"
            )


def _group(example: Example) -> str:
    return same_text(example) if example.group is None else example.group


def _cut(
    examples: list[Example], task: Task, share: float, seed: int, name: str
) -> tuple[list[Example], list[Example]]:
    """Cut one part off; rows with equal inputs stay together."""
    kept, taken = cut(task.strata(examples), share, seed, groups=[_group(example) for example in examples])
    if not taken:
        raise DataError(
            f"{len(examples)} rows are too few to cut a {name} part from (data.{name}_share is {share}); "
            f"give a file as data.{name}, or more rows"
        )
    return [examples[index] for index in kept], [examples[index] for index in taken]
