"""What a trained model's probabilities are worth: temperature, abstention, texts of no label. Fits nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

from pydantic import Field

from adaptune.core.batch import Batch
from adaptune.core.config import Config
from adaptune.core.head import Head, LogitHead
from adaptune.core.lazy import torch
from adaptune.core.types import Answer, Labels

ScopeScore = Literal["probability", "energy", "mahalanobis"]


class Abstention(Config):
    """When an answer is too improbable to be given."""

    accuracy: float
    """Share of the answered validation rows that was to be right."""
    below: float
    """An answer with a lower probability is abstained from."""


class Scope(Config):
    """When a text belongs to none of the labels."""

    score: ScopeScore
    """probability: 1 - the largest. energy: -log sum exp of the logits (Liu et al., 2020, eq. 4, T = 1). mahalanobis:
    the squared distance to the nearest class mean under one covariance (Lee et al., 2018, eq. 2)."""
    kept: float
    """Share of the in-scope validation rows that was to be kept."""
    above: float
    """A text with a larger score is out of scope."""
    label: str | None = None
    """A label that itself means out of scope; scores leave it out."""


class Calibration(Config):
    """What was fitted on validation rows."""

    temperature: float = Field(default=1.0, gt=0)
    """What logits are divided by (Guo et al., 2017)."""
    abstain: Abstention | None = None
    """None: every answer is given."""
    scope: Scope | None = None
    """None: every text is taken to be in scope."""
    measured: dict[str, dict[str, float]] = Field(default={})
    """What it was worth, by split."""


class Classes:
    """Where the classes lie among the features, for Mahalanobis distances; on the processor, in double precision."""

    def __init__(self, means: torch.Tensor, precision: torch.Tensor) -> None:
        """(C, F), (F, F)"""
        self.means, self.precision = means, precision
        self._root = torch.linalg.cholesky(precision.double())
        self._placed = means.double() @ self._root

    def distances(self, features: torch.Tensor) -> torch.Tensor:
        """(B, F) -> (B,) squared, to the nearest mean: d' P d = |d' L|^2 with P = L L'."""
        placed = features.detach().cpu().double() @ self._root
        apart = torch.cdist(placed, self._placed, compute_mode="donot_use_mm_for_euclid_dist")
        return apart.amin(dim=1).square()


class Calibrated(NamedTuple):
    """A calibration with the tensors that it needs."""

    by: Calibration
    classes: Classes | None = None


class Seen(NamedTuple):
    """Of one labelled batch, on the processor."""

    logits: torch.Tensor
    """(N, C)"""
    targets: torch.Tensor
    """(N,), or (N, C) of 0 and 1"""


def answers_of(
    head: Head,
    layer: torch.nn.Module,
    hidden: torch.Tensor,
    batch: Batch,
    labels: Labels,
    *,
    calibrated: Calibrated | None = None,
    seen: list[Seen] | None = None,
) -> dict[int, Answer]:
    """(B, T, D) -> one Answer a row, calibrated where the head gives logits; these are added to `seen`."""
    if not isinstance(head, LogitHead) or not head.gives_labels(labels):
        return head.decode(layer, hidden, batch, labels)
    logits = head.logits(layer, hidden, batch).float()
    if seen is not None and batch.labels is not None:
        seen.append(Seen(logits.cpu(), head.targets(batch).cpu()))
    if calibrated is None:
        return head.read(logits, batch, labels)
    answers = head.read(logits, batch, labels, calibrated.by.temperature)
    if (scope := calibrated.by.scope) is not None:
        scores = _scores(calibrated, logits, head.features(layer, hidden, batch), labels).tolist()
        for row, score in zip(batch.rows.tolist(), scores, strict=True):
            outside = score > scope.above or answers[row].value == scope.label
            answers[row] = replace(answers[row], scope=score, out_of_scope=outside)
    if (abstain := calibrated.by.abstain) is not None:
        answers = {
            row: replace(one, abstained=(one.probability or 0.0) < abstain.below) for row, one in answers.items()
        }
    return answers


def _scores(
    calibrated: Calibrated, logits: torch.Tensor, features: torch.Tensor | None, labels: Labels
) -> torch.Tensor:
    """(B, C), (B, F) -> (B,) how much each text is unlike those that were learned."""
    by, classes = calibrated
    assert by.scope is not None
    inside = [place for place, name in enumerate(labels.names) if name != by.scope.label]
    if by.scope.score == "probability":
        return 1 - (logits / by.temperature).softmax(dim=1)[:, inside].amax(dim=1)
    if by.scope.score == "energy":
        return -logits[:, inside].logsumexp(dim=1)
    assert classes is not None and features is not None, "distances need classes and features"
    return classes.distances(features)
