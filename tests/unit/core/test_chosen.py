"""Some sequences of a batch, padded and packed."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from adaptune.core.batch import Batch, Encoded
from adaptune.core.chosen import chosen
from adaptune.data.batches import collate, joined


def _sequence(row: int, ids: list[int], tokens: list[int], labels: list[int], **more: object) -> Encoded:
    array = np.array
    return Encoded(
        row=row,
        ids=array(ids, dtype=np.int32),
        segments=None,
        tokens=array(tokens, dtype=np.int32),
        items=array(range(len(tokens)), dtype=np.int32),
        labels=array(labels, dtype=np.int64),
        **more,  # type: ignore[arg-type]
    )


TAGGED = [
    _sequence(0, [5, 6, 7, 8], [1, 2], [3, 4]),
    _sequence(1, [9, 10], [], []),
    _sequence(2, [11, 12, 13], [0, 2], [5, 6]),
]
WHOLE = [
    _sequence(4, [5, 6, 7], [1, 2], [1], text="a", decoder_ids=np.array([1, 2], dtype=np.int32)),
    _sequence(5, [8], [0], [0], text="b", decoder_ids=np.array([3], dtype=np.int32)),
]


def _same(one: Batch, other: Batch) -> None:
    for field in fields(Batch):
        found, expected = getattr(one, field.name), getattr(other, field.name)
        if isinstance(expected, torch.Tensor):
            assert torch.equal(found, expected), field.name
        else:
            assert found == expected, field.name


@pytest.mark.parametrize("places", [[0], [2], [0, 2], [2, 0], [1, 2], [0, 1, 2]])
def test_they_are_the_batch_that_these_sequences_alone_would_make(places: list[int]) -> None:
    alone = [TAGGED[place] for place in places]
    _same(chosen(collate(TAGGED, 0), places, of_items=True), collate(alone, 0))
    _same(chosen(joined(TAGGED), places, of_items=True), joined(alone))


def test_labels_texts_and_decoders_of_whole_sequences_go_with_them() -> None:
    for places in ([0], [1], [1, 0]):
        alone = [WHOLE[place] for place in places]
        _same(chosen(collate(WHOLE, 0), places, of_items=False), collate(alone, 0))


def test_of_a_sequence_without_items_an_empty_list_is_left() -> None:
    found = chosen(collate(TAGGED, 0), [1], of_items=True)
    assert found.token_of is not None
    assert found.labels is not None
    assert len(found.token_of) == len(found.labels) == 0
    assert found.ids is not None
    assert found.ids.tolist() == [[9, 10]]
