"""Texts as one request wants them: how long, up to what, how freely. Knows no HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch

from adaptune.core.batch import Encoded
from adaptune.core.errors import Unsupported
from adaptune.heads.generate import GenerateHead
from adaptune.models.assembly import Assembly
from adaptune.models.write import ends_of, generate, until_stop

UNFINISHED = "\ufffd"
"""How a tokenizer writes a character of which only some bytes are there."""
_CJK = re.compile("[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request says of the text to be written; None: as the bundle's own settings have it."""

    most: int | None = None
    """Tokens, the end included."""
    stop: tuple[str, ...] = ()
    """The text ends before any of these, and before those of the bundle."""
    temperature: float | None = None
    """0: the most probable token each time."""
    top_p: float | None = None
    seed: int = 0
    """Of drawn tokens: text i of a request is drawn with seed + i, whatever is written beside it."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A text, and how it ended."""

    text: str
    tokens: int
    """That were written, the end included."""
    finish: Literal["stop", "length"]


class Listener:
    """Is shown a text while it is written, and sends on what will not change any more. For the thread that computes."""

    def __init__(self, send: Callable[[str], None]) -> None:
        self.gone = False
        """Set from any thread: the text is wanted no longer."""
        self._send = send
        self._sent = ""

    def show(self, text: str, stop: Sequence[str]) -> None:
        """All that is written so far; shown again from its start, it is not sent again."""
        settled = settled_part(text, stop)
        if len(settled) > len(self._sent) and settled.startswith(self._sent):
            self._send(settled[len(self._sent) :])
            self._sent = settled

    def rest(self, text: str) -> str:
        """What of the whole text was not sent. Raises Unsupported where what was sent has changed."""
        if not text.startswith(self._sent):
            raise Unsupported("the tokenizer changed a part of the text that was already sent; ask without `stream`")
        return text[len(self._sent) :]


def settled_part(text: str, stop: Sequence[str]) -> str:
    """What of an unfinished text stands whatever follows: whole words that no stop string can still reach.

    A tokenizer may write a word anew with its next token (`do` then `don't`), so that the last word waits; Chinese and
    Japanese characters stand for themselves.
    """
    places = [place for string in stop if (place := text.find(string)) >= 0]
    if places:
        return text[: min(places)].strip()
    whole = text.rstrip(UNFINISHED)
    end = len(whole) if _CJK.search(whole[-1:]) else len(whole) - len(re.split(r"\s", whole)[-1])
    begun = [len(text) - size for string in stop for size in range(1, len(string)) if text.endswith(string[:size])]
    return text[: min([end, *begun])].strip()


def complete(
    assembly: Assembly, sequences: Sequence[Encoded], wish: Wish, listeners: Mapping[int, Listener] | None = None
) -> dict[int, Completion]:
    """One text a prompt, by row; so are the listeners."""
    own = copy(assembly)
    own.head = head = as_wished(assembly.head, wish)
    tokenizer = own.backbone.tokenizer
    device = next(own.parameters()).device
    prompts = [torch.as_tensor(one.ids, dtype=torch.int64, device=device) for one in sequences]
    listening = [(listeners or {}).get(one.row) for one in sequences]

    def watch(so_far: list[torch.Tensor]) -> list[bool]:
        for listener, ids in zip(listening, so_far, strict=True):
            if listener is not None and not listener.gone:
                listener.show(tokenizer.decode(ids, skip_special_tokens=True), head.stop)
        return [listener is not None and listener.gone for listener in listening]

    end = sequences[0].end  # one bundle's prompts end alike
    written = generate(own, prompts, end=end, watch=watch if listeners else None)
    ends = ends_of(tokenizer, end)
    return {one.row: _completion(own, ids, ends) for one, ids in zip(sequences, written, strict=True)}


def as_wished(head: Any, wish: Wish) -> GenerateHead:
    """The head with the settings that a request asks for."""
    assert isinstance(head, GenerateHead)
    changed: dict[str, Any] = {"stop": (*head.stop, *wish.stop)}
    if wish.most is not None:
        changed["max_new_tokens"] = wish.most
    if wish.temperature is not None:
        changed |= {"sample": wish.temperature > 0, "temperature": wish.temperature or 1.0, "beams": 1}
    if wish.top_p is not None:
        changed["top_p"] = wish.top_p
    return head.model_copy(update=changed)


def _completion(assembly: Assembly, ids: torch.Tensor, ends: Sequence[int]) -> Completion:
    tokenizer, head = assembly.backbone.tokenizer, assembly.head
    assert isinstance(head, GenerateHead)
    text = tokenizer.decode(ids, skip_special_tokens=True)
    ended = int(ids[-1]) in ends or any(string in text for string in head.stop)
    return Completion(until_stop(text, head.stop), len(ids), "stop" if ended else "length")
