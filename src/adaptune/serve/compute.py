"""Rows of any bundles are answered together: one pass of the shared trunk for all that can stand in it.

Knows no requests: rows come in, answers go out, in their order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor

from adaptune.core.batch import Batch, Encoded
from adaptune.core.calibration import answers_of
from adaptune.core.errors import AdaptuneError, BundleError
from adaptune.core.types import Answer
from adaptune.data.batches import Budget, by_rows, collate
from adaptune.evaluate.predict import MOST_SEQUENCES
from adaptune.evaluate.vectors import unit_vectors
from adaptune.models.assembly import Assembly
from adaptune.models.own_tokens import with_own_tokens
from adaptune.serve.mixture import Kind
from adaptune.serve.pool import Hot, Pool
from adaptune.serve.registered import Registered
from adaptune.serve.writing import Completion, Listener, Wish, complete

SPREAD = 1.5
"""How many times longer than its shortest row the longest of a pass may be: rows of many bundles come as they come, and
a second pass costs less than their padding."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One row, and what is wanted of it."""

    bundle: Registered | None
    """None: the base as it is, of which only vectors can be wanted."""
    sequences: Sequence[Encoded]
    """All of the row."""
    place: int = 0
    """Of the bundle's tasks, the one that is asked."""
    vector: bool = False
    """Whether the text's vector is wanted instead of the bundle's answer."""
    wish: Wish | None = None
    """Of a bundle that writes: what the request says of the text, which is then wanted with how it ended."""
    listener: Listener | None = None
    """Beside a wish: who is shown the text while it is written."""


Vector = tuple[float, ...]
"""(D) of length 1."""
Found = Answer | Vector | Completion | AdaptuneError
"""An error where the row's bundle could not be brought back from disk: its neighbours are answered all the same."""
Bundles = Mapping[Registered, Hot]
_Task = tuple[Registered, int]
"""A bundle, and the place of one of its tasks."""


@dataclass(frozen=True, slots=True)
class _Trunk:
    """Which trunk reads a row."""

    mixture: Kind | None = None
    own: Registered | None = None
    """A bundle with a trunk of its own. Without either: the base as it is."""
    writer: int | None = None
    """The place of its task that writes texts, where that is asked."""
    reader: int = 0
    """The place of the task that reads for itself: a head's own tokens are in no other task's rows."""
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
    if bundle.assemblies:
        writes = bundle.of.tasks[one.place].head.writes and not one.vector
        apart = any(task.head.own_tokens for task in bundle.of.tasks)
        return _Trunk(
            own=one.bundle, writer=one.place if writes else None, reader=one.place if apart else 0, wish=one.wish
        )
    return _Trunk(mixture=bundle.kind)


def _answers(
    pool: Pool, trunk: _Trunk, rows: Mapping[int, Asked], hot: Bundles, *, batch_tokens: int
) -> dict[int, Found]:
    """Of rows that one trunk reads, by their places."""
    sequences = [replace(one, row=place) for place, row in rows.items() for one in row.sequences]
    found: dict[int, Found] = {}
    for indices in by_rows(sequences, _budget(pool, trunk, batch_tokens)):
        some = [sequences[index] for index in indices]
        if trunk.own is not None and trunk.writer is not None:
            listeners = {one.row: listener for one in some if (listener := rows[one.row].listener) is not None}
            found |= _texts(pool, hot[trunk.own].assemblies[trunk.writer], some, trunk.wish, listeners)
        else:
            found |= _read(pool, _hidden(pool, trunk, some, rows, hot), some, rows, hot)
    return found


def _budget(pool: Pool, trunk: _Trunk, tokens: int) -> Budget:
    """Every text to be written takes as many tokens as it may have."""
    writing = None
    if trunk.own is not None and trunk.writer is not None:
        writing = trunk.own.tasks[trunk.writer].head.writing(pool.backbone)
    if writing is None:
        return Budget(tokens=tokens, rows=MOST_SEQUENCES, spread=SPREAD)
    most = writing.most if trunk.wish is None else trunk.wish.most or writing.most
    return Budget(tokens=tokens, rows=max(1, min(MOST_SEQUENCES, tokens // most)))


def _texts(
    pool: Pool,
    assembly: Assembly,
    sequences: Sequence[Encoded],
    wish: Wish | None,
    listeners: Mapping[int, Listener],
) -> Mapping[int, Found]:
    if wish is None:
        return assembly.answers(_batch(pool, sequences))
    return complete(assembly, sequences, wish, listeners)


def _hidden(pool: Pool, trunk: _Trunk, sequences: Sequence[Encoded], rows: Mapping[int, Asked], hot: Bundles) -> Tensor:
    """(B, T, D); what several tasks of a bundle read alike passes the trunk once."""
    asked = [rows[one.row] for one in sequences]
    keys = [_adapter(one.bundle, trunk, hot) for one in asked]
    owners = [_owner(one) for one in asked]
    once, where = _once(list(zip(keys, owners, strict=True)), sequences)
    batch = _batch(pool, [sequences[index] for index in once])
    if trunk.own is not None:
        hidden = hot[trunk.own].assemblies[trunk.reader].hidden(batch)
    else:
        batch = _with_own_tokens(pool, batch, [owners[index] for index in once], hot)
        hidden = (
            pool.mixture(trunk.mixture).hidden(batch, [keys[index] for index in once])
            if trunk.mixture is not None
            else pool.plain.hidden(batch)
        )
    return hidden if len(once) == len(sequences) else hidden[where]


def _adapter(bundle: Registered | None, trunk: _Trunk, hot: Bundles) -> Registered | None:
    """The bundle whose adapter reads a row in a mixture; None where the base reads it as it is."""
    stands = bundle is not None and trunk.mixture is not None and hot[bundle].kind is trunk.mixture
    return bundle if stands else None


def _owner(one: Asked) -> _Task | None:
    """The task whose head has tokens of its own among those of a row."""
    if one.bundle is None or not one.bundle.tasks[one.place].head.own_tokens:
        return None
    return one.bundle, one.place


def _once(keys: Sequence[Hashable], sequences: Sequence[Encoded]) -> tuple[list[int], list[int]]:
    """The first of all sequences that are read alike, by one key, and for each sequence which of these it is."""
    places: dict[Hashable, int] = {}
    once: list[int] = []
    where = []
    for index, (key, one) in enumerate(zip(keys, sequences, strict=True)):
        arrays = (one.ids, one.segments, one.decoder_ids)
        read = (key, *(None if array is None else array.tobytes() for array in arrays))
        if read not in places:
            places[read] = len(once)
            once.append(index)
        where.append(places[read])
    return once, where


def _with_own_tokens(pool: Pool, batch: Batch, owners: Sequence[_Task | None], hot: Bundles) -> Batch:
    """The batch with the tokens that heads of some tasks have of their own, each task's in its own sequences."""
    groups: dict[_Task, list[int]] = defaultdict(list)
    for index, owner in enumerate(owners):
        if owner is not None:
            groups[owner].append(index)
    for (bundle, place), indices in groups.items():
        own = bundle.tasks[place].head.own_embeddings(hot[bundle].layers[place])
        assert own is not None
        sequences = torch.tensor(indices, device=batch.mask.device)
        batch = with_own_tokens(batch, pool.backbone.trunk, own, sequences)
    return batch


def _read(
    pool: Pool, hidden: Tensor, sequences: Sequence[Encoded], rows: Mapping[int, Asked], hot: Bundles
) -> dict[int, Found]:
    """Every head reads the hidden states of its own rows, padded no further than these need."""
    groups: dict[tuple[Registered | None, int, bool], list[int]] = defaultdict(list)
    for index, one in enumerate(sequences):
        row = rows[one.row]
        groups[row.bundle, row.place, row.vector].append(index)
    found: dict[int, Found] = {}
    for (bundle, place, vector), indices in groups.items():
        batch = _batch(pool, [sequences[index] for index in indices])
        width = (batch.mask if batch.decoder_mask is None else batch.decoder_mask).shape[1]
        own = hidden[indices, :width]
        if vector or bundle is None:
            found |= _vectors(pool, own, batch, bundle)
        else:
            task, layer, calibrated = bundle.tasks[place], hot[bundle].layers[place], hot[bundle].calibrated[place]
            if pool.on_vectors is not None:
                pooling = getattr(task.head, "pooling", pool.backbone.pooling)
                pool.on_vectors(bundle, place, unit_vectors(own, batch, pooling))
            found |= answers_of(task.head, layer, own, batch, task.labels, calibrated=calibrated)
    return found


def _vectors(pool: Pool, hidden: Tensor, batch: Batch, bundle: Registered | None) -> dict[int, Found]:
    """Pooled as the bundle's heads pool, or as the base is meant to be, also where they differ."""
    usual = pool.backbone.pooling
    ways = {getattr(one.head, "pooling", usual) for one in bundle.tasks} if bundle else set()
    pooling = ways.pop() if len(ways) == 1 else usual
    vectors = unit_vectors(hidden, batch, pooling)
    return {row: tuple(vector) for row, vector in zip(batch.rows.tolist(), vectors.tolist(), strict=True)}


def _batch(pool: Pool, sequences: Sequence[Encoded]) -> Batch:
    device = next(pool.plain.parameters()).device
    return collate(sequences, pool.backbone.tokenizer.pad_token_id).to(device)
