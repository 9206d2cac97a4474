"""Texts by transformers' own `generate`, on the whole model with a changed trunk. Knows no task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, StoppingCriteriaList

from adaptune.core.batch import Batch
from adaptune.core.shell import Borrowed, Words
from adaptune.core.types import Answer
from adaptune.heads.generate import GenerateHead, log_probabilities

if TYPE_CHECKING:
    from adaptune.models.assembly import Assembly


def write(assembly: Assembly, batch: Batch) -> dict[int, Answer]:
    """One text a row of the batch, by row index; targets that the batch holds are not looked at.

    An answer's probability is the geometric mean over its tokens, as the model gives them without temperature, beams
    or other settings of the search.
    """
    prompts = _prompts(batch, two_stacks=len(assembly.backbone.roles.stacks) == 2)
    written = generate(assembly, prompts, end=batch.end)
    probabilities = _probabilities(assembly, batch, prompts, written)
    tokenizer = assembly.backbone.tokenizer
    texts = [until_stop(tokenizer.decode(ids, skip_special_tokens=True), _head(assembly).stop) for ids in written]
    return {
        row: Answer(text, probability)
        for row, text, probability in zip(batch.rows.tolist(), texts, probabilities, strict=True)
    }


Watch = Callable[[list[Tensor]], list[bool]]
"""Told after every token what each text has so far; says of each whether it is wanted no longer."""


def generate(
    assembly: Assembly, prompts: list[Tensor], *, end: int | None = None, watch: Watch | None = None
) -> list[Tensor]:
    """Token ids written after each prompt, up to an end token and with it: `end`, or the tokenizer's own.

    `watch` is told nothing by a search with beams, which has no text before its end.
    """
    head, tokenizer = _head(assembly), assembly.backbone.tokenizer
    ends = ends_of(tokenizer, end)
    model = writer(assembly)
    start = None if assembly.writing is None else assembly.writing.start
    side = "left" if start is None else "right"
    ids = pad_sequence(prompts, batch_first=True, padding_value=tokenizer.pad_token_id, padding_side=side)
    mask = pad_sequence([torch.ones_like(prompt) for prompt in prompts], batch_first=True, padding_side=side)
    skip = ids.shape[1] if start is None else 1

    def watched(so_far: Tensor, _scores: Any, **_: Any) -> Tensor:
        assert watch is not None
        return so_far.new_tensor(watch([_until_end(row[skip:], tokenizer, ends) for row in so_far]), dtype=torch.bool)

    def stopped(so_far: Tensor, _scores: Any, **_: Any) -> Tensor:
        texts = [tokenizer.decode(_until_end(row[skip:], tokenizer, ends), skip_special_tokens=True) for row in so_far]
        return so_far.new_tensor([any(one in text for one in head.stop) for text in texts], dtype=torch.bool)

    criteria = [stopped] if head.stop else []
    criteria += [watched] if watch is not None and head.beams == 1 else []
    with torch.random.fork_rng([ids.device] if ids.device.type == "cuda" else [], enabled=head.sample):
        if head.sample:
            torch.manual_seed(0)
        found = model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=_settings(head, tokenizer, start, ends),
            stopping_criteria=StoppingCriteriaList(criteria),
        )
    return [_until_end(row, tokenizer, ends) for row in found[:, skip:]]


def writer(assembly: Assembly) -> Any:
    """The whole transformers model on the changed trunk, sharing all modules. Raises Unsupported."""
    layer = assembly.layer
    assert isinstance(layer, Borrowed) and isinstance(layer.words, Words)
    model = layer.words.on(assembly.trunk)
    model.generation_config = GenerationConfig()  # what came with the model is not used
    return model


def _settings(head: GenerateHead, tokenizer: Any, start: int | None, ends: list[int]) -> GenerationConfig:
    chosen: dict[str, Any] = {}
    if head.sample:
        chosen |= {"temperature": head.temperature, "top_k": head.top_k, "top_p": head.top_p}
    if head.beams > 1:
        chosen |= {"length_penalty": head.length_penalty}
    return GenerationConfig(
        max_new_tokens=head.max_new_tokens,
        num_beams=head.beams,
        do_sample=head.sample,
        no_repeat_ngram_size=head.no_repeat_ngram or None,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=start,
        **chosen,
    )


def end_of(tokenizer: Any) -> int:
    """The token that ends a text: the tokenizer's end-of-sequence token, of BERT's kind the separator."""
    return int(tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id)


def ends_of(tokenizer: Any, end: int | None) -> list[int]:
    """The tokens that end a text: the one that its prompt names, and the tokenizer's own."""
    own = end_of(tokenizer)
    return list(dict.fromkeys([own if end is None else end, own]))


def _until_end(ids: Tensor, tokenizer: Any, ends: list[int]) -> Tensor:
    """(S,) -> (1..S,) without what follows the first end token, and without padding."""
    places = torch.isin(ids, ids.new_tensor(ends)).nonzero()
    if len(places):
        return ids[: int(places[0]) + 1]
    real = (ids != tokenizer.pad_token_id).nonzero()
    return ids[: int(real[-1]) + 1 if len(real) else 1]


def until_stop(text: str, stop: Sequence[str]) -> str:
    """Up to the first stop string."""
    places = [place for string in stop if (place := text.find(string)) >= 0]
    return text[: min(places, default=len(text))].strip()


def _prompts(batch: Batch, *, two_stacks: bool) -> list[Tensor]:
    """Each row's tokens up to where its target starts, if it has one: there its first item is predicted."""
    assert batch.ids is not None
    lengths = batch.mask.sum(dim=1)
    if not two_stacks and batch.sequence_of is not None and batch.token_of is not None and batch.items is not None:
        first = batch.items == 0
        lengths[batch.sequence_of[first]] = batch.token_of[first] + 1
    return [ids[:length] for ids, length in zip(batch.ids, lengths.tolist(), strict=True)]


def _probabilities(assembly: Assembly, batch: Batch, prompts: list[Tensor], written: list[Tensor]) -> list[float]:
    """Of each text, by one more pass over it."""
    read = _to_read(assembly, batch, prompts, written)
    found = log_probabilities(assembly.layer, assembly.hidden(read), read)
    assert read.sequence_of is not None
    sums = torch.zeros(len(written), device=found.device).index_add_(0, read.sequence_of, found)
    counts = torch.tensor([len(ids) for ids in written], device=found.device)
    means: list[float] = (sums / counts).exp().tolist()
    return means


def _to_read(assembly: Assembly, batch: Batch, prompts: list[Tensor], written: list[Tensor]) -> Batch:
    """Prompts and what was written after them, as in training: padded on the right."""
    pad, device = assembly.backbone.tokenizer.pad_token_id, batch.mask.device
    start = None if assembly.writing is None else assembly.writing.start
    rows = torch.arange(len(written), device=device)
    lengths = torch.tensor([len(ids) for ids in written], device=device)
    places = torch.cat([torch.arange(len(ids), device=device) for ids in written])
    sequence_of = rows.repeat_interleave(lengths)
    found = replace(batch, segments=None, labels=torch.cat(written), sequence_of=sequence_of, items=places)
    if start is not None:
        inputs = [torch.cat([ids.new_tensor([start]), ids[:-1]]) for ids in written]
        ids, mask = _padded(inputs, pad)
        return replace(found, decoder_ids=ids, decoder_mask=mask, token_of=places)
    ids, mask = _padded([torch.cat([one, ids[:-1]]) for one, ids in zip(prompts, written, strict=True)], pad)
    first = torch.tensor([len(prompt) - 1 for prompt in prompts], device=device)
    return replace(found, ids=ids, mask=mask, token_of=first[sequence_of] + places)


def _padded(rows: list[Tensor], pad: int) -> tuple[Tensor, Tensor]:
    """(B, T) ids and mask, padded on the right."""
    ids = pad_sequence(rows, batch_first=True, padding_value=pad)
    return ids, pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)


def _head(assembly: Assembly) -> GenerateHead:
    assert isinstance(assembly.head, GenerateHead)
    return assembly.head
