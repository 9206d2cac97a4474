"""How a trained model is measured. Knows no task."""

from __future__ import annotations

from pydantic import Field

from adaptune.core.calibration import ScopeScore
from adaptune.core.config import Config


class EvaluateConfig(Config):
    """The recipe's `evaluate` section."""

    samples: int = Field(default=1000, ge=100)
    """Bootstrap samples behind the main metric's interval."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Share of such intervals that are to hold the true value."""
    baselines: bool = True
    """Whether plain models (majority, TF-IDF with logistic regression, most frequent tag) are measured beside it; where
    texts are written, the model as it was before training, too."""
    plain_rows: int | None = Field(default=None, ge=1)
    """At most so many training rows that plain models are fitted on, drawn with every class in its share; none: all of
    them, but 50,000 of rows that are streamed."""
    batch_tokens: int | None = Field(default=None, ge=1)
    """Most tokens in one batch of prediction, padding and what may be written included; none: 1,024 on a processor,
    whose caches hold no more, and 8,192 where texts are written, or an accelerator computes."""
    calibrate: bool = True
    """Whether heads that choose between labels get a temperature, fitted on validation rows; no answer changes by it,
    its probability does."""
    abstain: float | None = Field(default=None, gt=0, le=1)
    """Share of the given answers that is to be right, 0.95: the bundle then abstains from less probable ones, as few as
    this took on validation rows; none: it abstains from nothing."""
    out_of_scope: ScopeScore | None = None
    """By what texts are told that belong to no label: probability (of the answer), energy (of the logits), or
    mahalanobis (distance to the nearest class of the training rows); none: not at all."""
    in_scope_kept: float = Field(default=0.95, gt=0, le=1)
    """Share of the validation rows in scope that is to be kept by it."""
    predictions: bool = True
    """Whether every test row's answer is written to predictions.jsonl."""
    errors: int = Field(default=30, ge=0)
    """How many test rows, the worst answered ones, are written with their texts to errors.jsonl; 0: none."""
