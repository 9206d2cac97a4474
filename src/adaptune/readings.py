"""The rows of a recipe as its model would read them, without loading its weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from adaptune.bundle.start import continued_labels
from adaptune.core.approach import as_put
from adaptune.core.errors import DataError
from adaptune.data.encode import encode
from adaptune.data.encode_raw import masked_once
from adaptune.data.readings import AsRead, readings_of
from adaptune.models.load import load_backbone
from adaptune.prepare import labels_of, prepare
from adaptune.recipe import Recipe

PartName = Literal["train", "valid", "test"]


@dataclass(frozen=True, slots=True)
class RowReadings:
    """What is read of one row."""

    where: str
    """`train.csv, row 12`"""
    sequences: tuple[AsRead, ...]
    """None where the recipe leaves the row out."""

    def records(self) -> Iterator[dict[str, Any]]:
        """As JSON, one record a sequence."""
        for number, reading in enumerate(self.sequences, 1):
            yield {"row": self.where, "sequence": number, "of": len(self.sequences)} | reading.record()


def read_rows(recipe: Recipe, *, part: PartName = "train", first: int = 1, rows: int = 1) -> list[RowReadings]:
    """Consecutive rows of a part, from its `first`, as training would encode them. Raises AdaptuneError."""
    prepared = prepare(recipe)
    examples = prepared.splits.parts[part]
    if not first <= len(examples):
        raise DataError(f"there is no row {first} of {part}: it has {len(examples):,} rows; choose one of these")
    labels = labels_of(recipe, prepared.splits)
    if recipe.method.start is not None:
        labels = continued_labels(recipe.method.start, recipe.task, labels)
    backbone = load_backbone(recipe.model, words=recipe.head.reads_words, weights=False)
    head = recipe.head.settled(backbone, labels)
    approach = recipe.approach.settled(prepared.splits.train, labels, seed=recipe.seed)
    chosen = examples[first - 1 : first - 1 + rows]
    encoded = encode(
        as_put(approach, chosen, labels, backbone.tokenizer),
        backbone.tokenizer,
        labels,
        max_length=backbone.max_length - recipe.method.positions,
        segments=backbone.roles.segments,
        writing=head.writing(backbone),
        reading=head.reading(backbone),
    )
    # What is hidden differs from epoch to epoch; the seed gives one choice of them.
    encoded = masked_once(encoded, head.reading(backbone), recipe.seed)
    found = readings_of(encoded, backbone.tokenizer, labels, head.own_tokens)
    return [RowReadings(example.row.where, tuple(found.get(index, ()))) for index, example in enumerate(chosen)]
