"""Several sets of norms in one pass: every row of a batch has its own gain and bias. Knows no one method."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

from adaptune.core.lazy import torch
from adaptune.core.method import Rows, State
from adaptune.methods._stacked import members_of, spread


def mix_norms(trunk: torch.nn.Module, states: Sequence[State], rows: Rows) -> torch.nn.Module:
    """Let row i of every batch have the norms of states[rows.of[i]], in place, by hooks; all states name the same."""
    before, rows.stacks = rows.stacks, {}
    for path in dict.fromkeys([*before, *(name.rpartition(".")[0] for state in states for name in state)]):
        norm = trunk.get_submodule(path)
        rows.stacks[path] = stacked = {
            name: torch.stack(
                [*(before[path][name][place] for place in rows.keep), *(state[f"{path}.{name}"] for state in states)]
            )
            .detach()
            .to(own)
            for name, own in norm.named_parameters(recurse=False)
        }
        norm.register_forward_hook(partial(_instead, _Norms(deepcopy(norm), stacked, rows)))
    return trunk


class _Norms(NamedTuple):
    """One norm of every member."""

    plain: torch.nn.Module
    """Without hooks."""
    stacked: State
    """Its weights by name, with a leading dimension of members."""
    rows: Rows


def _instead(norms: _Norms, _norm: torch.nn.Module, inputs: tuple[Any, ...], _output: Any) -> torch.Tensor:
    """The norm of the same inputs with each row's own weights."""
    x, plain = inputs[0], norms.plain
    of = members_of(norms.rows, x)
    weights = {name: spread(members[of], x) for name, members in norms.stacked.items()}
    if not isinstance(plain, torch.nn.LayerNorm):
        # The family's own formula (Gemma multiplies by 1 + w), its weights broadcast over the row.
        found: torch.Tensor = torch.func.functional_call(plain, weights, (x,))
        return found
    normal = torch.nn.functional.layer_norm(x, x.shape[-1:], eps=plain.eps)
    scaled = normal * weights["weight"]
    if "bias" in weights:
        scaled = scaled + weights["bias"]
    return scaled
