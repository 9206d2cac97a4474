"""Rows dealt into folds, and what models that saw the others say of each. Knows no task and no files."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adaptune.core.errors import DataError
from adaptune.core.log import Progress
from adaptune.data.split import numbered
from adaptune.engine.warm_start import fit, spread
from adaptune.labels.frozen import Items

Numbers = NDArray[np.int64]

STRENGTHS = (1.0, 0.3, 0.1, 3e-2, 1e-2, 3e-3, 1e-3, 1e-4)
"""L2 strengths that are tried, strong to weak. Stronger ones than a warm start tries: what counts are probabilities."""


def deal(strata: Sequence[str], groups: Sequence[str], folds: int, seed: int) -> Numbers:
    """(R,) the fold of each row: rows of one group in one, and the groups of every stratum spread over all."""
    group_of, stratum_of = numbered(groups), numbered(strata)
    _, first = np.unique(group_of, return_index=True)
    order = np.random.default_rng(seed).permutation(len(first))
    order = order[np.argsort(stratum_of[first][order], kind="stable")]
    fold_of = np.empty(len(first), dtype=np.int64)
    fold_of[order] = np.arange(len(first)) % folds
    return fold_of[group_of]


def check_counts(labels: Sequence[Collection[str]], groups: Sequence[str], folds: int) -> None:
    """Refuse labels with fewer different texts than folds: a model must see some and be asked others.

    `labels`: those of each row. Raises DataError.
    """
    texts: dict[str, set[str]] = {}
    for names, group in zip(labels, groups, strict=True):
        for name in names:
            texts.setdefault(name, set()).add(group)
    few = sorted((name for name, of in texts.items() if len(of) < folds), key=lambda name: (len(texts[name]), name))
    if few:
        shown = ", ".join(f"{name!r} ({_counted(texts, name)})" for name in few[:5]) + (", ..." if few[5:] else "")
        least = len(texts[few[0]])
        remedy = f"--folds {least} would do" if least > 1 else "one row alone can be judged by no other"
        raise DataError(
            f"each label must stand in rows with at least as many different texts as there are folds ({folds}); fewer "
            f"have: {shown}; {remedy}, or add rows of these labels, or leave them out"
        )


def _counted(texts: Mapping[str, set[str]], name: str) -> str:
    return f"{len(texts[name])} text{'s' * (len(texts[name]) > 1)}"


def out_of_fold(items: Items, fold_of: Numbers, classes: int, folds: int) -> NDArray[np.float64]:
    """(N, C) the probability of each label, by logistic regression on the items of all other folds.

    One L2 strength for all folds: the one under which the labels as given are most probable. `fold_of`: of each row.
    """
    kept = [torch.from_numpy(fold_of[items.rows] != fold) for fold in range(folds)]
    spreads = [spread(items.features[inside]) for inside in kept]
    paths = [
        fit(
            (items.features[inside] - mean) / deviation,
            items.targets[inside],
            classes,
            strengths=STRENGTHS,
            loss_of=_loss_of(items),
        )
        for inside, (mean, deviation) in zip(kept, spreads, strict=True)
    ]
    best, lowest = torch.zeros(0), math.inf
    with Progress("judge", len(STRENGTHS), unit="strengths") as progress:
        for fitted in zip(*paths, strict=True):
            logits = torch.zeros(len(items.rows), classes)
            for inside, (mean, deviation), (weight, bias) in zip(kept, spreads, fitted, strict=True):
                features = (items.features[~inside] - mean) / deviation
                logits[~inside] = nn.functional.linear(features, weight, bias)
            loss = float(_loss_of(items)(logits, items.targets))
            progress.advance(loss=loss)
            if loss >= lowest:  # weaker ones fit the rows that were seen ever more closely
                break
            best, lowest = logits, loss
    shares = best.double().softmax(dim=1) if items.link == "softmax" else best.double().sigmoid()
    found: NDArray[np.float64] = shares.numpy()
    return found


def _loss_of(items: Items) -> Callable[[Tensor, Tensor], Tensor]:
    return nn.functional.cross_entropy if items.link == "softmax" else _of_each


def _of_each(outputs: Tensor, targets: Tensor) -> Tensor:
    """(N, C), (N, C) of 0 and 1 -> () the mean over items of the sum over labels."""
    return nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").sum(dim=1).mean()
