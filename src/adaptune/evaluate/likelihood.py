"""How probable a model finds the right texts: its loss by teacher forcing. Knows no task; generates nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from adaptune.core.batch import Encoded
from adaptune.core.head import LOG_LIKELIHOOD
from adaptune.core.types import Scores
from adaptune.data.batches import Budget, by_rows, collate
from adaptune.evaluate.predict import MOST_SEQUENCES, batch_tokens_of
from adaptune.models.assembly import Assembly

PERPLEXITY = "perplexity"


@torch.inference_mode()
def likelihood(assembly: Assembly, encoded: Sequence[Encoded], *, batch_tokens: int | None) -> dict[str, float]:
    """log_likelihood: the mean natural logarithm of a target token's probability. perplexity: e to minus that."""
    device = next(assembly.parameters()).device
    pad = assembly.backbone.tokenizer.pad_token_id
    training = assembly.training
    assembly.eval()
    total, items = 0.0, 0.0
    try:
        for indices in by_rows(encoded, Budget(tokens=batch_tokens_of(assembly, batch_tokens), rows=MOST_SEQUENCES)):
            loss = assembly(collate([encoded[index] for index in indices], pad).to(device))
            total, items = total + float(loss.total), items + float(loss.items)
    finally:
        assembly.train(training)
    mean = total / max(1.0, items)
    return {LOG_LIKELIHOOD: -mean, PERPLEXITY: math.exp(min(mean, 700.0))}


def with_likelihood(
    scores: Scores, assembly: Assembly, encoded: Sequence[Encoded], *, batch_tokens: int | None
) -> Scores:
    """Scores with the loss and the perplexity of the expected texts; `encoded` holds these."""
    found = likelihood(assembly, encoded, batch_tokens=batch_tokens)
    own = {"loss": -found[LOG_LIKELIHOOD], PERPLEXITY: found[PERPLEXITY]}
    return replace(scores, values={**scores.values, **own})
