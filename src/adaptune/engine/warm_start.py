"""The head's optimum on frozen features, found before the first step. Knows no task and no method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adaptune.core.batch import Batch

STRENGTHS = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
"""L2 strengths that are tried, strong to weak, each from the optimum of the one before."""


def warm_start(assembly: Any, train: Iterable[Batch], valid: Iterable[Batch], *, iterations: int = 60) -> float | None:
    """Fit the head's last linear layer to its optimum on the features of the model as it stands, in place.

    Multinomial logistic regression by L-BFGS on features of unit variance; the L2 strength is that of the smallest loss on
    validation rows. Returns that loss, or None for a head without such a fit.
    """
    linear = assembly.head.linear(assembly.layer)
    if linear is None:
        return None
    features, labels = collect(assembly, train)
    valid_features, valid_labels = collect(assembly, valid)
    mean, deviation = features.mean(dim=0), features.std(dim=0).clamp_min(1e-6)
    weights = getattr(assembly.layer, "class_weights", None)
    fits = fit((features - mean) / deviation, labels, linear.out_features, class_weights=weights, iterations=iterations)
    scored = []
    for weight, bias in fits:
        weight = weight / deviation
        bias = bias - weight @ mean
        logits = torch.nn.functional.linear(valid_features, weight, bias)
        scored.append((float(nn.functional.cross_entropy(logits, valid_labels)), weight, bias))
    loss, weight, bias = min(scored, key=lambda fitted: fitted[0])
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return loss


@torch.inference_mode()
def collect(assembly: Any, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """(N, F) features and (N,) labels of every labelled item."""
    assembly.eval()
    features, labels = [], []
    device = next(assembly.parameters()).device
    for batch in batches:
        placed = batch.to(device)
        features.append(assembly.head.features(assembly.layer, assembly.hidden(placed), placed))
        labels.append(placed.labels)
    return torch.cat(features), torch.cat(labels)


def fit(
    features: Tensor,
    labels: Tensor,
    classes: int,
    *,
    strengths: Sequence[float] = STRENGTHS,
    class_weights: Tensor | None = None,
    iterations: int = 60,
) -> list[tuple[Tensor, Tensor]]:
    """(N, F), (N,) -> for each strength the weight (C, F) and bias (C,) that minimise mean cross-entropy + strength |W|^2 / 2."""
    features, labels = features.clone(), labels.clone()  # out of inference mode
    weight = torch.zeros(classes, features.shape[1], device=features.device, requires_grad=True)
    bias = torch.zeros(classes, device=features.device, requires_grad=True)
    found = []
    for strength in strengths:
        solver = torch.optim.LBFGS(
            [weight, bias], max_iter=iterations, history_size=10, line_search_fn="strong_wolfe", tolerance_change=1e-7
        )

        def loss(strength: float = strength, solver: torch.optim.LBFGS = solver) -> Tensor:
            solver.zero_grad()
            logits = torch.nn.functional.linear(features, weight, bias)
            value = nn.functional.cross_entropy(logits, labels, weight=class_weights)
            value = value + 0.5 * strength * weight.square().sum()
            value.backward()
            return value

        solver.step(loss)
        found.append((weight.detach().clone(), bias.detach().clone()))
    return found
