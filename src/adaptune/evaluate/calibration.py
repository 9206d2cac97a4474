"""How far probabilities can be trusted, and what makes them so: fitted on labelled rows. Knows no task and no files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adaptune.core.calibration import Seen
from adaptune.core.lazy import scipy_optimize, scipy_special, sklearn_covariance, sklearn_metrics

Numbers = NDArray[np.float64]

BINS = 15
HOTTEST = 20.0
"""Temperatures are sought from 1 / HOTTEST to HOTTEST."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Logits of labelled items, and which of them are right."""

    logits: Numbers
    """(N, C); minus infinity where an item has no such option."""
    targets: NDArray[np.int64] | Numbers
    """(N,), or of a sigmoid (N, C) of 0 and 1"""
    link: Literal["softmax", "sigmoid"]

    def probabilities(self, temperature: float) -> Numbers:
        """(N, C)"""
        scaled = self.logits / temperature
        found: Numbers = (
            scipy_special.softmax(scaled, axis=1) if self.link == "softmax" else scipy_special.expit(scaled)
        )
        return found


def judged(seen: Sequence[Seen], link: Literal["softmax", "sigmoid"]) -> Judged | None:
    """All batches together; None where they hold no item."""
    widest = max((one.logits.shape[1] for one in seen), default=0)
    parts = [one.logits.double().numpy() for one in seen]
    filled = [np.pad(one, ((0, 0), (0, widest - one.shape[1])), constant_values=-np.inf) for one in parts]
    if not sum(map(len, filled)):
        return None
    return Judged(np.concatenate(filled), np.concatenate([one.targets.numpy() for one in seen]), link)


def log_likelihood(rows: Judged, temperature: float = 1.0) -> float:
    """The mean natural logarithm of what is right: of an item, or of each of its labels where these stand alone."""
    scaled = rows.logits / temperature
    if rows.link == "sigmoid":
        return float((rows.targets * scaled - np.logaddexp(0.0, scaled)).mean())
    right = scaled[np.arange(len(scaled)), rows.targets.astype(np.int64)]
    return float((right - scipy_special.logsumexp(scaled, axis=1)).mean())


def fit_temperature(rows: Judged) -> float | None:
    """The temperature of the largest log-likelihood (Guo et al., 2017, section 4.2); it has one peak in 1 / T.

    None where no item is answered wrongly: the likelihood would grow with every lower temperature.
    """
    if _all_right(rows):
        return None
    most = math.log(HOTTEST)
    found = scipy_optimize.minimize_scalar(
        lambda log: -log_likelihood(rows, math.exp(log)),
        bounds=(-most, most),
        method="bounded",
        options={"xatol": 1e-6},
    )
    temperature = math.exp(float(found.x))
    return temperature if log_likelihood(rows, temperature) >= log_likelihood(rows) else 1.0


def _all_right(rows: Judged) -> bool:
    if rows.link == "sigmoid":
        return bool(((2 * rows.targets - 1) * rows.logits >= 0).all())
    right = rows.logits[np.arange(len(rows.logits)), rows.targets.astype(np.int64)]
    return bool((right >= rows.logits.max(axis=1)).all())


def worth(rows: Judged, temperature: float) -> dict[str, float]:
    """Log-likelihood, expected calibration error and Brier score (Brier, 1950) at a temperature."""
    probabilities = rows.probabilities(temperature)
    if rows.link == "sigmoid":
        brier = float(np.square(probabilities - rows.targets).mean())
    else:
        wanted = np.eye(probabilities.shape[1])[rows.targets.astype(np.int64)]
        brier = float(np.square(probabilities - wanted).sum(axis=1).mean())
    error = expected_calibration_error(*_said(rows, probabilities))
    return {"log_likelihood": log_likelihood(rows, temperature), "ece": error, "brier": brier}


class Bin(NamedTuple):
    """Items of about the same probability."""

    items: int
    probability: float
    """Their mean."""
    right: float
    """Share."""


def reliability(rows: Judged, temperature: float) -> list[Bin]:
    """The bins of the expected calibration error at a temperature, those without items left out."""
    probabilities, right = _said(rows, rows.probabilities(temperature))
    bins = _bins(probabilities)
    return [
        Bin(int(there.sum()), float(probabilities[there].mean()), float(right[there].mean()))
        for there in (bins == place for place in np.unique(bins))
    ]


def _said(rows: Judged, probabilities: Numbers) -> tuple[Numbers, NDArray[np.float64]]:
    """(N, C) -> of what is said the probability, and 1 where it is right: of each label where these stand alone."""
    if rows.link == "sigmoid":
        return probabilities.ravel(), rows.targets.ravel().astype(np.float64)
    return probabilities.max(axis=1), (probabilities.argmax(axis=1) == rows.targets).astype(np.float64)


def expected_calibration_error(probabilities: Numbers, right: NDArray[np.generic]) -> float:
    """(N,), (N,) -> mean over rows of |share that is right - mean probability| of their bin.

    Of 15 equal bins (Naeini et al., 2015; Guo et al., 2017, eq. 3).
    """
    gaps = np.bincount(_bins(probabilities), weights=right.astype(np.float64) - probabilities, minlength=BINS)
    return float(np.abs(gaps).sum() / len(probabilities))


def _bins(probabilities: Numbers) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.clip(np.ceil(probabilities * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return found


def least_probability(probabilities: Numbers, right: NDArray[np.bool_], accuracy: float) -> float | None:
    """(N,), (N,) -> the lowest threshold at or above which so large a share is right; 0 where all may be answered.

    It lies halfway between the last row that is answered and the first that is not. None where no threshold does.
    """
    order = np.argsort(-probabilities, kind="stable")
    sorted_, hits = probabilities[order], right[order].cumsum()
    last = np.append(sorted_[:-1] > sorted_[1:], True)  # equal rows are answered together
    enough = np.flatnonzero(last & (hits >= accuracy * np.arange(1, len(hits) + 1) - 1e-9))
    if not len(enough):
        return None
    place = int(enough[-1])
    return 0.0 if place + 1 == len(sorted_) else float(sorted_[place] + sorted_[place + 1]) / 2


def highest_score(scores: Numbers, kept: float) -> float:
    """(N,) -> the threshold that so large a share does not exceed, halfway to the next score. Ignores infinite ones."""
    ordered = np.sort(scores)
    finite = int(np.isfinite(ordered).sum())
    place = min(math.ceil(kept * len(ordered) - 1e-9), finite)
    return float(ordered[place - 1] if place >= finite else (ordered[place - 1] + ordered[place]) / 2)


def class_means(features: Numbers, labels: NDArray[np.int64]) -> tuple[Numbers, Numbers]:
    """(N, F), (N,) -> (C, F) means of the classes that have rows, (F, F) the inverse of what they vary alike.

    The covariance is shrunk (Ledoit and Wolf, 2004), so that it has an inverse with few rows, too.
    """
    classes, of = np.unique(labels, return_inverse=True)
    means = np.stack([features[of == place].mean(axis=0) for place in range(len(classes))])
    precision: Numbers = sklearn_covariance.LedoitWolf(assume_centered=True).fit(features - means[of]).get_precision()
    return means, precision


def detection(inside: Numbers, outside: Numbers) -> float:
    """(N,), (M,) scores -> the probability that a row out of scope has the larger one (AUROC)."""
    answers = np.concatenate([np.zeros(len(inside)), np.ones(len(outside))])
    return float(sklearn_metrics.roc_auc_score(answers, np.concatenate([inside, outside])))
