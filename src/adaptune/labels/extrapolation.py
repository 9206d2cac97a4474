"""What the next labels would bring: a power law through scores, refused where it means nothing. Trains nothing.

score(n) = c - a n^-b, the usual shape of learning curves (Hestness et al., 2017, eq. 1). Its interval is that of a wild
bootstrap (Wu, 1986): the residuals of the fit with signs drawn at random, so that few labels may be noisier than many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from adaptune.core.lazy import scipy_optimize, scipy_stats
from adaptune.labels.curve_values import Estimate, Interval, Law

FEWEST = 4
"""Different numbers of labels: the law has three parameters."""
DROP = 0.02
"""How much a mean may fall below an earlier one where no spread between draws is known."""
LEAST_EXPLAINED = 0.7
"""Share of the variance between numbers of labels that the law must explain."""
DRAWS = 1000
RATES = np.geomspace(0.02, 2.0, 80)
"""That are tried."""

Floats = NDArray[np.float64]


def estimate(labels: Sequence[int], scores: Sequence[float], *, more: int, level: float, seed: int) -> Estimate:
    """What `more` labels after the most that were scored would bring; one entry a run in `labels` and `scores`."""
    most = max(labels, default=0)
    by_number = _by_number(labels, scores)
    refused = _against(by_number)
    if refused is not None:
        return Estimate(labels=most, more=more, refused=refused)
    n, y = np.array(labels, dtype=np.float64), np.array(scores, dtype=np.float64)
    law = _fitted(n, y)
    smooth = _curve(law, n)
    if (explained := _explained(by_number, law)) < LEAST_EXPLAINED:
        return Estimate(
            labels=most,
            more=more,
            refused=f"the scores follow no power law: the best one explains {max(0.0, explained):.0%} of what differs "
            "between numbers of labels; score more draws",
        )
    residuals = (y - smooth) * np.sqrt(len(y) / max(1, len(y) - 3))
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(DRAWS, len(y)))
    gains = [_gain(drawn, most, more) for drawn in _nearest(n, smooth + signs * residuals)]
    # Of rates that are tried alone, the nearest to the law's is a little beside it.
    gain, beside = _gain(law, most, more), _gain(_nearest(n, smooth[None])[0], most, more)
    low, high = np.quantile(gains, [(1 - level) / 2, (1 + level) / 2]) - beside + gain
    ceiling, scale, rate = (float(value) for value in law)
    return Estimate(
        labels=most,
        more=more,
        gain=gain,
        interval=Interval(low=float(low), high=float(high)),
        law=Law(ceiling=ceiling, scale=scale, rate=rate),
    )


def over_draws(scores: Sequence[float], level: float) -> Interval | None:
    """Of the mean of several draws, by Student's t; None for fewer than two."""
    if len(scores) < 2:
        return None
    mean, error = float(np.mean(scores)), float(np.std(scores, ddof=1)) / len(scores) ** 0.5
    reach = float(scipy_stats.t.ppf((1 + level) / 2, len(scores) - 1)) * error
    return Interval(low=mean - reach, high=mean + reach)


def _by_number(labels: Sequence[int], scores: Sequence[float]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = defaultdict(list)
    for number, score in sorted(zip(labels, scores, strict=True)):
        found[number].append(score)
    return found


def _against(by_number: dict[int, list[float]]) -> str | None:
    """Why no law is fitted: too few points, a curve that falls, one that does not rise."""
    if len(by_number) < FEWEST:
        return (
            f"there are scores for {len(by_number)} different numbers of labels, and a power law has three parameters: "
            f"{FEWEST} are needed"
        )
    noise = _noise(by_number)
    means = {number: float(np.mean(scores)) for number, scores in by_number.items()}
    for (fewer, before), (number, after) in pairwise(means.items()):
        if before - after > noise:
            return (
                f"the score falls from {before:.4f} with {fewer:,} labels to {after:.4f} with {number:,}, by more "
                f"than draws differ ({noise:.4f}): more labels do not simply help; score more draws"
            )
    first, last = next(iter(means.values())), list(means.values())[-1]
    if last - first <= noise:
        return f"the score does not rise ({first:.4f} to {last:.4f}) by more than draws differ ({noise:.4f})"
    return None


def _noise(by_number: dict[int, list[float]]) -> float:
    """Two standard errors of a difference of means, pooled over the numbers that have several draws."""
    several = [scores for scores in by_number.values() if len(scores) > 1]
    if not several:
        return DROP
    free = sum(len(scores) - 1 for scores in several)
    variance = sum(float(np.var(scores)) * len(scores) for scores in several) / free
    draws = float(np.mean([len(scores) for scores in several]))
    return 2 * float(np.sqrt(2 * variance / draws))


def _curve(law: Floats, labels: Floats) -> Floats:
    ceiling, scale, rate = law
    found: Floats = ceiling - scale * labels**-rate
    return found


def _gain(law: Floats, labels: int, more: int) -> float:
    before, after = _curve(law, np.array([labels, labels + more], dtype=np.float64))
    return float(after - before)


def _fitted(labels: Floats, scores: Floats) -> Floats:
    """(3,) the law of least squares: at most 1 in the end, and more labels never harm."""
    best = _nearest(labels, scores[None])[0]
    bounds = ([-np.inf, 0.0, RATES[0]], [1.0, np.inf, RATES[-1]])
    start = np.clip(best, [-np.inf, 1e-9, RATES[0]], [1.0, np.inf, RATES[-1]])
    found = scipy_optimize.least_squares(lambda law: _curve(law, labels) - scores, start, bounds=bounds, x_scale="jac")
    law: Floats = found.x
    return law


def _nearest(labels: Floats, scores: Floats) -> Floats:
    """(S, N) scores -> (S, 3) the law of each, by the best of many rates: with the rate known it is a straight line."""
    best, least = np.zeros((len(scores), 3)), np.full(len(scores), np.inf)
    for rate in RATES:
        x = labels**-rate
        apart = x - x.mean()
        scale = np.maximum(0.0, -(scores @ apart) / (apart @ apart))
        ceiling = scores.mean(axis=1) + scale * x.mean()
        over = ceiling > 1
        ceiling[over], scale[over] = 1.0, np.maximum(0.0, (1 - scores[over]) @ x / (x @ x))
        left = ((ceiling[:, None] - scale[:, None] * x - scores) ** 2).sum(axis=1)
        better = left < least
        best[better] = np.stack([ceiling, scale, np.full(len(scores), rate)], axis=1)[better]
        least = np.minimum(least, left)
    return best


def _explained(by_number: dict[int, list[float]], law: Floats) -> float:
    """Share of the variance of the means."""
    numbers = np.array(list(by_number), dtype=np.float64)
    means = np.array([np.mean(scores) for scores in by_number.values()])
    left = float(((means - _curve(law, numbers)) ** 2).sum())
    return 1 - left / float(((means - means.mean()) ** 2).sum())
