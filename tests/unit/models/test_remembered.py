"""States of sequences that are kept, and those that are not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from adaptune.core.batch import Batch
from adaptune.core.errors import TrainingError
from adaptune.models.remembered import Remembered

IDS = torch.tensor([[5, 6, 7], [8, 9, 0]])
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])
BATCH = Batch(rows=torch.tensor([0, 1]), ids=IDS, mask=MASK)
STATES = torch.arange(24.0).reshape(2, 3, 4) + 1
BYTES = 5 * 4 * 4
"""Of the five tokens."""


def test_sequences_are_found_again_in_other_batches_and_padding_is_zero() -> None:
    remembered = Remembered()
    assert remembered.get(BATCH) is None
    remembered.put(BATCH, STATES)
    assert torch.equal(remembered.get(BATCH), STATES * MASK[:, :, None])
    alone = Batch(rows=torch.tensor([9]), ids=torch.tensor([[8, 9, 0, 0]]), mask=torch.tensor([[1, 1, 0, 0]]))
    expected = torch.cat([STATES[1, :2], torch.zeros(2, 4)])[None]
    assert torch.equal(remembered.get(alone), expected)
    packed = Batch(
        rows=torch.tensor([1, 0]), ids=torch.tensor([[8, 9, 5, 6, 7]]), mask=torch.ones(1, 5), lengths=(2, 3)
    )
    assert torch.equal(remembered.get(packed), torch.cat([STATES[1, :2], STATES[0]])[None])
    assert (len(remembered), remembered.memory) == (2, BYTES)


def test_what_is_read_otherwise_is_another_sequence() -> None:
    remembered = Remembered()
    remembered.put(BATCH, STATES)
    for other in (
        replace(BATCH, ids=IDS + 1),
        replace(BATCH, mask=torch.ones_like(IDS)),
        replace(BATCH, segments=torch.zeros_like(IDS)),
        replace(BATCH, decoder_ids=IDS, decoder_mask=MASK),
    ):
        assert remembered.get(other) is None


def test_a_heads_own_tokens_tell_sequences_apart() -> None:
    def marked(token: int) -> Batch:
        one = torch.tensor([0])
        return replace(BATCH, sequence_of=one, token_of=torch.tensor([token]), items=one)

    remembered = Remembered(own_tokens=True)
    remembered.put(marked(1), STATES)
    assert remembered.get(marked(1)) is not None
    assert remembered.get(marked(2)) is None
    without = Remembered()
    without.put(marked(1), STATES)
    assert without.get(marked(2)) is not None


def test_of_two_stacks_the_decoders_states_are_kept() -> None:
    ids, mask = torch.tensor([[3, 4], [2, 0]]), torch.tensor([[1, 1], [1, 0]])
    batch, states = replace(BATCH, decoder_ids=ids, decoder_mask=mask), torch.ones(2, 2, 4)
    remembered = Remembered()
    remembered.put(batch, states)
    assert torch.equal(remembered.get(batch), states * mask[:, :, None])


@pytest.mark.parametrize(("memory", "disk"), [(BYTES, 0), (48, BYTES), (0, BYTES)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_memory_has_no_room_for_is_read_from_the_file(memory: int, disk: int, dtype: torch.dtype) -> None:
    remembered = Remembered(memory, disk)
    remembered.put(BATCH, STATES.to(dtype))
    found = remembered.get(BATCH)
    assert found.dtype == dtype
    assert torch.equal(found, (STATES * MASK[:, :, None]).to(dtype))
    assert remembered.memory <= memory
    assert remembered.memory + remembered.disk == BYTES * dtype.itemsize // 4


def test_without_room_and_of_embeddings_nothing_is_kept() -> None:
    full = Remembered(memory=47)
    full.put(BATCH, STATES)
    assert full.get(BATCH) is None
    assert len(full) == 1  # the shorter one
    embedded = replace(BATCH, ids=None, embeddings=torch.zeros(2, 3, 4))
    remembered = Remembered()
    remembered.put(embedded, STATES)
    assert (len(remembered), remembered.get(embedded)) == (0, None)


def test_states_beyond_16_bits_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"hidden states reach 7e\+04, more than 16 bits hold"):
        Remembered(half=True).put(BATCH, STATES + 7e4)
