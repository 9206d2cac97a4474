"""Rows with their answers as people read them: marked words, names of options, first texts of a ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adaptune.core.bio import spans
from adaptune.core.errors import AdaptuneError
from adaptune.core.words import unspaced
from adaptune.report.document import Piece, Shown
from adaptune.report.words import Words

MOST = 30
"""Rows that are shown."""
LONGEST = 600
"""Characters of a text that are shown."""
RANKED = 3
"""Texts of a ranking that are shown."""


def shown_rows(errors: Sequence[Mapping[str, Any]], words: Words) -> list[Shown]:
    """The records of errors.jsonl."""
    kinds: dict[str, int] = {}
    return [_shown(record, kinds, words) for record in errors[:MOST]]


def _shown(record: Mapping[str, Any], kinds: dict[str, int], words: Words) -> Shown:
    given = record.get("given") or {}
    tagged = given.get("words") if isinstance(given.get("words"), list) else None
    probability = record.get("probability")
    return Shown(
        where=words("errors.where", source=_file(str(record.get("source", ""))), row=record.get("row", "?")),
        given=[]
        if tagged
        else [(name, [Piece(_text(value))]) for name, value in given.items() if value not in ("", None)],
        expected=_answer(_right(record.get("expected")), given, kinds, words),
        predicted=_answer(record.get("predicted"), given, kinds, words),
        probability="" if probability is None else f"{100 * probability:.1f}%",
    )


def _answer(value: Any, given: Mapping[str, Any], kinds: dict[str, int], words: Words) -> list[Piece]:
    tagged, options = given.get("words"), given.get("options")
    if isinstance(tagged, list) and isinstance(value, list) and len(tagged) == len(value):
        return _marked([str(word) for word in tagged], [str(tag) for tag in value], kinds)
    if isinstance(options, list) and isinstance(value, int) and 0 <= value < len(options):
        return [Piece(_text(options[value]))]
    if value is None or value == []:
        return [Piece(words("errors.nothing"))]
    if _is_ranking(value):
        return [Piece(" · ".join(_text(text) for text, _ in value[:RANKED]))]
    return [Piece(_text(value))]


def _right(expected: Any) -> Any:
    """Of texts with grades those that are right."""
    return [one for one in expected if one[1] > 0] if _is_ranking(expected) else expected


def _is_ranking(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, list) and len(one) == 2 and isinstance(one[1], int | float) for one in value
    )


def _marked(texts: Sequence[str], tags: Sequence[str], kinds: dict[str, int]) -> list[Piece]:
    """Words with their spans marked; each type has a colour of its own."""
    try:
        found = spans(tags)
    except AdaptuneError:
        return [Piece(" ".join(f"{word}/{tag}" for word, tag in zip(texts, tags, strict=True)))]
    pieces, end, space = [], 0, "" if unspaced("".join(texts)) else " "
    for first, after, kind in found:
        if first > end:
            pieces.append(Piece(space.join(texts[end:first])))
        pieces.append(Piece(space.join(texts[first:after]), kind, kinds.setdefault(kind, len(kinds))))
        end = after
    return [*pieces, Piece(space.join(texts[end:]))] if end < len(texts) else pieces


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        of = [_text(one) for one in value.values() if one is not None]
        return ": ".join(of)
    if isinstance(value, list):
        value = " · ".join(_text(one) for one in value)
    text = str(value)
    return text if len(text) <= LONGEST else text[:LONGEST].rstrip() + "…"


def _file(source: str) -> str:
    """Its name without the folders of the machine it lay on."""
    return source.replace("\\", "/").rsplit("/", 1)[-1]
