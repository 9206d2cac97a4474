"""Conversations as tokens, with labels on the assistant's turns alone. Knows no files and no tasks."""

from __future__ import annotations

from collections.abc import Sequence as Several
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from adaptune.core.batch import Encoded
from adaptune.core.errors import DataError, Unsupported
from adaptune.core.types import Conversation, Example, OfText, Sequence, Turn, Writing
from adaptune.data.chat_templates import ChatTemplate
from adaptune.data.encode_text import Written, named

Span = tuple[int, int]
"""The first token of a reply, and the one after its end token."""


class _Read(NamedTuple):
    """A conversation in tokens."""

    ids: list[int]
    replies: list[Span]
    """Those that are learned, in order; the last is the expected one. Empty: what is read is a question."""


def encode_chat(examples: Several[Example], tokenizer: Any, writing: Writing, max_length: int) -> Written:
    """Every conversation as one token sequence; without a target it ends where the reply begins.

    Items are the tokens of replies, each with the token that ends it: first those of the last reply, then those of the
    earlier ones. Raises DataError for a row that cannot be read, and where nothing is left to learn; Unsupported for a
    model of two stacks, or a template by which replies cannot be told apart.
    """
    if writing.start is not None:
        raise Unsupported(
            "conversations are read and continued by one stack, and this model has an encoder and a decoder; use a "
            "decoder such as llama, qwen3 or gpt2, or task write"
        )
    if max_length <= writing.most:
        raise Unsupported(
            f"head.max_new_tokens is {writing.most}, and the model reads {max_length} tokens at once, which leaves no "
            "room for a conversation; lower it"
        )
    reader = _Reader(tokenizer, writing, max_length - writing.most)
    labelled = False
    for row, example in enumerate(examples):
        for sequence in example.sequences:
            assert sequence.conversation is not None
            labelled = labelled or sequence.target is not None
            reader.add(row, example.row.where, sequence, sequence.conversation)
    reader.refuse()
    if labelled and not reader.found.encoded:
        raise DataError(
            "no reply is left to learn: every conversation is left out, as task.long and head.long_target say; raise "
            "model.max_length or head.max_new_tokens, or set these two to cut"
        )
    return reader.found


class _Reader:
    """A tokenizer with its templates, and what was read so far."""

    def __init__(self, tokenizer: Any, writing: Writing, room: int) -> None:
        self._tokenizer, self._writing, self._room = tokenizer, writing, room
        self._templates: dict[str | None, ChatTemplate] = {}
        self._too_long: list[str] = []
        self._long_replies: list[str] = []
        self.found = Written()

    def add(self, row: int, where: str, sequence: Sequence, conversation: Conversation) -> None:
        """One conversation, or the reason why it is left out."""
        template = self._template(conversation.template)
        template.check(conversation.turns, where)
        turns = self._fitting(conversation, template, where, labelled=sequence.target is not None)
        if turns is None:
            return
        if not isinstance(sequence.target, OfText):
            ids = template.ids([template.text(turns, where, ask=True)])[0]
            self.found.encoded.append(self._encoded(row, _Read(ids, []), template.end))
            return
        reply = Turn("assistant", sequence.target.value)
        template.check([reply], where)
        read = _read((*turns, reply), template, where, all_replies=conversation.learn == "all")
        if self._allowed(read, where):
            self.found.encoded.append(self._encoded(row, read, template.end))

    def refuse(self) -> None:
        """Raises DataError for conversations and replies that are too long, where the recipe allows none."""
        if self._too_long:
            raise DataError(
                f"{_count(self._too_long, 'conversation')} of more than {self._room} tokens before the reply "
                f"({named(self._too_long)}); raise model.max_length, or set task.long to cut or skip"
            )
        if self._long_replies:
            raise DataError(
                f"{_count(self._long_replies, 'row')} with a reply of more than {self._writing.most} tokens "
                f"({named(self._long_replies)}); raise head.max_new_tokens, or say what becomes of such rows: "
                "head.long_target: cut, or skip"
            )

    def _template(self, name: str | None) -> ChatTemplate:
        if name not in self._templates:
            self._templates[name] = ChatTemplate(self._tokenizer, name)
        return self._templates[name]

    def _fitting(
        self, conversation: Conversation, template: ChatTemplate, where: str, *, labelled: bool
    ) -> tuple[Turn, ...] | None:
        """The turns that are read, without the oldest where there is no room for them; None for a row left out."""
        turns = conversation.turns
        size = self._size(turns, template, where)
        if size <= self._room:
            return turns
        if conversation.long == "refuse":
            self._too_long.append(f"{where}: {size}")
            return None
        if conversation.long == "skip" and labelled:
            self.found.skipped_conversations.append(where)
            return None
        while size > self._room:
            shorter = _without_oldest(turns)
            if shorter is None:
                raise DataError(
                    f"{where}: its last question alone has {size} tokens, and there is room for {self._room} before "
                    "the reply; shorten it, raise model.max_length, lower head.max_new_tokens, or leave such training "
                    "rows out: task.long=skip"
                )
            turns = shorter
            size = self._size(turns, template, where)
        self.found.shortened.append(where)
        if labelled and conversation.learn == "all":
            self.found.lost_replies += len(_replies(conversation.turns)) - len(_replies(turns))
        return turns

    def _size(self, turns: Several[Turn], template: ChatTemplate, where: str) -> int:
        return len(template.ids([template.text(turns, where, ask=True)])[0])

    def _allowed(self, read: _Read, where: str) -> bool:
        """Whether the row is learned, its replies being as long as they are."""
        longest = max(stop - start for start, stop in read.replies)
        if longest <= self._writing.most:
            return True
        if self._writing.long_target == "cut":
            self.found.cut_targets.append(where)
            return True
        if self._writing.long_target == "skip":
            self.found.skipped.append(where)
        else:
            self._long_replies.append(f"{where}: {longest}")
        return False

    def _encoded(self, row: int, read: _Read, end: int) -> Encoded:
        spans = [
            (start, min(stop, start + self._writing.most)) for start, stop in [*read.replies[-1:], *read.replies[:-1]]
        ]
        learned = np.array([place for span in spans for place in range(*span)], dtype=np.int32)
        # Each token is predicted where the one before it is read; the last one learned need not be read.
        ids = np.array(read.ids[: spans[0][1] - 1] if spans else read.ids, dtype=np.int32)
        return Encoded(
            row=row,
            ids=ids,
            segments=None,
            tokens=learned - 1,
            items=np.arange(len(learned), dtype=np.int32),
            labels=np.array(read.ids, dtype=np.int64)[learned] if spans else None,
            end=end,
        )


def _read(turns: Several[Turn], template: ChatTemplate, where: str, *, all_replies: bool) -> _Read:
    """A conversation that ends in a reply, with where its replies stand. Raises Unsupported."""
    whole = template.text(turns, where, ask=False)
    places = _replies(turns)[None if all_replies else -1 :]
    cuts = [cut for place in places for cut in _around(turns[: place + 1], whole, template, where)]
    pieces = [whole[start:stop] for start, stop in pairwise([0, *cuts, len(whole)])]
    (ids,), parts = template.ids([whole]), template.pieces(pieces)
    before = len(ids) - sum(map(len, parts))
    if ids[max(0, before) :] == [one for part in parts for one in part]:
        ends = [before + end for end in accumulate(map(len, parts))][: len(cuts)]
    else:  # a tokenizer that reads a text differently at its start
        ends = [_prefix(whole[:cut], ids, template) for cut in cuts]
    if template.ids([whole[: cuts[-2]]])[0] != ids[: ends[-2]]:
        raise _not_told_apart(template, "where the last reply begins, tokens reach across")
    spans = [(start, _end(ids, start, stop, template)) for start, stop in zip(ends[::2], ends[1::2], strict=True)]
    return _Read(ids, spans)


def _around(turns: Several[Turn], whole: str, template: ChatTemplate, where: str) -> tuple[int, int]:
    """Where the last of these turns begins in the whole text and where it ends, found by rendering up to both."""
    before, after = template.text(turns[:-1], where, ask=True), template.text(turns, where, ask=False)
    if not after.startswith(before):
        raise _not_told_apart(template, "what it writes before a reply changes when the reply is there")
    if not whole.startswith(after):
        raise _not_told_apart(template, "what it writes of earlier turns changes when others follow")
    if turns[-1].text.strip() not in after[len(before) :]:
        raise _not_told_apart(template, "it does not write a reply as it stands in the row")
    return len(before), len(after)


def _prefix(text: str, ids: list[int], template: ChatTemplate) -> int:
    """How many of the tokens are those of a text's beginning."""
    found = template.ids([text])[0]
    if ids[: len(found)] != found:
        raise _not_told_apart(template, "tokens reach across the border of a reply")
    return len(found)


def _end(ids: list[int], start: int, stop: int, template: ChatTemplate) -> int:
    """The place after the token that ends a reply; what the template writes behind it is not learned."""
    for place in range(stop - 1, start - 1, -1):
        if ids[place] == template.end:
            return place + 1
    raise _not_told_apart(template, "a reply lacks the token that ends others")


def _not_told_apart(template: ChatTemplate, why: str) -> Unsupported:
    return Unsupported(
        f"{template.name} does not let replies be told apart from the rest: {why}; set task.learn=last, or "
        "task.template to chatml, plain or a template of your own"
    )


def _without_oldest(turns: tuple[Turn, ...]) -> tuple[Turn, ...] | None:
    """From the second question on, behind what the system says; None where there is but one question."""
    first = turns[:1] if turns[0].role == "system" else ()
    rest = turns[len(first) :]
    later = next((place for place, turn in enumerate(rest) if place and turn.role == "user"), None)
    return None if later is None else (*first, *rest[later:])


def _replies(turns: Several[Turn]) -> list[int]:
    """The places of what the assistant says after a question."""
    roles = [turn.role for turn in turns]
    return [place for place, role in enumerate(roles) if role == "assistant" and "user" in roles[:place]]


def _count(rows: Several[str], one: str) -> str:
    return f"1 {one}" if len(rows) == 1 else f"{len(rows):,} {one}s"
