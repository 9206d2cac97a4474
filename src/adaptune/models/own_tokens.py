"""Tokens of a head's own: learned embeddings in the place of the vocabulary's. Knows no head and no method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adaptune.core.batch import Batch


def with_own_tokens(batch: Batch, trunk: nn.Module, own: Tensor, sequences: Tensor | None = None) -> Batch:
    """The batch as embeddings, `own`, (K, E), in the places of its first labelled items: row i where item i stands.

    Items from K on stay as they are. No id beyond the vocabulary is ever read: ids of it keep the places. `sequences`:
    indices of those that have such tokens; None: all have.
    """
    if batch.sequence_of is None or batch.token_of is None or batch.items is None:
        return batch
    is_own = batch.items < len(own)
    sequence_of, token_of, items = batch.sequence_of[is_own], batch.token_of[is_own], batch.items[is_own]
    if sequences is not None:
        there = torch.isin(sequence_of, sequences)
        sequence_of, token_of, items = sequence_of[there], token_of[there], items[there]
    if batch.folded is not None:
        # What sequences have alike stands once, and once it gets its embedding and its gradient.
        once, places = np.unique(token_of.cpu().numpy(), return_index=True)
        token_of = token_of.new_tensor(once)
        items, sequence_of = items[token_of.new_tensor(places)], torch.zeros_like(token_of)
    embedded = batch.embeddings
    if embedded is None:
        table: Any = trunk.get_input_embeddings()  # type: ignore[operator]  # of a transformers model
        embedded = table(batch.ids)
    return replace(batch, embeddings=embedded.index_put((sequence_of, token_of), own[items].to(embedded.dtype)))
