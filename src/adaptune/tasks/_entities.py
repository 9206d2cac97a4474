"""Two entities of a text, as data sets write them, and the text with marks around them. Knows no relations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from adaptune.core.errors import DataError
from adaptune.core.types import Row
from adaptune.core.words import unspaced

Span = tuple[int, int]
"""Characters, the end not included."""

_TAG = re.compile(r"<(/?)(e[12])>")


class Entities(NamedTuple):
    """A text and two spans of it that do not overlap."""

    text: str
    head: Span
    tail: Span


def entities_of(row: Row) -> Entities:
    """A row's entities: tags in the text, spans of characters, or indices of tokens. Raises DataError."""
    text, tokens = row.values.get("text"), row.values.get("tokens")
    given = [name for name in ("head", "tail") if row.values.get(name) is not None]
    if text is not None and not isinstance(text, str):
        raise DataError(f"{row.where}, column 'text': {text!r} is no text")
    if tokens is not None:
        found = _of_tokens(row, tokens)
    elif text is None:
        raise DataError(f"{row.where} has neither text nor tokens; expected one of them")
    elif given:
        found = Entities(text, *(_characters(row, name, row.values.get(name), text) for name in ("head", "tail")))
    else:
        found = _of_tags(row, text)
    (start, end), (other, last) = found.head, found.tail
    if start < last and other < end:
        one, two = found.text[start:end], found.text[other:last]
        raise DataError(f"{row.where}: the entities {one!r} and {two!r} overlap; two that are related must be apart")
    return found


def marked(found: Entities, markers: tuple[str, str]) -> tuple[str, tuple[Span, ...]]:
    """The text with a marker and a space on both sides of each entity; the spans of head and tail, markers included."""
    order = sorted(((found.head, markers[0], 0), (found.tail, markers[1], 1)))
    parts, spans, end = [], {}, 0
    for (start, stop), marker, which in order:
        parts += [found.text[end:start], " "]
        begin = sum(map(len, parts))
        parts += [marker, " ", found.text[start:stop], " ", marker]
        spans[which] = (begin, sum(map(len, parts)))
        parts.append(" ")
        end = stop
    return "".join([*parts, found.text[end:]]), (spans[0], spans[1])


def _of_tags(row: Row, text: str) -> Entities:
    """The text without its tags <e1>, </e1>, <e2>, </e2>."""
    where: dict[tuple[str, str], int] = {}
    plain, end = "", 0
    for tag in _TAG.finditer(text):
        plain += text[end : tag.start()]
        end = tag.end()
        if (tag[1], tag[2]) in where:
            raise DataError(f"{row.where}, column 'text': {tag[0]} stands there twice; an entity is one span")
        where[tag[1], tag[2]] = len(plain)
    plain += text[end:]
    spans = []
    for name in ("e1", "e2"):
        if ("", name) not in where or ("/", name) not in where:
            raise DataError(
                f"{row.where}, column 'text': there is no <{name}>...</{name}> in {text[:60]!r}; mark both entities, "
                "or give head and tail"
            )
        spans.append(_within(row, "text", (where["", name], where["/", name]), plain, f"<{name}>"))
    return Entities(plain, spans[0], spans[1])


def _of_tokens(row: Row, tokens: Any) -> Entities:
    """Tokens joined by spaces, or by nothing where the script has none."""
    if isinstance(tokens, str):
        tokens = tokens.split()
    if not isinstance(tokens, (list, tuple)) or not all(isinstance(token, str) and token for token in tokens):
        raise DataError(f"{row.where}, column 'tokens': {tokens!r} is no list of words")
    space = "" if unspaced(" ".join(tokens)) else " "
    starts, end = [], 0
    for token in tokens:
        starts.append(end)
        end += len(token) + len(space)
    spans = []
    for name in ("head", "tail"):
        first, last = _indices(row, name, row.values.get(name), len(tokens))
        spans.append((starts[first], starts[last] + len(tokens[last])))
    return Entities(space.join(tokens), spans[0], spans[1])


def _indices(row: Row, name: str, value: Any, count: int) -> tuple[int, int]:
    """First and last token of an entity: FewRel's [name, id, [[indices]]], or [start, end] with the end left out."""
    where = f"{row.where}, column {name!r}"
    if isinstance(value, Mapping):
        value = value.get("pos", [value.get("start"), value.get("end")])
    if isinstance(value, (list, tuple)) and len(value) == 3 and isinstance(value[2], (list, tuple)):
        indices = value[2][0] if value[2] and isinstance(value[2][0], (list, tuple)) else []
    elif isinstance(value, (list, tuple)) and len(value) == 2 and all(type(place) is int for place in value):
        indices = list(range(value[0], value[1]))
    else:
        raise DataError(f"{where}: {value!r} is no entity; expected [name, id, [[indices]]] or [start, end] of tokens")
    whole = indices and all(type(place) is int for place in indices)
    if not whole or list(indices) != list(range(indices[0], indices[0] + len(indices))):
        raise DataError(f"{where}: {value!r} does not name tokens one after another")
    if not 0 <= indices[0] <= indices[-1] < count:
        raise DataError(f"{where}: {value!r} names tokens that are not there; the row has {count}, counted from 0")
    return indices[0], indices[-1]


def _characters(row: Row, name: str, value: Any, text: str) -> Span:
    """[start, end], {start, end} or OpenNRE's {pos: [start, end]} in characters."""
    if isinstance(value, Mapping):
        value = value.get("pos", [value.get("start"), value.get("end")])
    if not isinstance(value, (list, tuple)) or [type(place) for place in value] != [int, int]:
        raise DataError(f"{row.where}, column {name!r}: {value!r} is no entity; expected [start, end] in characters")
    return _within(row, name, (value[0], value[1]), text, repr(value))


def _within(row: Row, name: str, span: Span, text: str, shown: str) -> Span:
    start, end = span
    if not 0 <= start < end <= len(text) or not text[start:end].strip():
        raise DataError(
            f"{row.where}, column {name!r}: {shown} holds no text; expected a span within characters 0 to {len(text)}"
        )
    return span
