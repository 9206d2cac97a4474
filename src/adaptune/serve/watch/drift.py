"""How far rows lie from those they are compared with, and how probable that is by chance. Knows no time.

Distances are 0 where nothing changed. p is the probability that rows of the same kind lie as far apart or further.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, ks_2samp

from adaptune.bundle.tally import CONFIDENCES, LENGTHS, NUMBERS, Tally

Signal = Literal["labels", "confidence", "number", "length", "unknown", "embedding"]
SIGNALS: tuple[Signal, ...] = get_args(Signal)
_EDGES: Mapping[Signal, NDArray[np.float64]] = {"confidence": CONFIDENCES, "number": NUMBERS, "length": LENGTHS}
"""Of those that are counted in histograms."""
MOST_DRAWN = 5000
"""Values of a histogram that the test reads; more rows are thinned in proportion."""


def distance(signal: Signal, now: Tally, then: Tally) -> float | None:
    """Of one signal; None where one of the two says nothing of it."""
    if signal == "labels":
        return _between_labels(now, then)
    if signal in _EDGES:
        return _between_histograms(_histogram(signal, now), _histogram(signal, then))
    if signal == "unknown":
        return abs(now.unknown / now.tokens - then.unknown / then.tokens) if now.tokens and then.tokens else None
    return _between_vectors(now, then)


def p_value(signal: Signal, now: Tally, then: Tally) -> float | None:
    """Of one signal; None where one of the two says nothing of it, and for embeddings."""
    if distance(signal, now, then) is None or signal == "embedding":
        return None
    if signal == "labels":
        names = sorted(now.labels | then.labels)
        return _independent(np.array([[one.labels[name] for name in names] for one in (now, then)]))
    if signal == "unknown":
        return _independent(np.array([[one.unknown, one.tokens - one.unknown] for one in (now, then)]))
    drawn = [_drawn(_histogram(signal, one), _EDGES[signal]) for one in (now, then)]
    return float(ks_2samp(*drawn, method="asymp").pvalue)


def level(signal: Signal, tally: Tally) -> float | None:
    """The mean confidence, the mean predicted number (in standard deviations of the training targets from their mean),
    the mean number of characters, the share of unknown tokens; None of what has no mean."""
    if signal == "confidence":
        return tally.confidence_sum / tally.confidences if tally.confidences else None
    if signal == "number":
        return tally.number_sum / tally.numbers if tally.numbers else None
    if signal == "length":
        return tally.length_sum / tally.lengths if tally.lengths else None
    if signal == "unknown":
        return tally.unknown / tally.tokens if tally.tokens else None
    return None


def shares(labels: Mapping[str, int]) -> dict[str, float]:
    """Of each label among all."""
    total = sum(labels.values())
    return {name: count / total for name, count in sorted(labels.items())} if total else {}


def _between_labels(now: Tally, then: Tally) -> float | None:
    """Jensen-Shannon distance in bits: the square root of the divergence, in [0, 1]."""
    if not now.labels.total() or not then.labels.total():
        return None
    names = sorted(now.labels | then.labels)
    counts = [[one.labels[name] for name in names] for one in (now, then)]
    found = float(jensenshannon(*counts, base=2))
    return 0.0 if np.isnan(found) else found  # of equal shares: the root of a rounding error below 0


def _histogram(signal: Signal, tally: Tally) -> NDArray[np.int64]:
    if signal == "number":
        return tally.number
    return tally.confidence if signal == "confidence" else tally.length


def _between_histograms(now: NDArray[np.int64], then: NDArray[np.int64]) -> float | None:
    """Kolmogorov-Smirnov: the largest difference of the two shares below any edge, in [0, 1]."""
    if not now.sum() or not then.sum():
        return None
    return float(np.abs(now.cumsum() / now.sum() - then.cumsum() / then.sum()).max())


def _between_vectors(now: Tally, then: Tally) -> float | None:
    """Distance of the means in units of the spread of single vectors around the mean of those compared with.

    By chance alone about the square root of 1/n + 1/m, of n and m vectors.
    """
    if now.vector is None or then.vector is None or now.vector.shape != then.vector.shape:
        return None
    mean = then.vector / then.vectors
    # Vectors have length 1, so that the mean of their squares is 1.
    spread = float(np.sqrt(max(0.0, 1.0 - float(mean @ mean))))
    apart = float(np.linalg.norm(now.vector / now.vectors - mean))
    return apart / spread if spread > 1e-6 else None


def _independent(table: NDArray[np.int64]) -> float:
    """The chi-square test of a table with two rows; 1 where there is but one column to fill."""
    table = table[:, table.sum(axis=0) > 0]
    return float(chi2_contingency(table).pvalue) if table.shape[1] > 1 else 1.0


def _drawn(histogram: NDArray[np.int64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """A value for every row, the lower edge of its bin; of many rows a sample in proportion."""
    rows = int(histogram.sum())
    if rows <= MOST_DRAWN:
        return np.repeat(edges[:-1], histogram)
    places = np.linspace(0, rows - 1, MOST_DRAWN).astype(np.int64)
    return edges[:-1][np.searchsorted(histogram.cumsum(), places, side="right")]
