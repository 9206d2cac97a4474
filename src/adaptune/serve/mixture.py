"""Adapters of one kind in one trunk: every row of a batch has its own, in one pass. Knows no heads and no files."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
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
        self._methods: dict[Hashable, Method] = {}
        self._waiting: dict[Hashable, Member] = {}
        self._places: dict[Hashable, int] = {}
        self._assembly: Assembly | None = None
        self._rows = Rows()

    def __len__(self) -> int:
        return len(self._methods)

    @property
    def bytes(self) -> int:
        """Of the stacked tensors, and of members that are not stacked yet."""
        waiting = [tensor for member in list(self._waiting.values()) for tensor in member.state.values()]
        return bytes_of([*_tensors_in(self._rows.stacks), *waiting])

    def put(self, key: Hashable, member: Member) -> None:
        """Add a member; its tensors are stacked before the next pass, and held no other way from then on."""
        self._methods[key] = member.method
        self._waiting[key] = member
        self._places.pop(key, None)
        self._assembly = None

    def drop(self, key: Hashable) -> None:
        """Take a member out."""
        del self._methods[key]
        self._waiting.pop(key, None)
        self._places.pop(key, None)
        self._assembly = None

    @torch.inference_mode()
    def hidden(self, batch: Batch, keys: Sequence[Hashable | None]) -> Tensor:
        """(B, T, D) the last hidden states, row i with the member keys[i], or with none."""
        return self._standing(keys).hidden(batch)

    def trunk(self, keys: Sequence[Hashable | None]) -> nn.Module:
        """The trunk for one pass of which row i has the member keys[i], or none."""
        return self._standing(keys).trunk

    def _standing(self, keys: Sequence[Hashable | None]) -> Assembly:
        assembly = self._stacked()
        device = next(assembly.trunk.parameters()).device
        self._rows.of = torch.tensor([0 if key is None else self._places[key] for key in keys], device=device)
        return assembly

    def _stacked(self) -> Assembly:
        if self._assembly is None:
            assembly = bare(self._backbone)
            assembly.trunk = self._mixed(assembly.trunk)
            assembly.tells_rows_apart = True
            self._assembly = assembly
        return self._assembly

    def _mixed(self, trunk: nn.Module) -> nn.Module:
        """Those that stood there keep their order; the first place is of rows without a member."""
        rows, waiting = Rows(stacks=self._rows.stacks), self._waiting
        new = list(waiting.values())
        if self._places:
            rows.keep = (0, *self._places.values())
        else:
            rows.stacks = {}
            new = [_unchanged(trunk, member) for member in new[:1]] + new
        if self._methods:
            trunk = next(iter(self._methods.values())).mixed(trunk, new, rows)
        self._rows, self._waiting = rows, {}
        self._places = {key: place for place, key in enumerate([*self._places, *waiting], start=1)}
        return trunk


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Of distinct storages."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def _tensors_in(stacks: Mapping[Any, Any]) -> Iterator[Tensor]:
    for stacked in list(stacks.values()):
        parts = stacked.values() if isinstance(stacked, Mapping) else stacked
        yield from (part for part in parts if part is not None)


def _unchanged(trunk: nn.Module, like: Member) -> Member:
    """A member that changes nothing: weights that a method takes over from the base, as they are there."""
    base = dict(trunk.named_parameters(remove_duplicate=False))
    state = {name: base[name].detach() for name in like.state if name in base}
    if state and len(state) < len(like.state):
        raise Unsupported(
            f"method {like.method.name!r} both replaces weights of the base and adds some, and such bundles do not mix"
        )
    return Member(like.method, state)
