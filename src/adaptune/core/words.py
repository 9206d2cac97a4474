"""A plain text as words: runs of letters and digits, single signs, single characters of scripts without spaces."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_UNSPACED = (
    "\u3040-\u30ff\u31f0-\u31ff"  # Japanese kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
)
# Signs that belong to the letter before them, which `\w` leaves out: accents; vowels of Hebrew, Arabic, Indic scripts.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0903\u093a-\u0963\u0980-\u0dff\u200d"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:[^\W{_UNSPACED}]|[{_MARKS}])+|[^\w\s]")
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}]")


class Word(NamedTuple):
    """A word and where it stands in its text, in characters; `end` is the first character after it."""

    text: str
    start: int
    end: int


def split(text: str) -> list[Word]:
    """Every word of a text; only white space stands between them."""
    return [Word(found.group(), found.start(), found.end()) for found in _WORD.finditer(text)]


def split_on_spaces(text: str) -> list[Word]:
    """Every piece between white space."""
    return [Word(found.group(), found.start(), found.end()) for found in re.finditer(r"\S+", text)]


def locate(words: Iterable[str], text: str) -> list[Word]:
    """Where words stand in their text, one after another. Raises ValueError for one that is not there."""
    located, end = [], 0
    for word in words:
        start = text.find(word, end)
        if start < 0 or text[end:start].strip():
            raise ValueError(f"the word {word!r} does not stand at character {end} of {text!r}")
        end = start + len(word)
        located.append(Word(word, start, end))
    return located


def unspaced(text: str) -> bool:
    """Whether most of its words are characters of a script that writes none between them."""
    return 2 * len(_UNSPACED_CHARACTER.findall(text)) > len(split(text))
