"""Rows of any bundles are answered together: one pass of the shared trunk for all that can stand in it.

Knows no requests: rows come in, answers go out, in their order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor

from adaptune.core.batch import Batch, Encoded
from adaptune.core.errors import AdaptuneError, BundleError
from adaptune.core.types import Answer
from adaptune.data.batches import Budget, by_rows, collate
from adaptune.evaluate.predict import MOST_SEQUENCES
from adaptune.heads.classify import pool as pooled
from adaptune.models.assembly import Assembly
from adaptune.models.own_tokens import with_own_tokens
from adaptune.serve.mixture import Kind
from adaptune.serve.pool import Hot, Pool
from adaptune.serve.registered import Registered
from adaptune.serve.writing import Completion, Wish, complete


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One row, and what is wanted of it."""

    bundle: Registered | None
    """None: the base as it is, of which only vectors can be wanted."""
    sequences: Sequence[Encoded]
    """All of the row."""
    vector: bool = False
    """Whether the text's vector is wanted instead of the bundle's answer."""
    wish: Wish | None = None
    """Of a bundle that writes: what the request says of the text, which is then wanted with how it ended."""


Vector = tuple[float, ...]
"""(D) of length 1."""
Found = Answer | Vector | Completion | AdaptuneError
"""An error where the row's bundle could not be brought back from disk: its neighbours are answered all the same."""
Bundles = Mapping[Registered, Hot]


@dataclass(frozen=True, slots=True)
class _Trunk:
    """Which trunk reads a row."""

    mixture: Kind | None = None
    own: Registered | None = None
    """A bundle with a trunk of its own. Without either: the base as it is."""
    writes: bool = False
    wish: Wish | None = None


@torch.inference_mode()
def answer_all(pool: Pool, asked: Sequence[Asked], *, batch_tokens: int) -> list[Found]:
    """One result a row, equal to those that its bundle gives alone."""
    found: dict[int, Found] = {}
    for places in _few_bundles(asked, pool.most_hot):
        hot, failed = _in_memory(pool, {bundle for place in places if (bundle := asked[place].bundle) is not None})
        rows = {}
        for place in places:
            bundle = asked[place].bundle
            if bundle is not None and bundle in failed:
                found[place] = failed[bundle]
            else:
                rows[place] = asked[place]
        for trunk, some in _by_trunk(rows, hot).items():
            found |= _answers(pool, trunk, some, hot, batch_tokens=batch_tokens)
    return [found[place] for place in range(len(asked))]


def _few_bundles(asked: Sequence[Asked], most: int) -> Iterator[list[int]]:
    """Places of rows, in parts of no more bundles than stand in memory at a time."""
    by_bundle: dict[Registered | None, list[int]] = defaultdict(list)
    for place, one in enumerate(asked):
        by_bundle[one.bundle].append(place)
    groups = list(by_bundle.values())
    for start in range(0, len(groups), most):
        yield list(chain.from_iterable(groups[start : start + most]))


def _in_memory(pool: Pool, wanted: set[Registered]) -> tuple[dict[Registered, Hot], dict[Registered, AdaptuneError]]:
    """All bundles at once, and why some could not be read."""
    hot: dict[Registered, Hot] = {}
    failed: dict[Registered, AdaptuneError] = {}
    for bundle in sorted(wanted, key=lambda one: one.full_name):
        try:
            hot[bundle] = pool.hot(bundle, keep=wanted)
        except AdaptuneError as error:
            failed[bundle] = error
        except OSError as error:
            failed[bundle] = BundleError(f"bundle {bundle.full_name} cannot be read now: {error.strerror or error}")
    return hot, failed


def _by_trunk(rows: Mapping[int, Asked], hot: Bundles) -> dict[_Trunk, dict[int, Asked]]:
    """Rows that change nothing in the trunk go with those of the largest mixture."""
    groups: dict[_Trunk, dict[int, Asked]] = defaultdict(dict)
    for place, one in rows.items():
        groups[_trunk_of(one, hot)][place] = one
    mixed = Counter({trunk: len(some) for trunk, some in groups.items() if trunk.mixture is not None})
    if mixed and _Trunk() in groups:
        groups[mixed.most_common(1)[0][0]] |= groups.pop(_Trunk())
    return groups


def _trunk_of(one: Asked, hot: Bundles) -> _Trunk:
    if one.bundle is None:
        return _Trunk()
    bundle = hot[one.bundle]
    if bundle.assembly is not None:
        return _Trunk(own=one.bundle, writes=one.bundle.head.writes and not one.vector, wish=one.wish)
    return _Trunk(mixture=bundle.kind)


def _answers(
    pool: Pool, trunk: _Trunk, rows: Mapping[int, Asked], hot: Bundles, *, batch_tokens: int
) -> dict[int, Found]:
    """Of rows that one trunk reads, by their places."""
    sequences = [replace(one, row=place) for place, row in rows.items() for one in row.sequences]
    found: dict[int, Found] = {}
    for indices in by_rows(sequences, _budget(pool, trunk, batch_tokens)):
        some = [sequences[index] for index in indices]
        if trunk.writes and trunk.own is not None:
            found |= _texts(pool, _own_assembly(hot[trunk.own]), some, trunk.wish)
            continue
        batch = _batch(pool, some)
        hidden = _hidden(pool, trunk, batch, [rows[one.row].bundle for one in some], hot)
        found |= _read(pool, hidden, some, rows, hot)
    return found


def _budget(pool: Pool, trunk: _Trunk, tokens: int) -> Budget:
    """Every text to be written takes as many tokens as it may have."""
    writing = trunk.own.head.writing(pool.backbone) if trunk.writes and trunk.own is not None else None
    if writing is None:
        return Budget(tokens=tokens, rows=MOST_SEQUENCES)
    most = writing.most if trunk.wish is None else trunk.wish.most
    return Budget(tokens=tokens, rows=max(1, min(MOST_SEQUENCES, tokens // most)))


def _texts(pool: Pool, assembly: Assembly, sequences: Sequence[Encoded], wish: Wish | None) -> Mapping[int, Found]:
    return assembly.answers(_batch(pool, sequences)) if wish is None else complete(assembly, sequences, wish)


def _hidden(pool: Pool, trunk: _Trunk, batch: Batch, bundles: Sequence[Registered | None], hot: Bundles) -> Tensor:
    """(B, T, D); `bundles` are those of the sequences."""
    if trunk.own is not None:
        return _own_assembly(hot[trunk.own]).hidden(batch)
    batch = _with_own_tokens(pool, batch, bundles, hot)
    if trunk.mixture is None:
        return pool.plain.hidden(batch)
    keys = [one if one is not None and hot[one].kind is trunk.mixture else None for one in bundles]
    return pool.mixture(trunk.mixture).hidden(batch, keys)


def _with_own_tokens(pool: Pool, batch: Batch, bundles: Sequence[Registered | None], hot: Bundles) -> Batch:
    """The batch with the tokens that heads of some bundles have of their own, each bundle's in its own sequences."""
    groups: dict[Registered, list[int]] = defaultdict(list)
    for index, bundle in enumerate(bundles):
        if bundle is not None and bundle.head.own_tokens:
            groups[bundle].append(index)
    for bundle, indices in groups.items():
        own = bundle.head.own_embeddings(hot[bundle].layer)
        assert own is not None
        sequences = torch.tensor(indices, device=batch.mask.device)
        batch = with_own_tokens(batch, pool.backbone.trunk, own, sequences)
    return batch


def _read(
    pool: Pool, hidden: Tensor, sequences: Sequence[Encoded], rows: Mapping[int, Asked], hot: Bundles
) -> dict[int, Found]:
    """Every bundle's head reads the hidden states of its own rows, padded no further than these need."""
    groups: dict[tuple[Registered | None, bool], list[int]] = defaultdict(list)
    for index, one in enumerate(sequences):
        row = rows[one.row]
        groups[row.bundle, row.vector].append(index)
    found: dict[int, Found] = {}
    for (bundle, vector), indices in groups.items():
        batch = _batch(pool, [sequences[index] for index in indices])
        width = (batch.mask if batch.decoder_mask is None else batch.decoder_mask).shape[1]
        own = hidden[indices, :width]
        if vector or bundle is None:
            found |= _vectors(pool, own, batch, bundle)
        else:
            found |= bundle.head.decode(hot[bundle].layer, own, batch, bundle.labels)
    return found


def _vectors(pool: Pool, hidden: Tensor, batch: Batch, bundle: Registered | None) -> dict[int, Found]:
    """Pooled as the bundle's head pools, or as the base is meant to be."""
    pooling = getattr(bundle.head, "pooling", pool.backbone.pooling) if bundle else pool.backbone.pooling
    mask = batch.mask if batch.decoder_mask is None else batch.decoder_mask
    vectors = torch.nn.functional.normalize(pooled(hidden.float(), mask, pooling), dim=1)
    return {row: tuple(vector) for row, vector in zip(batch.rows.tolist(), vectors.tolist(), strict=True)}


def _batch(pool: Pool, sequences: Sequence[Encoded]) -> Batch:
    device = next(pool.plain.parameters()).device
    return collate(sequences, pool.backbone.tokenizer.pad_token_id).to(device)


def _own_assembly(hot: Hot) -> Assembly:
    assert hot.assembly is not None, f"{hot.of.full_name} has no trunk of its own"
    return hot.assembly
