"""The head's optimum on frozen features, found before the first step. Knows no task and no method."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.models.assembly import Assembly

STRENGTHS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5)
"""L2 strengths that are tried, strong to weak, each from the optimum of the one before."""


class Warm(NamedTuple):
    """What a warm start came to: the same for every model that computes the same features."""

    layer: dict[str, Tensor]
    """The state of the head's layer."""
    scores: Mapping[str, float]
    """On validation rows."""


def warm_start(
    assembly: Assembly,
    train: Iterable[Batch],
    valid: Iterable[Batch],
    *,
    evaluate: Callable[[], Mapping[str, float]],
    metric: str,
) -> Mapping[str, float] | None:
    """Fit the head's last linear layer to its optimum on the features of the model as it stands, in place.

    L-BFGS on the head's convex loss of features of unit variance (under cross-entropy, logistic regression). The L2
    strength is the one with the best `metric` of `evaluate()`, the scores of the assembly on validation rows; weaker
    ones are not tried once that and the loss on those rows have both become worse. Returns the scores of the best, or
    None for a head without such a fit.
    """
    linear = assembly.head.linear(assembly.layer)
    if linear is None:
        return None
    features, labels = collect(assembly, train)
    mean, deviation = spread(features)
    loss_of = partial(assembly.head.convex_loss, assembly.layer)
    best: Mapping[str, float] | None = None
    lowest, state = math.inf, assembly.layer.state_dict()
    with assembly.remembering():  # every strength is judged on the same rows, and the head alone changes
        valid_features, valid_labels = collect(assembly, valid)
        for weight, bias in fit((features - mean) / deviation, labels, linear.out_features, loss_of=loss_of):
            with torch.no_grad():
                linear.weight.copy_(weight / deviation)
                linear.bias.copy_(bias - linear.weight @ mean)
                loss = float(loss_of(linear(valid_features), valid_labels))
            scores = evaluate()
            if best is not None and scores[metric] <= best[metric] and loss > lowest:
                break
            if best is None or scores[metric] > best[metric]:
                best, state = scores, state_of(assembly)
            lowest = min(lowest, loss)
    assembly.layer.load_state_dict(state)
    return best


def state_of(assembly: Assembly) -> dict[str, Tensor]:
    """A copy of the head's layer."""
    return {name: tensor.detach().clone() for name, tensor in assembly.layer.state_dict().items()}


def spread(features: Tensor) -> tuple[Tensor, Tensor]:
    """(N, F) -> (F,) means and standard deviations, infinite of features that do not vary."""
    mean, deviation = features.mean(dim=0), features.std(dim=0)
    # Of a constant feature what varies is rounding; weights on a dead one (some models have them) would be huge.
    deviation[deviation <= 1e-5 * torch.maximum(features.abs().amax(dim=0), deviation.max())] = math.inf
    return mean, deviation


def fit_head(assembly: Assembly, train: Iterable[Batch], strength: float) -> None:
    """The same by one L2 strength that is given, on features of length 1 and without a bias, in place.

    No validation row is looked at. Of few rows features keep their variance: that of a few would be taken for all of
    it. Their lengths say little of the label, and names are shorter texts than rows: with every one of length 1,
    and no bias, so that no length changes an answer, there are more right ones (BANKING77 by all-MiniLM-L6-v2, names
    among 1, 2, 4, 8, 16 rows of each label: +3.8, +2.8, +1.8, +0.6, +1.4 points by length, +0.2 among 8 by the bias).
    Raises Unsupported for a head without such a fit.
    """
    linear = assembly.head.linear(assembly.layer)
    if linear is None:
        raise Unsupported(f"head {assembly.head.name!r} has no linear layer that can be fitted before training")
    features, labels = collect(assembly, train)
    usual = features.norm(dim=1).mean()
    [(weight, bias)] = fit(
        nn.functional.normalize(features, dim=1),
        labels,
        linear.out_features,
        strengths=(strength,),
        loss_of=partial(assembly.head.convex_loss, assembly.layer),
        iterations=200,
        biased=False,
    )
    with torch.no_grad():
        linear.weight.copy_(weight / usual)  # a text of the usual length is answered with the fit's own probabilities
        linear.bias.copy_(bias)


@torch.no_grad()
def humble(linear: nn.Linear, scale: float | Literal["auto"]) -> None:
    """Scale a fitted layer down, in place; auto: to the norm that PyTorch's own first weights have, sqrt(C / 3).

    STS-B, Pearson on validation rows after half an epoch of LoRA at 4e-3: 44.5 from the fitted layer as it is, 68.9
    from a fresh one, and 74.1 from the fitted one at that norm.
    """
    norm = float(torch.linalg.vector_norm(linear.weight))
    factor = min(1.0, math.sqrt(linear.out_features / 3) / max(norm, 1e-12)) if scale == "auto" else scale
    linear.weight.mul_(factor)
    linear.bias.mul_(factor)


@torch.inference_mode()
def collect(assembly: Assembly, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """(N, F) features and the targets of every labelled item, as in a Batch."""
    assembly.eval()
    features, labels = [], []
    device = next(assembly.parameters()).device
    for batch in batches:
        placed = batch.to(device)
        found = assembly.head.features(assembly.layer, assembly.hidden(placed), placed)
        assert found is not None and placed.labels is not None, "a warm start needs features and labelled rows"
        features.append(found)
        labels.append(placed.labels)
    return torch.cat(features), torch.cat(labels)


def fit(
    features: Tensor,
    labels: Tensor,
    classes: int,
    *,
    strengths: Sequence[float] = STRENGTHS,
    loss_of: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
    iterations: int = 60,
    biased: bool = True,
) -> Iterator[tuple[Tensor, Tensor]]:
    """(N, F), N targets -> for each strength the weight (C, F) and bias (C,) of least loss + strength |W|^2 / 2.

    `biased`: whether there is a bias, which is 0 otherwise.
    """
    features, labels = features.clone(), labels.clone()  # out of inference mode
    weight = torch.zeros(classes, features.shape[1], device=features.device, requires_grad=True)
    bias = torch.zeros(classes, device=features.device, requires_grad=biased)
    learning = [weight, bias] if biased else [weight]
    for strength in strengths:
        solver: Any = torch.optim.LBFGS(
            learning, max_iter=iterations, history_size=10, line_search_fn="strong_wolfe", tolerance_change=1e-7
        )

        def loss(strength: float = strength, solver: Any = solver) -> Tensor:
            solver.zero_grad()
            value = loss_of(nn.functional.linear(features, weight, bias), labels)
            value = value + 0.5 * strength * weight.square().sum()
            torch.autograd.backward(value)
            return value

        solver.step(loss)
        yield weight.detach().clone(), bias.detach().clone()
