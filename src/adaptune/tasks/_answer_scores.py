"""How near an answer is to its references: exact match and F1, as SQuAD and CMRC 2018 count them. Knows no rows."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from adaptune.core.types import Array
from adaptune.core.words import split, unspaced

Language = Literal["en", "zh"]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_CHINESE = re.compile("[\u4e00-\u9fa5]")
_LEFT_OUT = frozenset("-:_*^/\\~`+=\uff0c。\uff1a\uff1f\uff01“”\uff1b\u2019《》·、「」\uff08\uff09\uff0d\uff5e『』")
"""The signs that CMRC 2018's own script does not count."""


def language_of(expected: Sequence[tuple[str, ...]]) -> Language:
    """zh where most words of all references are single characters of a script without spaces."""
    return "zh" if unspaced(" ".join(text for references in expected for text in references)) else "en"


def answer_counts(given: Sequence[str], expected: Sequence[tuple[str, ...]], language: Language) -> Array:
    """(R, 2) exact match and F1 of each row, from 0 to 1: the best over its references, none standing for no answer."""
    exact, f1 = (_exact_zh, _f1_zh) if language == "zh" else (_exact_en, _f1_en)
    rows = [
        [max(measure(text, one) for one in references or ("",)) for measure in (exact, f1)]
        for text, references in zip(given, expected, strict=True)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def normalised(text: str) -> str:
    """In lower case, without punctuation, articles and more than single spaces (Rajpurkar et al., 2016)."""
    plain = "".join(sign for sign in text.lower() if sign not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def segments(text: str) -> list[str]:
    """Chinese characters one by one, what stands between them as words, without signs (Cui et al., 2019).

    Words are split at signs and white space, where CMRC 2018's own script asks NLTK.
    """
    kept = "".join(sign for sign in text.lower().strip() if sign not in _LEFT_OUT)
    return [word.text for word in split(_CHINESE.sub(lambda found: f" {found[0]} ", kept))]


def _exact_en(given: str, reference: str) -> float:
    return float(normalised(given) == normalised(reference))


def _f1_en(given: str, reference: str) -> float:
    """Of the words in common, whatever their order; of no answer, 1 where there is none."""
    one, other = normalised(given).split(), normalised(reference).split()
    if not one or not other:
        return float(one == other)
    return _f1((Counter(one) & Counter(other)).total(), len(one), len(other))


def _exact_zh(given: str, reference: str) -> float:
    one, other = (
        "".join(sign for sign in text.lower().strip() if sign not in _LEFT_OUT) for text in (given, reference)
    )
    return float(one == other)


def _f1_zh(given: str, reference: str) -> float:
    """Of the longest run of segments in common."""
    one, other = segments(given), segments(reference)
    if not one or not other:
        return float(one == other)
    return _f1(_longest_run(one, other), len(one), len(other))


def _f1(common: int, given: int, expected: int) -> float:
    return 2 * common / (given + expected)


def _longest_run(one: Sequence[str], other: Sequence[str]) -> int:
    """How many segments the longest run has that both hold."""
    longest, before = 0, [0] * (len(other) + 1)
    for segment in one:
        row = [0] * (len(other) + 1)
        for place, there in enumerate(other, start=1):
            if segment == there:
                row[place] = before[place - 1] + 1
        longest, before = max(longest, *row), row
    return longest
