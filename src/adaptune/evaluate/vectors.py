"""What a text looks like to a trunk, as one vector. Knows no task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from adaptune.core.batch import Batch, Encoded
from adaptune.core.types import Answer
from adaptune.data.batches import Budget, by_rows, collate
from adaptune.evaluate.predict import MOST_SEQUENCES, batch_tokens_of
from adaptune.heads.classify import pool as pooled
from adaptune.models.assembly import Assembly


class Looked(NamedTuple):
    """What one batch looks like, and what is answered."""

    rows: list[int]
    """(B,) of each sequence its row."""
    vectors: Tensor
    """(B, D) of length 1"""
    answers: dict[int, Answer]
    """By row; empty where none are wanted."""


def looked_at(
    assembly: Assembly, encoded: Sequence[Encoded], *, batch_tokens: int | None, answers: bool = True
) -> Iterator[Looked]:
    """Every sequence as a vector, whole rows together; the trunk is passed once for vectors and answers.

    The assembly is in evaluation mode afterwards.
    """
    assembly.eval()
    device, pad = next(assembly.parameters()).device, assembly.backbone.tokenizer.pad_token_id
    pooling = getattr(assembly.head, "pooling", assembly.backbone.pooling)
    tokens = batch_tokens_of(assembly, batch_tokens)
    for indices in by_rows(encoded, Budget(tokens=tokens, rows=MOST_SEQUENCES)):
        batch = collate([encoded[index] for index in indices], pad).to(device)
        with torch.inference_mode(), assembly.remembering():
            vectors = unit_vectors(assembly.hidden(batch), batch, pooling)
            found = assembly.answers(batch) if answers else {}
        yield Looked(batch.rows.tolist(), vectors, found)


def unit_vectors(hidden: Tensor, batch: Batch, pooling: str) -> Tensor:
    """(B, T, D) -> (B, D) pooled over the tokens of each sequence, of length 1."""
    mask = batch.mask if batch.decoder_mask is None else batch.decoder_mask
    return torch.nn.functional.normalize(pooled(hidden.float(), mask, pooling), dim=1)
