"""What a text looks like to a trunk, as one vector. Knows no task."""

from __future__ import annotations

import torch
from torch import Tensor

from adaptune.core.batch import Batch
from adaptune.heads.classify import pool as pooled


def unit_vectors(hidden: Tensor, batch: Batch, pooling: str) -> Tensor:
    """(B, T, D) -> (B, D) pooled over the tokens of each sequence, of length 1."""
    mask = batch.mask if batch.decoder_mask is None else batch.decoder_mask
    return torch.nn.functional.normalize(pooled(hidden.float(), mask, pooling), dim=1)
