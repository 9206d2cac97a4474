from __future__ import annotations

import numpy as np
import pytest
import torch

from adaptune.core.batch import Encoded
from adaptune.core.errors import DataError
from adaptune.data.batches import Batches, Budget, by_rows, collate, cut, first_fit, joined

NOTHING = np.zeros(0, dtype=np.int32)


def _encoded(row: int, length: int, **changes: object) -> Encoded:
    fields = {
        "row": row,
        "ids": np.arange(1, length + 1, dtype=np.int32),
        "segments": None,
        "tokens": NOTHING,
        "items": NOTHING,
        "labels": np.array([row % 3]),
    }
    return Encoded(**{**fields, **changes})  # type: ignore[arg-type]  # by name


def _rows(count: int, seed: int = 0) -> list[Encoded]:
    lengths = np.random.default_rng(seed).integers(3, 40, size=count)
    return [_encoded(row, int(length)) for row, length in enumerate(lengths)]


def _batches(encoded: list[Encoded], tokens: int = 128, rows: int = 16, seed: int = 0) -> Batches:
    return Batches(encoded, Budget(tokens=tokens, rows=rows), pad=0, seed=seed)


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_every_sequence_comes_exactly_once_an_epoch(epoch: int) -> None:
    batches = _batches(_rows(500))
    assert sorted(int(row) for batch in batches(epoch) for row in batch.rows) == list(range(500))


@pytest.mark.parametrize(("tokens", "rows"), [(128, 16), (64, 100), (1000, 4)])
def test_the_budget_is_kept(tokens: int, rows: int) -> None:
    for batch in _batches(_rows(300), tokens, rows)(0):
        assert batch.mask.numel() <= tokens
        assert len(batch.rows) <= rows


def test_a_sequence_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    encoded = [_encoded(0, 5), _encoded(1, 200), _encoded(2, 6)]
    sizes = sorted((tuple(batch.mask.shape) for batch in _batches(encoded, tokens=64)(0)), key=lambda shape: shape[1])
    assert sizes == [(2, 6), (1, 200)]


def test_little_is_padding() -> None:
    batches = list(_batches(_rows(2000), tokens=512, rows=64)(0))
    assert sum(batch.tokens for batch in batches) / sum(batch.mask.numel() for batch in batches) > 0.95


def test_batches_are_a_function_of_seed_and_epoch() -> None:
    def rows(seed: int, epoch: int) -> list[list[int]]:
        return [batch.rows.tolist() for batch in _batches(_rows(200), seed=seed)(epoch)]

    assert rows(1, 4) == rows(1, 4)
    assert rows(1, 4) != rows(1, 5)
    assert rows(1, 4) != rows(2, 4)


def test_an_epoch_can_be_entered_in_its_middle() -> None:
    batches = _batches(_rows(200))
    whole = [batch.rows.tolist() for batch in batches(2)]
    assert [batch.rows.tolist() for batch in batches(2, skip=5)] == whole[5:]
    assert list(batches(2, skip=len(whole))) == []


def test_an_epoch_is_not_sorted_by_length() -> None:
    widths = [batch.mask.shape[1] for batch in _batches(_rows(600))(0)]
    assert widths != sorted(widths)


def test_the_batches_of_the_first_epoch_are_counted() -> None:
    batches = _batches(_rows(123))
    assert batches.per_epoch() == len(list(batches(0)))


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="there are no rows to train on; check the training file"):
        _batches([])


def test_a_plan_is_cut_where_the_next_sequence_would_not_fit() -> None:
    lengths = np.array([2, 3, 4, 4, 9, 1])
    parts = cut(np.arange(6), lengths, Budget(tokens=12, rows=3))
    assert [part.tolist() for part in parts] == [[0, 1, 2], [3], [4], [5]]


def test_the_windows_of_a_row_stay_together_in_prediction() -> None:
    encoded = [_encoded(0, 9), _encoded(1, 3), _encoded(2, 20), _encoded(2, 20), _encoded(2, 4), _encoded(3, 5)]
    parts = [part.tolist() for part in by_rows(encoded, Budget(tokens=27, rows=3))]
    assert sorted(index for part in parts for index in part) == [0, 1, 2, 3, 4, 5]
    assert [sorted({encoded[index].row for index in part}) for part in parts] == [[0, 1, 3], [2]]
    assert parts[-1] == [2, 3, 4]


def test_prediction_keeps_the_budget_but_for_the_windows_of_one_row() -> None:
    encoded = _rows(300)
    for part in by_rows(encoded, Budget(tokens=128, rows=16)):
        assert len(part) <= 16
        assert len(part) * max(len(encoded[index].ids) for index in part) <= 128


def test_no_rows_are_no_batches_in_prediction() -> None:
    assert by_rows([], Budget(tokens=10, rows=2)) == []


def test_rows_of_a_batch_are_no_more_unlike_in_length_than_its_budget_lets_them_be() -> None:
    encoded = [_encoded(row, length) for row, length in enumerate([9, 4, 6, 30, 5, 20, 7, 3])]
    parts = by_rows(encoded, Budget(tokens=1000, rows=16, spread=1.5))
    assert [[encoded[index].length for index in part] for part in parts] == [[3, 4], [5, 6, 7], [9], [20, 30]]


def test_a_batch_is_padded_on_the_right() -> None:
    batch = collate([_encoded(4, 2), _encoded(7, 3)], pad=99)
    assert batch.rows.tolist() == [4, 7]
    assert batch.ids is not None
    assert batch.ids.tolist() == [[1, 2, 99], [1, 2, 3]]
    assert batch.mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch.labels is not None
    assert (batch.labels.tolist(), batch.labels.dtype) == ([1, 1], torch.int64)
    assert (batch.segments, batch.sequence_of, batch.token_of, batch.items) == (None, None, None, None)
    assert batch.tokens == 5


def test_labelled_words_know_their_sequence_token_and_place_in_the_row() -> None:
    one = _encoded(0, 4, tokens=np.array([1, 3]), items=np.array([0, 1]), labels=np.array([5, 6]))
    none = _encoded(1, 2, labels=np.zeros(0, dtype=np.int64))
    other = _encoded(2, 3, tokens=np.array([2]), items=np.array([8]), labels=np.array([7]))
    batch = collate([one, none, other], pad=0)
    assert batch.sequence_of is not None
    assert batch.token_of is not None
    assert batch.items is not None
    assert batch.labels is not None
    assert batch.sequence_of.tolist() == [0, 0, 2]
    assert batch.token_of.tolist() == [1, 3, 2]
    assert batch.items.tolist() == [0, 1, 8]
    assert batch.labels.tolist() == [5, 6, 7]


def test_segments_are_padded_with_zeros() -> None:
    batch = collate([_encoded(0, 2, segments=np.array([0, 1])), _encoded(1, 3, segments=np.array([0, 1, 1]))], pad=0)
    assert batch.segments is not None
    assert batch.segments.tolist() == [[0, 1, 0], [0, 1, 1]]


def test_a_batch_with_an_unlabelled_sequence_is_unlabelled() -> None:
    assert collate([_encoded(0, 2), _encoded(1, 2, labels=None)], pad=0).labels is None


@pytest.mark.parametrize("epoch", [0, 3])
def test_whole_rows_keep_their_sequences_beside_each_other_and_in_order(epoch: int) -> None:
    lengths = np.random.default_rng(1).integers(3, 40, size=400)
    encoded = [_encoded(index // 2, int(length)) for index, length in enumerate(lengths)]
    batches = Batches(encoded, Budget(tokens=128, rows=16), pad=0, seed=0, whole_rows=True)
    plan = [indices.tolist() for indices in batches.plan(epoch)]
    assert sorted(index for batch in plan for index in batch) == list(range(400))
    for batch in plan:
        assert [index + 1 for index in batch[0::2]] == batch[1::2]
        assert all(index % 2 == 0 for index in batch[0::2])
        assert len(batch) == 2 or len(batch) * max(lengths[batch]) <= 128
    assert plan != [indices.tolist() for indices in batches.plan(epoch + 1)]


def _packed(encoded: list[Encoded], tokens: int = 128, rows: int = 16, seed: int = 0) -> Batches:
    return Batches(encoded, Budget(tokens=tokens, rows=rows), pad=0, seed=seed, packed=True)


def test_packed_batches_hold_every_sequence_once_and_keep_the_budget() -> None:
    batches = list(_packed(_rows(500), tokens=300, rows=12)(3))
    assert sorted(row for batch in batches for row in batch.rows.tolist()) == list(range(500))
    assert all(batch.mask.shape[0] == 1 and batch.mask.numel() <= 300 for batch in batches)
    assert all(len(batch.rows) == len(batch.lengths or ()) <= 12 for batch in batches)


def test_packed_batches_are_nearly_full_and_without_padding() -> None:
    batches = list(_packed(_rows(2000), tokens=512, rows=64)(0))
    assert all(batch.tokens == batch.mask.numel() for batch in batches)
    assert sum(batch.tokens for batch in batches) / (512 * len(batches)) > 0.97


def test_packed_batches_are_a_function_of_seed_and_epoch() -> None:
    def rows(seed: int, epoch: int) -> list[list[int]]:
        return [batch.rows.tolist() for batch in _packed(_rows(200), seed=seed)(epoch)]

    assert rows(1, 4) == rows(1, 4)
    assert rows(1, 4) != rows(1, 5)
    assert rows(1, 4) != rows(2, 4)


def test_each_sequence_goes_from_the_longest_on_into_the_first_batch_with_room() -> None:
    lengths = np.array([2, 3, 4, 5, 7, 20])
    found = first_fit(np.arange(6), lengths, Budget(tokens=10, rows=2))
    assert [batch.tolist() for batch in found] == [[5], [4, 1], [3, 2], [0]]


def test_a_packed_batch_counts_places_along_its_row() -> None:
    one = _encoded(4, 3, tokens=np.array([1, 2], np.int32), items=np.array([0, 1], np.int32), labels=np.array([8, 9]))
    two = _encoded(7, 2, tokens=np.array([0], np.int32), items=np.array([0], np.int32), labels=np.array([6]))
    batch = joined([one, two])
    assert batch.ids is not None
    assert batch.ids.tolist() == [[1, 2, 3, 1, 2]]
    assert (batch.lengths, batch.rows.tolist()) == ((3, 2), [4, 7])
    assert batch.sequence_of is not None
    assert batch.token_of is not None
    assert batch.labels is not None
    assert (batch.sequence_of.tolist(), batch.token_of.tolist()) == ([0, 0, 0], [1, 2, 3])
    assert batch.labels.tolist() == [8, 9, 6]
    assert batch.to("cpu").lengths == (3, 2)


def test_beginnings_that_are_read_once_count_once() -> None:
    """Rows of two options behind 90 tokens that all share: 10 + 2 of their own."""
    encoded = [_encoded(row, 100 + option, fresh=10 if option == 0 else 2) for row in range(6) for option in range(2)]
    folded, padded = Budget(tokens=40, rows=10, folded=True), Budget(tokens=40, rows=10)
    assert [len(batch) // 2 for batch in by_rows(encoded, folded)] == [3, 3]
    assert [len(batch) // 2 for batch in by_rows(encoded, padded)] == [1] * 6
    assert [len(batch) // 2 for batch in by_rows(encoded, Budget(tokens=400, rows=4, folded=True))] == [4, 2]
    plan = Batches(encoded, folded, pad=0, seed=1, whole_rows=True).plan(0)
    assert sorted(len(batch) // 2 for batch in plan) == [3, 3]
    assert sorted(index for batch in plan for index in batch.tolist()) == list(range(12))
