"""brat's stand-off files: spans and relations in an .ann file, counted in the characters of the .txt file beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from adaptune.data.table import Record, Table, shown
from adaptune.data.text import lines_of

TEXT, ANNOTATIONS = ".txt", ".ann"
_SPAN = re.compile(r"(\S+) (\d+ \d+(?:;\d+ \d+)*)")
_RELATION = re.compile(r"(\S+) \S+:(\S+) \S+:(\S+)")


def pair_of(path: Path) -> tuple[Path, Path] | None:
    """The .txt and the .ann file of one document, by the name of either; None where the other is missing."""
    text, annotations = path.with_suffix(TEXT), path.with_suffix(ANNOTATIONS)
    return (text, annotations) if path in (text, annotations) and text.is_file() and annotations.is_file() else None


def is_brat(path: Path) -> bool:
    """Whether this is an .ann file, or a .txt file beside one."""
    return path.suffix == ANNOTATIONS or pair_of(path) is not None


def documents_in(files: list[str]) -> list[str]:
    """These files without the .txt of those whose .ann is among them."""
    known = set(files)
    return [file for file in files if not (file.endswith(TEXT) and file.removesuffix(TEXT) + ANNOTATIONS in known)]


def read_brat(text: str, annotations: str, source: str, *, relations: bool) -> Table:
    """One record: the document with its spans; or one a relation, with the spans of both entities.

    Numbers are lines of the .ann file. Attributes, notes, events and normalisations are no part of either.
    """
    document = _Document(text)
    for number, line in enumerate(lines_of(annotations), start=1):
        document.read(number, line)
    if relations:
        return _relations(document, source)
    table = Table(source, ("id", "text", "spans"), [])
    if document.faults:
        for number, reason in document.faults.values():
            table.reject(number, reason)
    else:
        spans = [
            {"start": start, "end": end, "label": kind, "id": name}
            for name, (kind, start, end) in document.entities.items()
        ]
        spans.sort(key=lambda span: (span["start"], span["end"]))
        table.records.append(Record(1, {"id": Path(source).stem, "text": text, "spans": spans}))
    return table


@dataclass(slots=True)
class _Document:
    text: str
    entities: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """By name, `T1`: type, first character, the one after the last."""
    faults: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By the name of an entity that cannot be used: its line, and why."""
    relations: list[tuple[int, str]] = field(default_factory=list)
    """Line and content."""

    def read(self, number: int, line: str) -> None:
        """Take up one line."""
        name, _, rest = line.partition("\t")
        if line.startswith("R"):
            self.relations.append((number, line))
        elif line.startswith("T"):
            try:
                self.entities[name] = self._entity(name, rest, line)
            except ValueError as error:
                self.faults[name] = (number, str(error))

    def _entity(self, name: str, rest: str, line: str) -> tuple[str, int, int]:
        """Raises ValueError with what is wrong."""
        place, _, covered = rest.partition("\t")
        if name in self.entities:
            raise ValueError(f"there is another {name} above; every name stands once")
        found = _SPAN.fullmatch(place)
        if found is None or not covered:
            raise ValueError(f"{shown(line)} is no entity; expected T1, tab, type start end, tab, the text")
        kind, start, end = found[1], *self._span(found[2], line)
        there = self.text[start:end]
        if there.split() != covered.split():
            raise ValueError(f"{shown(line)}: at {start} to {end} the text has {shown(there)}; correct the offsets")
        return kind, start, end

    def _span(self, place: str, line: str) -> tuple[int, int]:
        """brat writes a span over the end of a line as two parts with the end between them. Raises ValueError."""
        parts = [[int(number) for number in part.split()] for part in place.split(";")]
        if not all(start < end <= len(self.text) for start, end in parts):
            raise ValueError(f"{shown(line)}: the text has characters 0 to {len(self.text)}; expected a span within it")
        for (_, end), (start, _) in pairwise(parts):
            if start < end or self.text[end:start].strip():
                raise ValueError(f"{shown(line)} has several parts with text between them, and a span is one")
        return parts[0][0], parts[-1][1]


def _relations(document: _Document, source: str) -> Table:
    table = Table(source, ("id", "document", "text", "head", "tail", "relation"), [])
    for number, line in document.relations:
        name, _, rest = line.partition("\t")
        found = _RELATION.fullmatch(rest.strip())
        if found is None:
            table.reject(number, f"{shown(line)} is no relation; expected R1, tab, type Arg1:T1 Arg2:T2")
            continue
        spans = []
        for entity in (found[2], found[3]):
            if entity in document.entities:
                spans.append(list(document.entities[entity][1:]))
            elif entity in document.faults:
                line_of, reason = document.faults[entity]
                table.reject(number, f"{shown(line)}: {entity} in line {line_of} cannot be used: {reason}")
                break
            else:
                table.reject(number, f"{shown(line)}: there is no entity {entity} in this file; add or correct it")
                break
        else:
            values = {"id": name, "document": Path(source).stem, "text": document.text}
            pair = {"head": spans[0], "tail": spans[1], "relation": found[1]}
            table.records.append(Record(number, values | pair))
    return table
