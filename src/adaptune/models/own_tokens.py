"""Tokens of a head's own: learned embeddings in the place of the vocabulary's. Knows no head and no method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from adaptune.core.batch import Batch


def with_own_tokens(batch: Batch, trunk: nn.Module, own: Tensor, sequences: Tensor | None = None) -> Batch:
    """The batch as embeddings, `own`, (K, E), in the places of its labelled items: row i where item i stands.

    No id beyond the vocabulary is ever read: ids of it keep the places. `sequences`: indices of those that have such
    tokens; None: all have.
    """
    if batch.sequence_of is None or batch.token_of is None or batch.items is None:
        return batch
    sequence_of, token_of, items = batch.sequence_of, batch.token_of, batch.items
    if sequences is not None:
        there = torch.isin(sequence_of, sequences)
        sequence_of, token_of, items = sequence_of[there], token_of[there], items[there]
    embedded = batch.embeddings
    if embedded is None:
        table: Any = trunk.get_input_embeddings()  # type: ignore[operator]  # of a transformers model
        embedded = table(batch.ids)
    return replace(batch, embeddings=embedded.index_put((sequence_of, token_of), own[items].to(embedded.dtype)))
