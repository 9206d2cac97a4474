"""Prompts and the texts that follow them as tokens, with labels on the text alone. Knows no files and no tasks."""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptune.core.batch import Encoded
from adaptune.core.errors import DataError, Unsupported
from adaptune.core.types import SOURCE, Example, OfText, Sequence, Writing
from adaptune.data.findings import Finding
from adaptune.data.special_tokens import special_tokens

DECODERS = f"{SOURCE}\n"
"""The template of models of one stack, where none is given: without a mark they could not tell where to start."""
SHOWN = 3
"""Rows that a message names."""
AT_ONCE = 1000
"""Texts that are tokenised together."""


@dataclass(slots=True)
class Written:
    """Encoded rows, and what did not fit. Rows are named as messages do."""

    encoded: list[Encoded] = field(default_factory=list)
    cut_sources: list[str] = field(default_factory=list)
    cut_targets: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    shortened: list[str] = field(default_factory=list)
    """Conversations without their oldest turns."""
    skipped_conversations: list[str] = field(default_factory=list)
    lost_replies: int = 0
    """Replies that would have been learned, in the turns that `shortened` lost."""

    def findings(self) -> list[Finding]:
        """The same as sentences."""
        found = []
        for rows, one, many, advice in (
            (
                self.cut_sources,
                "source is",
                "sources are",
                "cut to fit; raise model.max_length where the model allows it",
            ),
            (self.cut_targets, "target loses its", "targets lose their", "end; raise head.max_new_tokens"),
            (self.skipped, "row is", "rows are", "left out, the target being too long; raise head.max_new_tokens"),
            (
                self.shortened,
                "conversation loses its oldest turns",
                "conversations lose their oldest turns",
                f"(of replies to be learned {self.lost_replies:,}); raise model.max_length where the model allows it",
            ),
            (
                self.skipped_conversations,
                "conversation is",
                "conversations are",
                "left out, being too long; raise model.max_length where the model allows it, or set task.long=cut",
            ),
        ):
            if rows:
                found.append(Finding("warning", f"{_many(rows, one, many)} {advice}", tuple(rows)))
        return found


def encode_written(examples: Several[Example], tokenizer: Any, writing: Writing, max_length: int) -> Written:
    """Every example as tokens; a model of one stack reads prompt and target as one sequence.

    Items are the target's tokens, its end last, each at the position whose hidden state predicts it. Raises DataError
    where `writing` refuses targets that are too long, or none fits; Unsupported where a prompt has no room.
    """
    rows = [(row, sequence) for row, example in enumerate(examples) for sequence in example.sequences]
    reader = _Reader(tokenizer, writing, max_length)
    found, too_long = Written(), []
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        prompts = reader.prompts([sequence for _, sequence in some])
        targets = reader.targets([sequence for _, sequence in some])
        for (row, _), (prompt, is_cut), target in zip(some, prompts, targets, strict=True):
            where = examples[row].row.where
            if target is not None and len(target) > writing.most:
                too_long.append(f"{where}: {len(target)}")
                if writing.long_target == "skip":
                    found.skipped.append(where)
                    continue
                found.cut_targets.append(where)
                target = target[: writing.most]
            if is_cut:
                found.cut_sources.append(where)
            found.encoded.append(reader.together(row, prompt, target))
    _check(found, too_long, writing)
    return found


def _check(found: Written, too_long: list[str], writing: Writing) -> None:
    if too_long and writing.long_target == "refuse":
        raise DataError(
            f"{_many(too_long, 'target has', 'targets have')} more than {writing.most} tokens ({named(too_long)}); "
            "raise head.max_new_tokens, or say what becomes of such rows: head.long_target: cut, or skip"
        )
    if too_long and not found.encoded:
        raise DataError(
            f"no row is left: every target has more than {writing.most} tokens ({named(too_long)}); head.max_new_tokens"
        )


class _Reader:
    """A tokenizer, with the special tokens that prompts and targets have around them."""

    def __init__(self, tokenizer: Any, writing: Writing, max_length: int) -> None:
        self._tokenizer, self._writing = tokenizer, writing
        self._prefix, self._suffix = special_tokens(tokenizer)
        self._two_stacks = writing.start is not None
        around = len(self._prefix) + (len(self._suffix) if self._two_stacks else writing.most)
        self._room = max_length - around
        self._template = SOURCE if self._two_stacks else DECODERS
        if self._room < 1:
            raise Unsupported(
                f"head.max_new_tokens is {writing.most}, and the model reads {max_length} tokens at once, which leaves "
                "no room for a prompt; lower it"
            )

    def prompts(self, sequences: Several[Sequence]) -> list[tuple[list[int], bool]]:
        """Token ids of each prompt, and whether its source had to be cut."""
        texts = [self._prompt(sequence, str(sequence.first)) for sequence in sequences]
        found = [(ids, len(ids) > self._room) for ids in self._ids(texts)]
        return [
            (self._shortened(sequence, ids) if too_long else ids, too_long)
            for sequence, (ids, too_long) in zip(sequences, found, strict=True)
        ]

    def targets(self, sequences: Several[Sequence]) -> list[list[int] | None]:
        """Token ids of each target with its end; None where there is none."""
        texts = [sequence.target.value if isinstance(sequence.target, OfText) else "" for sequence in sequences]
        before = self._prefix if self._two_stacks else []
        after = end_tokens(self._tokenizer, self._suffix if self._two_stacks else [])
        return [
            None if sequence.target is None else [*before, *ids, *after]
            for sequence, ids in zip(sequences, self._ids(texts), strict=True)
        ]

    def together(self, row: int, prompt: list[int], target: list[int] | None) -> Encoded:
        """One row's tokens; each token of the target is predicted where the one before it is read."""
        goal = target or []
        if self._two_stacks:
            ids, first = [*self._prefix, *prompt, *self._suffix], 0
            decoder = None if target is None else np.array([self._writing.start, *goal[:-1]], dtype=np.int32)
        else:
            # The last token predicts nothing that is learned: it need not be read.
            ids, decoder = [*self._prefix, *prompt, *goal[:-1]], None
            first = len(self._prefix) + len(prompt) - 1
        return Encoded(
            row=row,
            ids=np.array(ids, dtype=np.int32),
            segments=None,
            tokens=np.arange(first, first + len(goal), dtype=np.int32),
            items=np.arange(len(goal), dtype=np.int32),
            labels=None if target is None else _array(goal),
            decoder_ids=decoder,
        )

    def _prompt(self, sequence: Sequence, source: str) -> str:
        return (sequence.template or self._template).replace(SOURCE, source)

    def _ids(self, texts: Several[str]) -> list[list[int]]:
        output = self._tokenizer(
            list(texts),
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        found: list[list[int]] = output["input_ids"]
        return found

    def _shortened(self, sequence: Sequence, ids: list[int]) -> list[int]:
        """The prompt with as much of the source as fits; the template stays whole. Raises Unsupported if it cannot."""
        source = str(sequence.first)
        while len(ids) > self._room and source:
            output = self._tokenizer(source, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            offsets = output["offset_mapping"]
            kept = len(offsets) - (len(ids) - self._room)
            if kept < 1:
                source = ""
            elif self._writing.cut == "right":
                source = source[: min(offsets[kept - 1][1], len(source) - 1)]
            else:
                source = source[max(offsets[-kept][0], 1) :]
            ids = self._ids([self._prompt(sequence, source)])[0]
        if len(ids) > self._room:
            raise Unsupported(
                f"task.template alone has {len(ids)} tokens, and there is room for {self._room} before the text to be "
                "written; shorten it, or lower head.max_new_tokens"
            )
        return ids


def end_tokens(tokenizer: Any, suffix: Several[int]) -> list[int]:
    """What ends a text: what the tokenizer puts behind one, or the end-of-sequence token. Raises Unsupported."""
    if suffix:
        return list(suffix)
    if tokenizer.eos_token_id is None:
        raise Unsupported(
            "the tokenizer has no end-of-sequence token, without which a model cannot learn where a text ends; "
            "set eos_token in its tokenizer_config.json"
        )
    return [tokenizer.eos_token_id]


def _array(ids: list[int]) -> NDArray[np.int64]:
    return np.array(ids, dtype=np.int64)


def _many(rows: Several[str], one: str, many: str) -> str:
    return f"1 {one}" if len(rows) == 1 else f"{len(rows):,} {many}"


def named(rows: Several[str]) -> str:
    """The first rows of a list, and how many more."""
    more = f", and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    return ", ".join(rows[:SHOWN]) + more
