"""Tags of words and the spans they mean, in every common scheme; inside, BIO is used. Knows no files, no tasks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from adaptune.core.errors import DataError

Scheme = Literal["bio", "iob1", "bioes", "io"]
"""bio: every span starts with B- (also called IOB2). iob1: B- only where a span follows another of its type.
bioes: E- ends and S- is a span of one word (also BILOU, BMES, BMEWO: L, U, M, W). io: no mark where a span starts;
the type stands alone or after I-, and neighbours of one type are one span."""

Span = tuple[int, int, str]
"""First word, the word after the last, type."""

OUTSIDE = "O"
UNTYPED = "entity"
"""The type of spans whose tags are a bare B and I."""

_SAME = {"M": "I", "L": "E", "U": "S", "W": "S"}
_LETTERS = frozenset("BIES") | frozenset(_SAME)
_PREFIXED = re.compile("[BIESMLUW][-_].").match
_ALLOWED: dict[Scheme, frozenset[str]] = {
    "bio": frozenset("BI"),
    "iob1": frozenset("BI"),
    "bioes": frozenset("BIES"),
    "io": frozenset("I"),
}
_EXPECTED: dict[Scheme, str] = {
    "bio": "O, B-PER or I-PER",
    "iob1": "O, I-PER or B-PER",
    "bioes": "O, B-PER, I-PER (or M-PER), E-PER (or L-PER) or S-PER (or U-PER, W-PER)",
    "io": "O, PER or I-PER",
}


class MalformedTags(DataError):
    """Tags that their scheme does not allow; `position` counts words from 0."""

    def __init__(self, position: int, tag: str, reason: str) -> None:
        self.position = position
        self.tag = tag
        self.reason = reason
        super().__init__(f"word {position + 1}, tag {tag!r}: {reason}")


def scheme_of(sentences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme that the tags of a file are written in; where some tags fit none, the one that most spans fit."""
    marks: set[str] = set()
    bare: set[str] = set()
    marked_starts, unmarked_starts = 0, 0
    for sentence in sentences:
        before = ""
        for tag in sentence:
            if tag == OUTSIDE:
                before = ""
                continue
            if not _PREFIXED(tag):
                bare.add(tag)
                before = ""
                continue
            mark, kind = _SAME.get(tag[0], tag[0]), tag[2:]
            marks.add(mark)
            if kind != before:
                marked_starts += mark == "B"
                unmarked_starts += mark == "I"
            before = kind
    if not marks and bare:
        if "B" not in bare or not bare <= _LETTERS:
            return "io"
        marks = {_SAME.get(tag, tag) for tag in bare}
    if marks & {"E", "S"}:
        return "bioes"
    if unmarked_starts > marked_starts:
        return "iob1" if "B" in marks else "io"
    return "bio"


def to_bio(tags: Sequence[str], scheme: Scheme) -> tuple[str, ...]:
    """The same spans in BIO. Raises MalformedTags."""
    pairs = [_pair(position, tag, scheme) for position, tag in enumerate(tags)]
    if scheme == "bio":
        _check_bio(tags, pairs)
        return tuple(OUTSIDE if pair is None else f"{pair[0]}-{pair[1]}" for pair in pairs)
    if scheme == "bioes":
        _check_bioes(tags, pairs)
    bio = []
    before: tuple[str, str] | None = None
    for position, pair in enumerate(pairs):
        if pair is None:
            bio.append(OUTSIDE)
        else:
            bio.append(f"{'B' if _starts(position, tags[position], before, pair, scheme) else 'I'}-{pair[1]}")
        before = pair
    return tuple(bio)


def spans(bio: Sequence[str]) -> list[Span]:
    """The spans of legal BIO tags, in order. Raises MalformedTags where the tags are not legal."""
    found: list[Span] = []
    for position, tag in enumerate(bio):
        if tag == OUTSIDE:
            continue
        if tag.startswith("B-"):
            found.append((position, position + 1, tag[2:]))
        elif tag.startswith("I-") and found and found[-1][1:] == (position, tag[2:]):
            found[-1] = (found[-1][0], position + 1, tag[2:])
        else:
            raise MalformedTags(position, tag, "it continues no span of its type")
    return found


def from_spans(found: Iterable[Span], length: int) -> tuple[str, ...]:
    """BIO tags of `length` words. Raises ValueError for a span that is empty, outside the words, or over another."""
    tags = [OUTSIDE] * length
    for start, end, kind in found:
        if not 0 <= start < end <= length:
            raise ValueError(f"span {(start, end, kind)!r} does not lie within the {length} words")
        if any(tag != OUTSIDE for tag in tags[start:end]):
            raise ValueError(f"span {(start, end, kind)!r} overlaps another span")
        tags[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
    return tuple(tags)


def looks_like_tag(text: str) -> bool:
    """Whether a text is O, or a letter of one of the schemes with a type behind it."""
    return text == OUTSIDE or _PREFIXED(text) is not None


def _pair(position: int, tag: str, scheme: Scheme) -> tuple[str, str] | None:
    """Letter (B, I, E, S) and type; None for O."""
    if tag == OUTSIDE:
        return None
    if _PREFIXED(tag):
        letter, kind = _SAME.get(tag[0], tag[0]), tag[2:]
    elif scheme == "io" and tag:
        letter, kind = "I", tag
    else:
        letter, kind = _SAME.get(tag, tag), UNTYPED
    if not letter or letter not in _ALLOWED[scheme]:
        raise MalformedTags(position, tag, f"no tag of the scheme {scheme}; expected {_EXPECTED[scheme]}")
    return letter, kind


def _starts(position: int, tag: str, before: tuple[str, str] | None, pair: tuple[str, str], scheme: Scheme) -> bool:
    """Whether a span starts here, in every scheme but bio."""
    if scheme == "bioes":
        return pair[0] in "BS"
    follows = before is not None and before[1] == pair[1]
    if scheme == "iob1" and pair[0] == "B" and not follows:
        raise MalformedTags(position, tag, f"in iob1 it must follow a span of its type; here I-{pair[1]} starts a span")
    return not follows or pair[0] == "B"


def _check_bio(tags: Sequence[str], pairs: Sequence[tuple[str, str] | None]) -> None:
    before: tuple[str, str] | None = None
    for position, pair in enumerate(pairs):
        if pair is not None and pair[0] == "I" and (before is None or before[1] != pair[1]):
            after = "at the start" if position == 0 else f"after {tags[position - 1]!r}"
            raise MalformedTags(
                position, tags[position], f"it continues no span {after}; a span starts with B-{pair[1]}"
            )
        before = pair


def _check_bioes(tags: Sequence[str], pairs: Sequence[tuple[str, str] | None]) -> None:
    open_type: str | None = None
    for position, pair in enumerate(pairs):
        opens = pair is None or pair[0] in "BS"
        if open_type is not None and (opens or (pair is not None and pair[1] != open_type)):
            raise MalformedTags(position, tags[position], f"the span before it has no end; expected E-{open_type}")
        if pair is not None and not opens and open_type is None:
            raise MalformedTags(position, tags[position], f"it belongs to no open span; a span starts with B-{pair[1]}")
        open_type = pair[1] if pair is not None and pair[0] in "BI" else None
    if open_type is not None:
        raise MalformedTags(len(tags) - 1, tags[-1], f"the span has no end; expected E-{open_type}")
