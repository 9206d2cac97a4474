"""One backbone, many bundles: registered by their manifests, in memory while they are asked for, on disk otherwise.

Knows no requests. What reads or changes tensors (`load`, `hot`, `cool`) is for one thread, the one that computes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from adaptune.bundle.several import MultiTaskBundle, load
from adaptune.core.backbone import Backbone
from adaptune.core.calibration import Calibrated
from adaptune.core.errors import AdaptuneError, BundleError, Unsupported, nearest
from adaptune.core.method import Member
from adaptune.models.assembly import Assembly
from adaptune.models.places import holds
from adaptune.serve.mixture import Kind, Mixture, bare, bytes_of, check_mixes, kind_of
from adaptune.serve.registered import Registered, register, version_of


class UnknownBundle(AdaptuneError):
    """A name that no bundle of this server has."""


@dataclass(slots=True, eq=False)
class Hot:
    """A bundle in memory."""

    of: Registered
    layers: tuple[nn.Module, ...]
    """The heads', in the order of its tasks."""
    calibrated: tuple[Calibrated | None, ...]
    """How the answers of each task are calibrated."""
    kind: Kind | None
    """The mixture in which its adapter stands."""
    assemblies: tuple[Assembly, ...]
    """Where it cannot share a pass with others: its own trunk over the shared tensors, by task; else none."""
    own_bytes: int
    """Of tensors that no other bundle shares, beside those that stand in the mixture."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What stands in memory, in bytes of tensors."""

    base: int
    hot: int
    """The own weights of all bundles in memory, those in mixtures as they stand there."""
    copies: int
    """Of these, in bundles that are copies of the base."""


class Pool:
    """Bundles on one frozen base; no request ever changes the base."""

    def __init__(
        self, backbone: Backbone, *, most_hot: int = 64, allow_copies: bool = False, versions: int = 2
    ) -> None:
        """`most_hot`: bundles in memory at a time; `versions`: of one name, how many stay registered."""
        self.backbone = backbone
        self.most_hot = most_hot
        self.allow_copies = allow_copies
        self.versions = versions
        self.plain = bare(backbone)
        """The base as it is, for bundles that change nothing in it."""
        self.held: Callable[[], Collection[Registered]] = tuple
        """Bundles that texts are being written with: they stay in memory until these are whole."""
        self.on_vectors: Callable[[Registered, int, torch.Tensor], None] | None = None
        """Told of the vectors (B, D), of length 1, of all sequences that one of a bundle's tasks answers."""
        self.loads = 0
        """How often a bundle was read from its folder."""
        self._named: dict[str, list[Registered]] = {}
        self._hot: OrderedDict[Registered, Hot] = OrderedDict()
        self._mixtures: dict[Kind, Mixture] = {}
        self._mixes: dict[Registered, bool] = {}
        self._places = backbone.vocabulary is not None and holds(backbone)

    def register(self, folder: Path, name: str) -> Registered:
        """Make a bundle known by its manifest alone; its tensors are read when it is first asked for.

        A further version of a name takes the name over at once; requests that hold the one before keep it. Raises
        BundleError, Unsupported.
        """
        return self.name(self._read(folder, name))

    def load(self, folder: Path, name: str) -> Registered:
        """The same with its tensors read and its golden examples asked, before the name is taken over."""
        return self.name(self.prepare(folder, name))

    def prepare(self, folder: Path, name: str) -> Registered:
        """The same up to there: in memory and checked, and nothing means it yet."""
        found = self._read(folder, name)
        known = next((old for old in self._named.get(name, ()) if _same(old, found)), found)
        self.hot(known)
        return known

    def name(self, found: Registered) -> Registered:
        """From now on its name means this one, or the same that was there before."""
        versions = self._named.get(found.name, [])
        known = next((old for old in versions if _same(old, found)), found)
        # One assignment: whoever looks a name up meanwhile finds the old list or the new one.
        others = [old for old in versions if old.version != known.version]
        self._named[found.name] = [*others, known][-self.versions :]
        return known

    def find(self, name: str) -> Registered:
        """The version that a name now means, or the one of `name@version`. Raises UnknownBundle."""
        plain, _, version = name.partition("@")
        versions = self._named.get(plain, [])
        if not versions:
            raise UnknownBundle(f"there is no bundle {plain[:100]!r} here{nearest(plain, self._named)}")
        if not version:
            return versions[-1]
        for found in versions:
            if found.version == version:
                return found
        known = ", ".join(found.version for found in versions)
        raise UnknownBundle(f"bundle {plain!r} has no version {version[:100]!r} here (there are: {known})")

    def names(self) -> list[str]:
        """Of every bundle, sorted."""
        return sorted(self._named)

    def versions_of(self, name: str) -> list[Registered]:
        """The oldest first; the last is the one that the name means. Raises UnknownBundle."""
        self.find(name)
        return list(self._named[name])

    def remove(self, name: str) -> list[Registered]:
        """Forget a bundle, or one version of it; its folder stays. Raises UnknownBundle."""
        gone, left = self.without(name)
        if left:
            self._named[gone[0].name] = left
        else:
            del self._named[gone[0].name]
        return gone

    def without(self, name: str) -> tuple[list[Registered], list[Registered]]:
        """What `remove` would forget, and the versions of that name that would stay. Raises UnknownBundle."""
        found = self.find(name)
        versions = self._named[found.name]
        gone = [found] if "@" in name else list(versions)
        return gone, [one for one in versions if one not in gone]

    def hot(self, registered: Registered, keep: Collection[Registered] = ()) -> Hot:
        """The bundle in memory, read from disk if it was not; the least recently used beyond the limit make room.

        Those of `keep` and those that are held are never among them. Raises BundleError where its folder holds another
        version by now.
        """
        found = self._hot.get(registered)
        if found is None:
            found = self._from_disk(registered)
            self.loads += 1
            self._make_room(1, {*keep, *self.held(), registered})
            self._hot[registered] = found
        self._hot.move_to_end(registered)
        return found

    def cool(self, registered: Registered) -> None:
        """Take a bundle out of memory, if it is there."""
        found = self._hot.pop(registered, None)
        if found is not None and found.kind is not None:
            self._mixtures[found.kind].drop(registered)

    def sweep(self, busy: Collection[Registered]) -> None:
        """Take out of memory what has no name any more and is in no one's hands."""
        wanted = {one for versions in list(self._named.values()) for one in versions} | set(busy) | set(self.held())
        for registered in [one for one in self._hot if one not in wanted]:
            self.cool(registered)
        self._mixes = {one: mixes for one, mixes in self._mixes.items() if one in wanted}

    def writes_by_token(self, registered: Registered) -> bool:
        """Whether its texts grow side by side with those of others, a token at a time; else a batch is written whole.

        Searches with beams have no text before its end; which models can do it, `holds` says.
        """
        return self._places and all(getattr(one.head, "beams", 1) == 1 for one in registered.tasks if one.head.writes)

    def is_hot(self, registered: Registered) -> bool:
        """Whether it is in memory now."""
        return registered in self._hot

    def count_hot(self) -> int:
        """How many are in memory."""
        return len(self._hot)

    def mixture(self, kind: Kind) -> Mixture:
        """Where the adapters of a kind stand."""
        if kind not in self._mixtures:
            self._mixtures[kind] = Mixture(self.backbone)
        return self._mixtures[kind]

    def memory(self) -> Memory:
        """What stands in memory now."""
        hot = list(self._hot.values())
        return Memory(
            base=bytes_of(self.backbone.whole.parameters()),
            hot=sum(one.own_bytes for one in hot) + sum(mixture.bytes for mixture in list(self._mixtures.values())),
            copies=sum(one.own_bytes for one in hot if one.of.is_copy),
        )

    def _read(self, folder: Path, name: str) -> Registered:
        found = register(folder, name, self.backbone)
        if found.is_copy and not self.allow_copies:
            raise Unsupported(
                f"bundle {name!r} of method {found.method.name!r} holds a copy of most of the base; start the server "
                "with --allow-copies to serve it all the same"
            )
        return found

    def _from_disk(self, registered: Registered) -> Hot:
        _check_unchanged(registered)
        bundle = load(registered.folder, backbone=self.backbone)
        _check_unchanged(registered)  # while it was read
        several = bundle.bundles.values() if isinstance(bundle, MultiTaskBundle) else [bundle]
        assemblies = tuple(one.assembly for one in several)
        state = {name: tensor.clone() for name, tensor in registered.method.state(assemblies[0].trunk).items()}
        kind = self._kind(registered, Member(registered.method, state))
        adapter = [] if kind is not None else state.values()
        own = bytes_of([*adapter, *(tensor for one in assemblies for tensor in _own(one))])
        alone = assemblies if self._is_alone(registered, kind) else ()
        layers, calibrated = zip(*((one.layer, one.calibrated) for one in assemblies), strict=True)
        return Hot(registered, layers, calibrated, kind, alone, own)

    def _is_alone(self, registered: Registered, kind: Kind | None) -> bool:
        """Whether it needs a trunk of its own: its batches are written with one, or its method mixes with no other."""
        return self._writes_whole(registered) or (kind is None and registered.method.changes_trunk)

    def _writes_whole(self, registered: Registered) -> bool:
        return registered.writes and not self.writes_by_token(registered)

    def _kind(self, registered: Registered, member: Member) -> Kind | None:
        """The kind of mixture that the member now stands in, if it can; that it can is tried once."""
        may = registered.method.changes_trunk and not self._writes_whole(registered)
        kind = kind_of(registered.method) if may else None
        if kind is None:
            return None
        if registered not in self._mixes:
            try:
                check_mixes(self.backbone, member)
                self._mixes[registered] = True
            except Unsupported:
                self._mixes[registered] = False
        if not self._mixes[registered]:
            return None
        self.mixture(kind).put(registered, member)
        return kind

    def _make_room(self, coming: int, keep: Collection[Registered]) -> None:
        spare = [one for one in self._hot if one not in keep]
        for registered in spare[: max(0, len(self._hot) + coming - self.most_hot)]:
            self.cool(registered)


def _check_unchanged(registered: Registered) -> None:
    if version_of(registered.folder) != registered.version:
        raise BundleError(
            f"the folder of bundle {registered.full_name} holds another version by now; load it anew to serve that"
        )


def _own(assembly: Assembly) -> list[torch.Tensor]:
    """The head's weights, where it has some of its own, and those of its calibration."""
    classes = assembly.calibrated and assembly.calibrated.classes
    own = list(assembly.layer.parameters()) if assembly.head.owns_weights else []
    return [*own, *([classes.means, classes.precision] if classes else [])]


def _same(one: Registered, other: Registered) -> bool:
    return (one.version, one.folder) == (other.version, other.folder)
