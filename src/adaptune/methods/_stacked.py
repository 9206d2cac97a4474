"""Several adapters in one pass: every row of a batch has its own change of each matrix. Knows no one method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from adaptune.core.lazy import torch
from adaptune.core.method import Rows


class Change(NamedTuple):
    """What one adapter makes of one matrix: gain * (W (scale * x) + bias + up down x) + shift; None changes nothing."""

    down: torch.Tensor | None = None
    """(R, in)"""
    up: torch.Tensor | None = None
    """(out, R)"""
    scale: torch.Tensor | None = None
    """(in,)"""
    gain: torch.Tensor | None = None
    """(out,)"""
    shift: torch.Tensor | None = None
    """(out,)"""


def mix(trunk: torch.nn.Module, changes: Sequence[Mapping[str, Change]], rows: Rows) -> torch.nn.Module:
    """Let row i of every batch have the changes[rows.of[i]], by path of the matrix; in place, by hooks.

    The matrices are neither copied nor written to. A pass costs one gather and two batched products for each.
    """
    stacks = {}
    for path in dict.fromkeys([*rows.stacks, *(path for member in changes for path in member)]):
        members = [*_standing(rows.stacks.get(path), rows.keep), *(member.get(path, Change()) for member in changes)]
        if all(part is None for member in members for part in member):
            continue
        layer = trunk.get_submodule(path)
        stacks[path] = stacked = _stack(members, next(layer.parameters()).device)
        if stacked.scale is not None:
            layer.register_forward_pre_hook(partial(_before, stacked.scale, rows))
        if any(tensor is not None for tensor in (stacked.down, stacked.gain, stacked.shift)):
            layer.register_forward_hook(partial(_after, stacked, rows))
    rows.stacks = stacks
    return trunk


def _standing(stacked: Change | None, places: Sequence[int]) -> list[Change]:
    """Members out of a stack, as they were before they were filled up."""
    if stacked is None:
        return [Change()] * len(places)
    return [_bare(Change(*(None if part is None else part[place] for part in stacked))) for place in places]


def _bare(change: Change) -> Change:
    """Without what changes nothing."""
    down, up = change.down, change.up
    if down is not None and up is not None:
        rank = used(down.any(1) | up.any(0))
        down, up = (down[:rank], up[:, :rank]) if rank else (None, None)
    scale, gain = (None if one is None or bool((one == 1).all()) else one for one in (change.scale, change.gain))
    shift = None if change.shift is None or not bool(change.shift.any()) else change.shift
    return Change(down, up, scale, gain, shift)


def used(flags: torch.Tensor) -> int:
    """(R,) -> how many come before the last that is set, itself included."""
    places = flags.nonzero()
    return int(places[-1]) + 1 if len(places) else 0


def _stack(changes: Sequence[Change], device: torch.device) -> Change:
    """One Change whose tensors have a leading dimension of members; smaller ranks are filled up with zeros."""
    ranks = [change.down.shape[0] for change in changes if change.down is not None]

    def stacked(name: str, neutral: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor | None:
        given = [getattr(change, name) for change in changes]
        first = next((tensor for tensor in given if tensor is not None), None)
        if first is None:
            return None
        filled = [neutral(first) if tensor is None else tensor for tensor in given]
        if name in ("down", "up"):
            filled = [_widened(tensor, max(ranks), dim=0 if name == "down" else 1) for tensor in filled]
        return torch.stack(filled).detach().to(device, torch.float32)

    neutral = {"scale": torch.ones_like, "gain": torch.ones_like}
    return Change(**{name: stacked(name, neutral.get(name, torch.zeros_like)) for name in Change._fields})


def _widened(tensor: torch.Tensor, rank: int, *, dim: int) -> torch.Tensor:
    missing = list(tensor.shape)
    missing[dim] = rank - tensor.shape[dim]
    return torch.cat([tensor, tensor.new_zeros(missing)], dim=dim)


def _before(scale: torch.Tensor, rows: Rows, _layer: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    x = inputs[0]
    return ((x * spread(scale[members_of(rows, x)], x)).to(x.dtype), *inputs[1:])


def _after(
    stacked: Change, rows: Rows, _layer: torch.nn.Module, inputs: tuple[Any, ...], output: torch.Tensor
) -> torch.Tensor:
    x = inputs[0]
    of = members_of(rows, x)
    result = output.float()
    if stacked.down is not None and stacked.up is not None:
        flat = x.reshape(len(x), -1, x.shape[-1]).float()
        low = torch.bmm(flat, stacked.down[of].mT)
        result = result + torch.bmm(low, stacked.up[of].mT).reshape(output.shape)
    if stacked.gain is not None:
        result = result * spread(stacked.gain[of], output)
    if stacked.shift is not None:
        result = result + spread(stacked.shift[of], output)
    return result.to(output.dtype)


def members_of(rows: Rows, x: torch.Tensor) -> torch.Tensor:
    """(B,) the member of every row. Raises ValueError where `rows` were not set for this batch."""
    if rows.of is None or len(rows.of) != len(x):
        known = "none" if rows.of is None else str(len(rows.of))
        raise ValueError(
            f"a batch of {len(x)} rows came to a mixed trunk whose Rows name the members of {known}; set rows.of"
        )
    return rows.of


def spread(vectors: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(B, F) -> (B, 1, ..., F) with as many dimensions as `like`."""
    return vectors.reshape(len(vectors), *([1] * (like.dim() - 2)), -1)
