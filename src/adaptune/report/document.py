"""What a page is made of: sections of paragraphs, tables, pictures, texts. Knows no run and no HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from markupsafe import Markup

Tone = Literal["", "good", "warn", "bad", "own", "soft"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of a table."""

    text: str
    tone: Tone = ""
    share: float | None = None
    """In [0, 1]: how much of its ground is filled."""
    of: str = ""
    """What is shown when it is pointed at."""
    note: str = ""
    """What stands below it, small."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A few sentences."""

    kind: ClassVar = "paragraph"
    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head."""

    kind: ClassVar = "table"
    head: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    caption: str = ""
    words: int = 1
    """How many of the first columns are words; the others are numbers, set to the right."""
    folded: str = ""
    """What is clicked to open it, on paper always open; empty: it is open."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of coloured counts, a name before each row and above each column."""

    kind: ClassVar = "grid"
    names: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str
    across: str
    down: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing, and what it shows."""

    kind: ClassVar = "picture"
    svg: Markup
    title: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Beside:
    """Pictures side by side, where there is room."""

    kind: ClassVar = "beside"
    pictures: Sequence[Picture]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with values."""

    kind: ClassVar = "facts"
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Code:
    """Text as it is."""

    kind: ClassVar = "code"
    text: str
    title: str = ""
    folded: bool = False
    """Whether it is opened by a click, on paper always."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of a text, perhaps marked."""

    text: str
    mark: str = ""
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Shown:
    """One row with its answer."""

    where: str
    given: Sequence[tuple[str, Sequence[Piece]]]
    """What was read, by the names of its columns."""
    expected: Sequence[Piece]
    predicted: Sequence[Piece]
    probability: str = ""


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows with their answers."""

    kind: ClassVar = "examples"
    rows: Sequence[Shown]
    folded: str = ""
    """What is clicked to open them."""


@dataclass(frozen=True, slots=True)
class Heading:
    """Of a part of a section."""

    kind: ClassVar = "heading"
    text: str


Block = Paragraph | Table | Grid | Picture | Beside | Facts | Code | Examples | Heading


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page with a heading, which the list of contents names."""

    name: str
    """Its address within the page."""
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that matters."""

    name: str
    value: str
    beside: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from all that is below it."""

    tone: Tone
    headline: str
    sentences: Sequence[str] = ()
    figures: Sequence[Figure] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """The whole."""

    kind: str
    """What it is of, in words."""
    title: str
    about: Sequence[str]
    verdict: Verdict
    sections: Sequence[Section]
    made: str
    missing: Sequence[str] = field(default=())
    """What is not there, in sentences."""
