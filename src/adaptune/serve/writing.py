"""Texts as one request wants them: how long, up to what, how freely. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch

from adaptune.core.batch import Encoded
from adaptune.heads.generate import GenerateHead
from adaptune.models.assembly import Assembly
from adaptune.models.write import end_of, generate


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request says of the text to be written; None: as the bundle's own settings have it."""

    most: int
    """Tokens, the end included."""
    stop: tuple[str, ...] = ()
    """The text ends before any of these, and before those of the bundle."""
    temperature: float | None = None
    """0: the most probable token each time."""
    top_p: float | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A text, and how it ended."""

    text: str
    tokens: int
    """That were written, the end included."""
    finish: Literal["stop", "length"]


def complete(assembly: Assembly, sequences: Sequence[Encoded], wish: Wish) -> dict[int, Completion]:
    """One text a prompt, by row."""
    own = copy(assembly)
    own.head = _as_wished(assembly.head, wish)
    device = next(own.parameters()).device
    prompts = [torch.as_tensor(one.ids, dtype=torch.int64, device=device) for one in sequences]
    written = generate(own, prompts)
    return {one.row: _completion(own, ids) for one, ids in zip(sequences, written, strict=True)}


def _as_wished(head: Any, wish: Wish) -> GenerateHead:
    assert isinstance(head, GenerateHead)
    changed: dict[str, Any] = {"max_new_tokens": wish.most, "stop": (*head.stop, *wish.stop)}
    if wish.temperature is not None:
        changed |= {"sample": wish.temperature > 0, "temperature": wish.temperature or 1.0, "beams": 1}
    if wish.top_p is not None:
        changed["top_p"] = wish.top_p
    return head.model_copy(update=changed)


def _completion(assembly: Assembly, ids: torch.Tensor) -> Completion:
    tokenizer, head = assembly.backbone.tokenizer, assembly.head
    assert isinstance(head, GenerateHead)
    text = tokenizer.decode(ids, skip_special_tokens=True)
    places = [place for string in head.stop if (place := text.find(string)) >= 0]
    ended = bool(places) or int(ids[-1]) == end_of(tokenizer)
    text = text[: min(places, default=len(text))].strip()
    return Completion(text, len(ids), "stop" if ended else "length")
