"""How validation rows look to a bundle, in numbers: what its later inputs and answers are compared with.

Stands in a file of its own beside the manifest; bundles without it are whole.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import Field, ValidationError

from adaptune.bundle.tally import CONFIDENCES, LENGTHS, NUMBERS, Tally
from adaptune.core.config import Config
from adaptune.core.errors import BundleError
from adaptune.core.files import write_json

REFERENCE: Final = "reference.json"
FORMAT: Final = 1


class Reference(Config):
    """The rows of one task, as sums: no row can be had back from it."""

    name: str | None = None
    """Of the task, where there are several."""
    rows: int = Field(ge=1)
    labels: dict[str, int]
    """How often each was answered; empty where the task answers none."""
    confidence: tuple[int, ...] = Field(min_length=len(CONFIDENCES) - 1, max_length=len(CONFIDENCES) - 1)
    """Rows by confidence, in 20 steps of 0.05."""
    confidence_sum: float
    number: tuple[int, ...] = Field(
        default=(0,) * (len(NUMBERS) - 1), min_length=len(NUMBERS) - 1, max_length=len(NUMBERS) - 1
    )
    """Rows by the number that was predicted, in steps of a quarter of the training targets' standard deviation around
    their mean; all 0 where numbers are not predicted, or were not counted yet when the bundle was written."""
    number_sum: float = 0.0
    length: tuple[int, ...] = Field(min_length=len(LENGTHS) - 1, max_length=len(LENGTHS) - 1)
    """Rows by characters, four steps to a doubling."""
    length_sum: float
    unknown: int
    """Tokens that stand for what the tokenizer does not know."""
    tokens: int
    """0 where it knows everything."""
    vectors: int
    """Sequences whose vectors were added up."""
    vector: tuple[float, ...] | None
    """(D) their sum, each of length 1."""

    def tally(self) -> Tally:
        """The sums, to compare with."""
        return Tally(
            rows=self.rows,
            labels=Counter(self.labels),
            confidence=np.array(self.confidence, np.int64),
            confidence_sum=self.confidence_sum,
            number=np.array(self.number, np.int64),
            number_sum=self.number_sum,
            length=np.array(self.length, np.int64),
            length_sum=self.length_sum,
            unknown=self.unknown,
            tokens=self.tokens,
            vectors=self.vectors,
            vector=None if self.vector is None else np.array(self.vector, np.float64),
        )


class _File(Config):
    """The file's content."""

    format: int
    tasks: tuple[Reference, ...]


def reference_of(tally: Tally, name: str | None = None) -> Reference:
    """The record of a tally."""
    return Reference(
        name=name,
        rows=tally.rows,
        labels=dict(sorted(tally.labels.items())),
        confidence=tuple(tally.confidence.tolist()),
        confidence_sum=round(tally.confidence_sum, 6),
        number=tuple(tally.number.tolist()),
        number_sum=round(tally.number_sum, 6),
        length=tuple(tally.length.tolist()),
        length_sum=tally.length_sum,
        unknown=tally.unknown,
        tokens=tally.tokens,
        vectors=tally.vectors,
        vector=None if tally.vector is None else tuple(round(float(number), 7) for number in tally.vector),
    )


def write_references(references: Mapping[str | None, Reference | None], folder: Path) -> None:
    """reference.json in `folder`, of the tasks that have one; no file where none has."""
    known = [one.model_copy(update={"name": name}) for name, one in references.items() if one is not None]
    if known:
        write_json(folder / REFERENCE, _File(format=FORMAT, tasks=tuple(known)).model_dump(mode="json"))


def read_references(folder: Path) -> dict[str | None, Reference]:
    """By the tasks' names; empty where the bundle has none. Raises BundleError for a file that does not read."""
    file = folder / REFERENCE
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_bytes())
        number = content.get("format") if isinstance(content, dict) else None
        if number != FORMAT:
            raise ValueError(f"its format is {number!r}, this adaptune reads {FORMAT}")
        return {one.name: one for one in _File.model_validate(content).tasks}
    except (OSError, ValueError, ValidationError) as error:
        raise BundleError(
            f"{file} does not read: {error}; copy the bundle again, or take this file away: the bundle answers without "
            "it, and is then watched against the first rows that it answers"
        ) from None
