"""Whether training keeps what frozen layers give, where, and how much it is. Knows no task and no recipe."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from adaptune.core.batch import Batch
from adaptune.core.errors import TrainingError, Unsupported
from adaptune.core.log import Progress, warn
from adaptune.engine.config import TrainConfig
from adaptune.models.assembly import Assembly
from adaptune.models.below import Below
from adaptune.models.remembered import Remembered

FEWEST_PASSES = 1.5
"""Over the rows, from which on `auto` keeps: the first one alone would gain nothing."""


@dataclass(frozen=True, slots=True)
class Read:
    """What an assembly will read again and again."""

    assembly: Assembly
    batches: Iterable[Batch]
    """Of all its training and validation rows, in an order that never changes: so states are the same after a
    resumption, to the last bit."""
    tokens: int
    """Of all of them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept."""

    layers: int
    of: int
    """Layers of the trunk."""
    sequences: int
    memory: int
    """Bytes."""
    disk: int
    """Bytes."""

    def __str__(self) -> str:
        places = ((self.memory, "in memory"), (self.disk, "on disk"))
        where = " and ".join(f"{size / 1e6:,.1f} MB {place}" for size, place in places if size)
        return (
            f"{self.layers} of {self.of} layers are frozen: what they give for {self.sequences:,} sequences is kept"
            f"{', ' if where else ''}{where}"
        )


def layers_to_keep(reads: Sequence[Read], config: TrainConfig, *, passes: float, against: str | None = None) -> int:
    """How many layers' output is kept; 0: nothing is. `passes`: over the rows, those of the whole training.

    `against`: why rows cannot be kept, whatever the model. Raises Unsupported where the recipe asks for what cannot be.
    """
    if config.trunk_cache == "off" or (config.trunk_cache == "auto" and (passes < FEWEST_PASSES or against)):
        return 0
    try:
        if against is not None:
            raise Unsupported(against)
        return min(read.assembly.frozen_layers for read in reads)
    except Unsupported as reason:
        if config.trunk_cache == "auto" or config.settle:  # until layers settle there may be nothing to keep
            return 0
        raise Unsupported(f"train.trunk_cache is {config.trunk_cache!r}, and {reason}; set it to auto or off") from None


@contextmanager
def keeping(
    reads: Sequence[Read],
    config: TrainConfig,
    layers: int,
    *,
    shared: dict[int, Below] | None = None,
    fills: bool = False,
) -> Iterator[Kept | None]:
    """Within, the first `layers` run no more for the rows of `reads`. Raises TrainingError where the disk is full.

    `shared`, by numbers of layers: what other trainings on the same base kept is found there, and what this one keeps
    stays there; whoever made it lets it be forgotten. `fills`: whether rows that it lacks are added; else
    they are known to be there, as far as there was room.
    """
    if layers == 0:
        yield None
        return
    trunk, backbone = reads[0].assembly.trunk, reads[0].assembly.backbone
    found = None if shared is None else shared.get(layers)
    if found is None:
        used = sum(below.store.memory for below in (shared or {}).values())
        memory, disk = _room(reads, config, used)
        store = Remembered(memory, disk, half=config.trunk_cache_precision == "fp16")
        below = Below(trunk, backbone.roles, layers, store)
    else:
        below, store = found.of(trunk, backbone.roles), found.store
    try:
        for read in reads:
            read.assembly.below = below
        if found is None or fills:
            _fill(reads)
        if shared is not None:
            shared[layers] = below
        yield Kept(layers, backbone.depth, len(store), store.memory, store.disk)
    finally:
        for read in reads:
            read.assembly.below = None
        if shared is None or layers not in shared:
            store.forget()


def _fill(reads: Sequence[Read]) -> None:
    with Progress("frozen layers", sum(read.tokens for read in reads), unit="tokens") as progress:
        for read in reads:
            _fill_one(read, progress)


def _fill_one(read: Read, progress: Progress) -> None:
    device = next(read.assembly.parameters()).device
    training = read.assembly.training
    for batch in read.batches:
        read.assembly.keep_below(batch.to(device))
        progress.advance(batch.tokens, tokens=batch.tokens)
    read.assembly.train(training)


def _room(reads: Sequence[Read], config: TrainConfig, used: int) -> tuple[int, int]:
    """Bytes that may be kept in memory, where others keep so many, and on disk."""
    assembly = reads[0].assembly
    number = 2 if config.trunk_cache_precision == "fp16" else torch.finfo(_type(assembly)).bits // 8
    needed = sum(read.tokens for read in reads) * assembly.backbone.hidden_size * number
    memory = 0 if config.trunk_cache == "disk" else max(0, int(config.trunk_cache_mb * 1e6) - used)
    beyond = max(0, needed - memory)
    if config.trunk_cache == "memory" or not beyond:
        return memory, 0
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if config.trunk_cache == "disk" and free < beyond:
        raise TrainingError(
            f"train.trunk_cache is 'disk', which takes {beyond / 1e6:,.0f} MB, and {folder!r} has {free / 1e6:,.0f} MB "
            "free; set TMPDIR to a larger disk, train.trunk_cache_precision=fp16, or train.trunk_cache=auto"
        )
    if free < 2 * beyond:
        warn(
            f"what frozen layers give is kept for a part of the rows alone: it takes {needed / 1e6:,.0f} MB, "
            f"train.trunk_cache_mb is {config.trunk_cache_mb:g}, and {folder!r} has {free / 1e6:,.0f} MB free"
        )
        return memory, 0
    return memory, needed


def _type(assembly: Assembly) -> torch.dtype:
    """Of the trunk's hidden states."""
    found: torch.dtype = assembly.trunk.dtype  # type: ignore[assignment]  # of a transformers model
    return found
