"""How long examples are in tokens, and what that means for a model of a given length. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptune.core.types import Example
from adaptune.core.types import Sequence as Text
from adaptune.data.findings import Finding

AT_ONCE = 1000
"""Texts that are tokenised together: enough to be quick, few enough to need little memory."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens a row, special tokens included."""

    max_length: int
    """What the model reads at once."""
    median: int
    most: int
    """Nine of ten rows have no more."""
    nearly_all: int
    """99 of 100 rows have no more."""
    longest: int
    cut: tuple[str, ...]
    """Rows that lose their end."""
    windowed: tuple[str, ...]
    """Rows that are read in several windows."""
    around: tuple[str, ...] = ()
    """Rows that lose what is farthest from their marked spans."""

    def findings(self) -> tuple[Finding, ...]:
        """The same as sentences."""
        most = f"half have at most {self.median:,}, 90 % {self.most:,}, 99 % {self.nearly_all:,}"
        text = f"tokens a row: {most}, the longest {self.longest:,}; the model reads {self.max_length:,}"
        found = [Finding("note", text)]
        if self.cut:
            advice = "raise model.max_length where the model allows it, or shorten them"
            text = _number(self.cut, "row is longer and loses its end", "rows are longer and lose their ends")
            found.append(Finding("warning", f"{text}; {advice}", self.cut))
        if self.around:
            what = "what is farthest from the marked entities"
            text = _number(self.around, f"row is longer and loses {what}", f"rows are longer and lose {what}")
            found.append(Finding("warning", text, self.around))
        if self.windowed:
            text = _number(self.windowed, "row is longer", "rows are longer")
            found.append(Finding("note", f"{text} and read in overlapping windows", self.windowed))
        return tuple(found)


def lengths(examples: Sequence[Example], tokenizer: Any, max_length: int) -> Lengths:
    """Tokenise every example, at least one; `tokenizer` is a transformers fast tokenizer.

    A row is as long as its longest sequence.
    """
    longest = np.zeros(len(examples), dtype=np.int64)
    of_row = [(row, sequence) for row, example in enumerate(examples) for sequence in example.sequences]
    for start in range(0, len(of_row), AT_ONCE):
        some = of_row[start : start + AT_ONCE]
        for (row, _), count in zip(some, _tokens([sequence for _, sequence in some], tokenizer), strict=True):
            longest[row] = max(longest[row], count)
    kinds = [{sequence.overflow for sequence in example.sequences} for example in examples]
    over = [row for row in range(len(examples)) if longest[row] > max_length]
    median, most, nearly_all = (int(np.quantile(longest, share, method="higher")) for share in (0.5, 0.9, 0.99))
    return Lengths(
        max_length=max_length,
        median=median,
        most=most,
        nearly_all=nearly_all,
        longest=int(longest.max()),
        cut=tuple(examples[row].row.where for row in over if "cut" in kinds[row]),
        windowed=tuple(examples[row].row.where for row in over if "window" in kinds[row]),
        around=tuple(examples[row].row.where for row in over if "around" in kinds[row]),
    )


def _tokens(sequences: Sequence[Text], tokenizer: Any) -> list[int]:
    """Tokens of each sequence; sequences of text and of words, with and without a second part, are tokenised apart."""
    counts = [0] * len(sequences)
    kinds: dict[tuple[bool, bool], list[int]] = {}
    for place, sequence in enumerate(sequences):
        kinds.setdefault((isinstance(sequence.first, tuple), sequence.second is not None), []).append(place)
    for (words, paired), places in kinds.items():
        firsts = [_given(sequences[place].first) for place in places]
        seconds = [_given(sequences[place].second) for place in places] if paired else None
        output = tokenizer(
            firsts,
            seconds,
            is_split_into_words=words,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # it would warn of every text that is too long
        )
        for place, ids in zip(places, output["input_ids"], strict=True):
            counts[place] = len(ids)
    return counts


def _given(part: str | tuple[str, ...] | None) -> str | list[str] | None:
    return list(part) if isinstance(part, tuple) else part


def _number(rows: Sequence[str], one: str, many: str) -> str:
    return f"1 {one}" if len(rows) == 1 else f"{len(rows):,} {many}"
