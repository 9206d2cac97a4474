"""Beginnings that sequences of a batch share are read once: a batch as a tree, exact. Knows no prompts and no heads.

A decoder's state at a token depends on the tokens up to it alone. So sequences that begin alike are folded into one row
of tensors in which every common beginning stands once; attention lets each token read the path that leads to it, and
positions count along that path.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from adaptune.core.backbone import Roles
from adaptune.core.batch import Batch, Branch, Folded
from adaptune.core.method import Method
from adaptune.models.ragged import attending, is_ragged

_FUNCTION = "adaptune_folded"
"""Under this name transformers makes no mask."""


def folds(trunk: nn.Module, roles: Roles, method: Method) -> bool:
    """Whether a folded pass of a trunk is exact."""
    return len(roles.stacks) == 1 and roles.main.causal and not method.adds_positions and is_ragged(trunk)


def fold(batch: Batch, own: int = 0) -> Batch:
    """A padded batch with every common beginning once; unchanged where no two sequences begin alike.

    `own`: how many tokens a head has of its own, which stand at the first labelled items.
    """
    assert batch.ids is not None and batch.embeddings is None and batch.lengths is None
    tree = _Tree(_codes(batch, own))
    if tree.size == int(batch.mask.sum()):
        return batch
    device = batch.mask.device
    places = torch.from_numpy(tree.places).to(device)
    first = torch.from_numpy(tree.first).to(device)
    assert batch.sequence_of is not None and batch.token_of is not None, "folded batches have labelled items"
    return replace(
        batch,
        ids=batch.ids.flatten()[first][None],
        mask=torch.ones(1, tree.size, dtype=batch.mask.dtype, device=device),
        segments=None if batch.segments is None else batch.segments.flatten()[first][None],
        token_of=places[batch.sequence_of, batch.token_of],
        folded=Folded(torch.from_numpy(tree.positions).to(device)[None], tuple(_branches(tree, device)), places),
    )


def unfolded(states: Tensor, folded: Folded) -> Tensor:
    """(1, T', D) -> (B, T, D) of the padded batch; what stands for padding means nothing."""
    return states[0][folded.places]


@contextmanager
def as_folded(trunk: nn.Module) -> Iterator[None]:
    """Let every attention of passes within follow the `branches` that they are called with.

    Layers must not run again after it, as those do that are computed anew in the backward pass.
    """
    with attending(trunk, _FUNCTION, _attend):
        yield


class _Tree:
    """Sequences in the order of their tokens, so that each has its longest common beginning with the one before."""

    def __init__(self, codes: NDArray[np.int64]) -> None:
        """(B, T) tokens, -1 for padding."""
        order = np.array(sorted(range(len(codes)), key=lambda row: codes[row].tolist()), dtype=np.int64)
        ordered = codes[order]
        real = ordered >= 0
        differs = np.ones_like(ordered, dtype=bool)
        differs[1:] = ordered[1:] != ordered[:-1]
        fresh = np.logical_or.accumulate(differs, axis=1) & real
        self.size = int(fresh.sum())
        numbers = np.full(ordered.shape, -1, dtype=np.int64)
        numbers[fresh] = np.arange(self.size)
        # A token that is not fresh is that of the sequence before: numbers grow downwards, so the largest so far.
        self.paths = np.where(real, np.maximum.accumulate(numbers, axis=0), 0)
        """(B, T) the number of each token, sequences in order."""
        self.shared = (real & ~fresh).sum(axis=1)
        """(B,) how many tokens each begins with as the one before it."""
        self.lengths = real.sum(axis=1)
        self.places = np.empty_like(self.paths)
        self.places[order] = self.paths
        self.positions = np.nonzero(fresh)[1]
        self.first = order[np.nonzero(fresh)[0]] * codes.shape[1] + self.positions
        """(T') where each token first stands, in the flattened batch."""


def _codes(batch: Batch, own: int) -> NDArray[np.int64]:
    """(B, T) what tells tokens apart: ids, of own tokens numbers beyond them, -1 for padding."""
    assert batch.ids is not None and batch.items is not None
    codes = batch.ids.cpu().numpy().astype(np.int64, copy=True)
    if own and batch.sequence_of is not None and batch.token_of is not None:
        sequences, tokens, items = (one.cpu().numpy() for one in (batch.sequence_of, batch.token_of, batch.items))
        is_own = items < own
        codes[sequences[is_own], tokens[is_own]] = 2**31 + items[is_own]
    codes[batch.mask.cpu().numpy() == 0] = -1
    return codes


def _branches(tree: _Tree, device: torch.device) -> Iterator[Branch]:
    """Sequences one after another that go on from one beginning attend together."""
    rows = [row for row in range(len(tree.lengths)) if tree.lengths[row] > tree.shared[row]]
    start = 0
    for _, members in groupby(_runs(tree, rows), key=lambda pair: pair[0]):
        group = [row for _, row in members]
        shared = int(tree.shared[group[0]])
        sizes = [int(tree.lengths[row]) - shared for row in group]
        stop = start + sum(sizes)
        before = torch.from_numpy(tree.paths[group[0], :shared].copy()).to(device) if shared else None
        yield Branch(start, stop, before, _mask(shared, sizes).to(device) if shared or len(sizes) > 1 else None)
        start = stop


def _runs(tree: _Tree, rows: list[int]) -> Iterator[tuple[int, int]]:
    """(run, row): rows that follow each other with the same common beginning are of one run."""
    run = -1
    for place, row in enumerate(rows):
        # The first of a run shares less with the row before than others do with it, but for one that shares nothing.
        if place == 0 or tree.shared[row] != tree.shared[rows[place - 1]] or not tree.shared[row]:
            run += 1
        yield run, row


def _mask(shared: int, sizes: list[int]) -> Tensor:
    """(Q, A + Q) each token reads the beginning, and of its own sequence itself and those before it."""
    of = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    own = (of[:, None] == of) & torch.ones(len(of), len(of), dtype=torch.bool).tril()
    return torch.cat([torch.ones(len(of), shared, dtype=torch.bool), own], dim=1)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    branches: tuple[Branch, ...],
    positions: Tensor,
    sliding_window: int | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """(1, H, T', d) queries, keys and values -> (1, T', H, d), branch after branch."""
    assert attention_mask is None
    found = []
    for branch in branches:
        here = slice(branch.start, branch.stop)
        keys, values, at = key[:, :, here], value[:, :, here], positions[0, here]
        read = at
        if branch.before is not None:
            keys = torch.cat([key[:, :, branch.before], keys], dim=2)
            values = torch.cat([value[:, :, branch.before], values], dim=2)
            read = torch.cat([positions[0, branch.before], at])
        mask = branch.mask
        if sliding_window is not None and int(at.max()) >= sliding_window:
            near = at[:, None] - read < sliding_window
            mask = near & (torch.ones_like(near).tril() if mask is None else mask)
        seen = None if mask is None else mask[None, None]
        found.append(sdpa_attention_forward(module, query[:, :, here], keys, values, seen, **more)[0])
    return torch.cat(found, dim=1), None
