"""Hidden states that are kept, and those that are not."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from adaptune.core.batch import Batch
from adaptune.models.remembered import Remembered

IDS = torch.tensor([[5, 6, 7], [8, 9, 0]])
BATCH = Batch(rows=torch.tensor([0, 1]), ids=IDS, mask=torch.tensor([[1, 1, 1], [1, 1, 0]]))


class Trunk:
    """Counts its passes."""

    passes = 0

    def __call__(self, batch: Batch) -> Tensor:
        self.passes += 1
        return torch.full((2, 3, 4), float(self.passes))


def test_a_batch_that_comes_again_passes_once_and_another_by_itself() -> None:
    trunk, remembered = Trunk(), Remembered()
    others = [
        replace(BATCH, ids=IDS + 1),
        replace(BATCH, mask=torch.ones_like(IDS)),
        replace(BATCH, segments=torch.zeros_like(IDS)),
        replace(BATCH, decoder_ids=IDS),
        replace(BATCH, token_of=torch.tensor([1])),
        replace(BATCH, lengths=(3, 3)),
    ]
    first = remembered.get(BATCH, trunk)
    assert all(float(remembered.get(other, trunk)[0, 0, 0]) > 1 for other in others)
    assert remembered.get(BATCH, trunk) is first
    assert remembered.get(replace(BATCH, rows=torch.tensor([7, 8])), trunk) is first
    assert trunk.passes == 1 + len(others)


def test_without_room_and_of_embeddings_every_pass_is_made() -> None:
    trunk, remembered = Trunk(), Remembered(most=2 * 3 * 4 * 4 - 1)
    for _ in range(2):
        remembered.get(BATCH, trunk)
    assert trunk.passes == 2
    embedded = replace(BATCH, ids=None, embeddings=torch.zeros(2, 3, 4))
    for _ in range(2):
        Remembered().get(embedded, trunk)
    assert trunk.passes == 4
