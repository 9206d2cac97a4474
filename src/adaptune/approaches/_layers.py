"""Linear layers in closed form: under one covariance, and of entities' types for their tags. Knows no model."""

from __future__ import annotations

from typing import NamedTuple, Self

from adaptune.core.bio import OUTSIDE
from adaptune.core.lazy import torch
from adaptune.core.types import Labels

WITHIN = 1e-3
"""How much more a word counts as one within an entity than as its first: neighbours of a type are then one entity."""


class Layer(NamedTuple):
    """Weight (C, F) and bias (C,) of a linear layer."""

    weight: torch.Tensor
    bias: torch.Tensor


class Kinds(NamedTuple):
    """What words are told apart by: being outside, and the types of entities, whose words are all alike."""

    names: tuple[str, ...]
    """Outside first."""
    of_tags: torch.Tensor
    """(C,) the kind of each tag."""
    within: torch.Tensor
    """(C,) 1 for tags of words that are not an entity's first."""

    @classmethod
    def of(cls, labels: Labels) -> Self:
        """Of BIO tags."""
        kinds = dict.fromkeys([OUTSIDE, *(name[2:] for name in labels.names if name != OUTSIDE)])
        names = tuple(kinds)
        places = [names.index(OUTSIDE if name == OUTSIDE else name[2:]) for name in labels.names]
        within = [float(name.startswith("I-")) for name in labels.names]
        return cls(names, torch.tensor(places), torch.tensor(within))

    def layer(self, found: Layer, outside: float) -> Layer:
        """The layer of kinds as one of tags; `outside`: how much more a word is outside."""
        bias = found.bias.clone()
        bias[0] += outside
        tags = self.of_tags.to(bias.device)
        return Layer(found.weight[tags], bias[tags] + WITHIN * self.within.to(bias.device))


def discriminant(
    means: torch.Tensor, counts: torch.Tensor, rows: tuple[torch.Tensor, torch.Tensor], *, shrinkage: float
) -> Layer:
    """(C, F), (C,), (N, F) and (N,) -> log-probabilities up to a constant, of normal classes of one covariance.

    The covariance is that of the rows around their means, drawn towards a sphere (Friedman, 1989, equation 18).
    """
    features, targets = rows
    apart = (features - means[targets]).double()
    within = apart.T @ apart / len(apart)
    size = len(within)
    sphere = torch.eye(size, device=within.device, dtype=within.dtype) * (within.trace() / size)
    within = (1 - shrinkage) * within + shrinkage * sphere
    weight = torch.linalg.solve(within, means.double().T).T
    prior = (counts / counts.sum()).double().log()
    bias = prior - 0.5 * (weight * means.double()).sum(dim=1)
    return Layer(weight.float(), bias.float())
