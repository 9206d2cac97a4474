"""Adapters of one kind in one trunk: every row of a batch has its own, in one pass. Knows no heads and no files."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.method import Member, Method, Rows
from adaptune.core.types import Labels
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.share import share

Kind = Callable[..., Any]
"""Methods with one implementation of `mixed` share a mixture: LoRA and its relatives, or adapters, or norms."""


def kind_of(method: Method) -> Kind | None:
    """The kind of a method; None for one whose bundles never mix."""
    kind: Kind = type(method).mixed
    return None if kind is Method.mixed else kind


def check_mixes(backbone: Backbone, member: Member) -> None:
    """Refuse an adapter that cannot stand beside others on this base. Raises Unsupported."""
    trunk = share(backbone.trunk)
    member.method.mixed(trunk, [_unchanged(trunk, member), member], Rows())


def bare(backbone: Backbone) -> Assembly:
    """The base as it is, in an assembly, which knows how batches are read; its head is asked nothing."""
    method, head = METHODS.make({"name": "none"}), HEADS.make({"name": "classify"})
    return Assembly(backbone, method, head, Labels(("no", "yes")), seed=0).eval()


class Mixture:
    """Members come and go; their stacked tensors stand ready from one change to the next, whatever the batches ask for.

    Rows without a member see the base as it is.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._members: dict[Hashable, Member] = {}
        self._places: dict[Hashable, int] = {}
        self._assembly: Assembly | None = None
        self._rows = Rows()

    def __len__(self) -> int:
        return len(self._members)

    @property
    def bytes(self) -> int:
        """Of the stacked tensors, as if no member were filled up to the rank of another."""
        members = list(self._members.values())
        return sum(4 * tensor.numel() for member in members for tensor in member.state.values())

    def put(self, key: Hashable, member: Member) -> None:
        """Add a member; its tensors are stacked before the next pass."""
        self._members[key] = member
        self._assembly = None

    def drop(self, key: Hashable) -> None:
        """Take a member out."""
        del self._members[key]
        self._assembly = None

    @torch.inference_mode()
    def hidden(self, batch: Batch, keys: Sequence[Hashable | None]) -> Tensor:
        """(B, T, D) the last hidden states, row i with the member keys[i], or with none."""
        assembly = self._stacked()
        self._rows.of = torch.tensor(
            [0 if key is None else self._places[key] for key in keys], device=batch.mask.device
        )
        return assembly.hidden(batch)

    def _stacked(self) -> Assembly:
        if self._assembly is None:
            self._assembly = bare(self._backbone)
            self._places = {key: place for place, key in enumerate(self._members, start=1)}
            if self._members:
                self._assembly.trunk = self._mixed(self._assembly.trunk)
        return self._assembly

    def _mixed(self, trunk: nn.Module) -> nn.Module:
        first = next(iter(self._members.values()))
        return first.method.mixed(trunk, [_unchanged(trunk, first), *self._members.values()], self._rows)


def _unchanged(trunk: nn.Module, like: Member) -> Member:
    """A member that changes nothing: weights that a method takes over from the base, as they are there."""
    base = dict(trunk.named_parameters(remove_duplicate=False))
    state = {name: base[name].detach() for name in like.state if name in base}
    if state and len(state) < len(like.state):
        raise Unsupported(
            f"method {like.method.name!r} both replaces weights of the base and adds some, and such bundles do not mix"
        )
    return Member(like.method, state)
