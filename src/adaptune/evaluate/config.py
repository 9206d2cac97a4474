"""How a trained model is measured. Knows no task."""

from __future__ import annotations

from pydantic import Field

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
    batch_tokens: int = Field(default=8192, ge=1)
    """Most tokens in one batch of prediction, padding and what may be written included."""
    predictions: bool = True
    """Whether every test row's answer is written to predictions.jsonl."""
