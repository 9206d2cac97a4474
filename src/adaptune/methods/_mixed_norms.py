"""Several sets of norms in one pass: every row of a batch has its own gain and bias. Knows no one method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adaptune.core.lazy import torch
from adaptune.core.method import Rows, State
from adaptune.methods._stacked import members_of, spread


def mix_norms(trunk: torch.nn.Module, states: Sequence[State], rows: Rows) -> torch.nn.Module:
    """Let row i of every batch have the norms of states[rows.of[i]], in place; the shared weights stay as they are."""
    for path in dict.fromkeys(name.rpartition(".")[0] for name in states[0]):
        base = trunk.get_submodule(path)
        stacked = {
            name: torch.stack([state[f"{path}.{name}"] for state in states]).detach().to(own)
            for name, own in base.named_parameters(recurse=False)
        }
        trunk.set_submodule(path, _mixed(base, stacked, rows))
    return trunk


def _mixed(base: torch.nn.Module, stacked: State, rows: Rows) -> torch.nn.Module:
    """A norm whose weights have a leading dimension of members."""
    layer_norm = isinstance(base, torch.nn.LayerNorm)

    class Mixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = base

        def forward(self, x: torch.Tensor) -> Any:
            """(B, ..., D) -> (B, ..., D)"""
            of = members_of(rows, x)
            weights = {name: spread(members[of], x) for name, members in stacked.items()}
            if not layer_norm:
                # The family's own formula (Gemma multiplies by 1 + w), its weights broadcast over the row.
                return torch.func.functional_call(base, weights, (x,))
            normal = torch.nn.functional.layer_norm(x, x.shape[-1:], eps=self.base.eps)
            scaled = normal * weights["weight"]
            return scaled + weights["bias"] if "bias" in weights else scaled

    return Mixed()
