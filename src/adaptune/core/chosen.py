"""A batch of some of another batch's sequences. Knows no head; needs only to be told what labels are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adaptune.core.batch import Batch
from adaptune.core.lazy import torch


def chosen(batch: Batch, sequences: Sequence[int], *, of_items: bool) -> Batch:
    """The sequences at these places, in this order, padded to their longest; a packed batch stays packed.

    `of_items`: labels are one an item, not one a sequence.
    """
    index = torch.tensor(list(sequences), device=batch.rows.device)
    batch = _items(batch, index, of_items=of_items)
    texts = batch.texts
    if texts is not None and len(texts) == len(batch.rows):
        texts = tuple(texts[place] for place in sequences)
    picked = replace(
        batch,
        rows=batch.rows[index],
        texts=texts,
        weights=None if batch.weights is None else batch.weights[index],
        features=None if batch.features is None else batch.features[index],
        labels=batch.labels if batch.labels is None or of_items else batch.labels[index],
    )
    return _packed(picked, sequences) if batch.lengths is not None else _padded(picked, index)


def units_of(batch: Batch, *, whole_rows: bool) -> list[list[int]]:
    """Places of sequences that stay together: each by itself, or all of a row."""
    if not whole_rows:
        return [[place] for place in range(len(batch.rows))]
    units: dict[int, list[int]] = {}
    for place, row in enumerate(batch.rows.tolist()):
        units.setdefault(row, []).append(place)
    return list(units.values())


def states_of(states: torch.Tensor, batch: Batch, sequences: Sequence[int]) -> torch.Tensor:
    """(B, T, D) hidden states of the whole batch -> those of `chosen` with these sequences."""
    if batch.lengths is not None:
        return states[:, _columns(batch, sequences).to(states.device)]
    mask = batch.mask if batch.decoder_mask is None else batch.decoder_mask
    index = torch.tensor(list(sequences), device=states.device)
    return states[index, : int(mask[index].sum(dim=1).max())]


def _columns(batch: Batch, sequences: Sequence[int]) -> torch.Tensor:
    """Places of the tokens of some sequences of a packed batch."""
    assert batch.lengths is not None
    starts = [sum(batch.lengths[:place]) for place in sequences]
    spans = zip(starts, sequences, strict=True)
    return torch.cat([torch.arange(start, start + batch.lengths[place]) for start, place in spans])


def _items(batch: Batch, index: torch.Tensor, *, of_items: bool) -> Batch:
    """The labelled items of the chosen sequences, each with its sequence's new place; tokens stay where they were."""
    if batch.sequence_of is None or batch.token_of is None or batch.items is None:
        return batch
    owner = batch.sequence_of
    if batch.lengths is not None:
        ends = torch.tensor(batch.lengths, device=index.device).cumsum(0)
        owner = torch.bucketize(batch.token_of, ends, right=True)
    order = torch.cat([torch.nonzero(owner == place)[:, 0] for place in index.tolist()])
    new = torch.full((len(batch.rows),), -1, dtype=torch.long, device=index.device)
    new[index] = torch.arange(len(index), device=index.device)
    return replace(
        batch,
        sequence_of=new[owner[order]],
        token_of=batch.token_of[order],
        items=batch.items[order],
        labels=batch.labels[order] if of_items and batch.labels is not None else batch.labels,
        offsets=None if batch.offsets is None else batch.offsets[order],
        asked=None if batch.asked is None else batch.asked[order],
    )


def _padded(batch: Batch, index: torch.Tensor) -> Batch:
    longest = int(batch.mask[index].sum(dim=1).max())
    second = 0 if batch.decoder_mask is None else int(batch.decoder_mask[index].sum(dim=1).max())

    def cut(tensor: torch.Tensor | None, width: int) -> torch.Tensor | None:
        return None if tensor is None else tensor[index, :width]

    return replace(
        batch,
        mask=batch.mask[index, :longest],
        ids=cut(batch.ids, longest),
        segments=cut(batch.segments, longest),
        embeddings=cut(batch.embeddings, longest),
        decoder_ids=cut(batch.decoder_ids, second),
        decoder_mask=cut(batch.decoder_mask, second),
    )


def _packed(batch: Batch, sequences: Sequence[int]) -> Batch:
    assert batch.lengths is not None
    assert batch.ids is not None
    starts = [sum(batch.lengths[:place]) for place in sequences]
    lengths = tuple(batch.lengths[place] for place in sequences)
    columns = _columns(batch, sequences).to(batch.ids.device)
    tokens, items = batch.token_of, batch.sequence_of
    if tokens is not None and items is not None:
        shift = torch.tensor([sum(lengths[:place]) - start for place, start in enumerate(starts)]).to(tokens.device)
        tokens, items = tokens + shift[items], torch.zeros_like(items)
    return replace(
        batch,
        mask=batch.mask[:, columns],
        ids=batch.ids[:, columns],
        token_of=tokens,
        sequence_of=items,
        lengths=lengths,
    )
