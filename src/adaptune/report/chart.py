"""Drawings as SVG that stands in a page and takes its colours from the page's style sheet. Knows no run and no words.

Written directly: matplotlib takes more than a second to be imported and to draw a page's plots, and sets no Chinese
without a font of its own; a browser has fonts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol
from unicodedata import east_asian_width

from markupsafe import Markup, escape

Point = tuple[float, float]

COLOURS = 8
"""That the style sheet tells apart, `.c0` and so on."""
LETTER = 11.5
"""Size of the drawings' letters."""
LEFT, RIGHT, TOP, BOTTOM = 56.0, 14.0, 26.0, 40.0
"""Room around a plot."""
ROW = 24.0
"""Height of a row of intervals."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a plot."""

    name: str
    shown: Callable[[float], str]
    """A value in letters."""
    log: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def __call__(self, value: float) -> float:
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = math.log(max(value, 1e-300)) if self.log else value
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values from end to end."""
        if not self.log:
            step = nice_step(self.high - self.low)
            first = math.ceil(self.low / step - 1e-9)
            return [step * number for number in range(first, math.floor(self.high / step + 1e-9) + 1)]
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for factors in ((1,), (1, 3), (1, 2, 5)):
            found = [factor * 10.0**power for power in powers for factor in factors]
            within = [one for one in found if self.low * 0.999 <= one <= self.high * 1.001]
            if len(within) >= 3:
                break
        return within


@dataclass(frozen=True, slots=True)
class Frame:
    """The two scales of a plot."""

    across: Scale
    up: Scale

    def place(self, point: Point) -> Point:
        """Where a point lies."""
        return self.across(point[0]), self.up(point[1])


class Layer(Protocol):
    """Something that is drawn in a plot."""

    @property
    def extent(self) -> Sequence[Point]:
        """What the axes must hold."""
        ...

    def draw(self, frame: Frame) -> Iterator[str]:
        """Its elements."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """Points that follow each other."""

    name: str
    points: Sequence[Point]
    colour: int = 0
    dots: bool = False
    faint: bool = False

    @property
    def extent(self) -> Sequence[Point]:
        return self.points

    def draw(self, frame: Frame) -> Iterator[str]:
        places = [frame.place(point) for point in self.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        faint = " faint" if self.faint else ""
        yield f'<polyline class="line c{self.colour % COLOURS}{faint}" points="{path}"/>'
        if self.dots:
            for x, y in places:
                yield f'<circle class="dot c{self.colour % COLOURS}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'


@dataclass(frozen=True, slots=True)
class Dots:
    """Points each by itself."""

    points: Sequence[Point]
    colour: int = 0
    sizes: Sequence[float] = ()
    """Radii; none: all alike."""
    says: Sequence[str] = ()
    """What each says when it is pointed at."""

    @property
    def extent(self) -> Sequence[Point]:
        return self.points

    def draw(self, frame: Frame) -> Iterator[str]:
        for number, point in enumerate(self.points):
            x, y = frame.place(point)
            radius = self.sizes[number] if self.sizes else 2.2
            said = f"<title>{escape(self.says[number])}</title>" if self.says else ""
            yield (
                f'<circle class="blob c{self.colour % COLOURS}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
                f"{said}</circle>"
            )


@dataclass(frozen=True, slots=True)
class Named:
    """A point with its name beside it and, perhaps, an interval upwards and downwards."""

    name: str
    at: Point
    ends: tuple[float, float] | None = None
    colour: int = 0
    says: str = ""
    above: bool = True
    """On which side the name stands."""

    @property
    def extent(self) -> Sequence[Point]:
        return [self.at, *((self.at[0], end) for end in self.ends or ())]

    def draw(self, frame: Frame) -> Iterator[str]:
        x, y = frame.place(self.at)
        tone = f"c{self.colour % COLOURS}"
        if self.ends is not None:
            low, high = map(frame.up, self.ends)
            yield f'<line class="line {tone}" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
        says = f"<title>{escape(self.says)}</title>"
        yield f'<circle class="dot {tone}" cx="{x:.1f}" cy="{y:.1f}" r="4.5">{says}</circle>'
        right = x + width(self.name) + 12 > frame.across.end
        side, anchor = (x - 8, "end") if right else (x + 8, "start")
        down = -6 if self.above else 14
        yield _text("name", side, y + down, self.name, anchor=anchor)


@dataclass(frozen=True, slots=True)
class Level:
    """A value all the way across, with its name."""

    name: str
    value: float

    @property
    def extent(self) -> Sequence[Point]:
        return ()

    def draw(self, frame: Frame) -> Iterator[str]:
        y, start, end = frame.up(self.value), frame.across.start, frame.across.end
        yield f'<line class="level" x1="{start:.1f}" x2="{end:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text("quiet", end, y - 4, self.name, anchor="end")


@dataclass(frozen=True, slots=True)
class Diagonal:
    """Where both values are the same."""

    @property
    def extent(self) -> Sequence[Point]:
        return ()

    def draw(self, frame: Frame) -> Iterator[str]:
        low, high = max(frame.across.low, frame.up.low), min(frame.across.high, frame.up.high)
        (x1, y1), (x2, y2) = frame.place((low, low)), frame.place((high, high))
        yield f'<line class="level" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def plot(layers: Sequence[Layer], across: Axis, up: Axis, *, size: Point = (460.0, 250.0)) -> Markup:
    """Layers above each other in one frame; lines that have names are listed above it."""
    points = [point for layer in layers for point in layer.extent]
    names = [(one.name, one.colour) for one in layers if isinstance(one, Line) and one.name]
    lines = list(_legend(names, size[0])) if len(names) > 1 else []
    size, top = (size[0], size[1] + 18 * len(lines)), TOP + 18 * len(lines)
    frame = Frame(
        _scale(across, [x for x, _ in points], LEFT, size[0] - RIGHT),
        _scale(up, [y for _, y in points], size[1] - BOTTOM, top),
    )
    parts = [
        *lines,
        _text("axis", 0, top - 11, up.name),
        *_axes(frame, across, up),
        *(part for layer in layers for part in layer.draw(frame)),
    ]
    return _svg(parts, size, up.name)


@dataclass(frozen=True, slots=True)
class Bar:
    """A value by its name, perhaps with an interval."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    colour: int = 0
    said: str = ""
    """The value in letters."""


def intervals(bars: Sequence[Bar], axis: Axis, *, zero: bool = False) -> Markup:
    """One row a value: a dot, its interval, and both in letters; `zero`: with a line there."""
    wide = 900.0
    left = min(300.0, max((width(bar.name) for bar in bars), default=0.0) + 14)
    right = max((width(bar.said) for bar in bars), default=0.0) + 14
    ends = [end for bar in bars for end in (bar.value, bar.low, bar.high) if end is not None]
    scale = _scale(axis, [*ends, 0.0] if zero else ends, left, wide - right)
    bottom = ROW * len(bars) + 6
    parts = list(_ticks_below(scale, axis, 4.0, bottom))
    if zero:
        parts.append(f'<line class="zero" x1="{scale(0):.1f}" x2="{scale(0):.1f}" y1="2" y2="{bottom:.1f}"/>')
    for number, bar in enumerate(bars):
        y, tone = ROW * (number + 0.5) + 4, f"c{bar.colour % COLOURS}"
        parts.append(_text("name", left - 12, y + 4, bar.name, anchor="end", room=left - 12))
        if bar.low is not None and bar.high is not None:
            span = f'x1="{scale(bar.low):.1f}" x2="{scale(bar.high):.1f}" y1="{y:.1f}" y2="{y:.1f}"'
            parts.append(f'<line class="span {tone}" {span}/>')
        parts.append(f'<circle class="dot {tone}" cx="{scale(bar.value):.1f}" cy="{y:.1f}" r="4.2"/>')
        parts.append(_text("said", wide, y + 4, bar.said, anchor="end"))
    return _svg(parts, (wide, bottom + (34 if axis.name else 20)), axis.name)


def columns(bars: Sequence[Bar], axis: Axis) -> Markup:
    """One column a value, from zero up, its name below."""
    size = (460.0, 230.0)
    scale = _scale(axis, [0.0, *(bar.value for bar in bars)], size[1] - BOTTOM, TOP + 8)
    room = (size[0] - LEFT - RIGHT) / max(1, len(bars))
    parts = list(_ticks_left(scale, axis, LEFT, size[0] - RIGHT))
    for number, bar in enumerate(bars):
        middle, top = LEFT + room * (number + 0.5), scale(bar.value)
        box = f'x="{middle - room * 0.36:.1f}" y="{top:.1f}" width="{room * 0.72:.1f}"'
        parts.append(f'<rect class="column c{bar.colour % COLOURS}" {box} height="{scale(0) - top:.1f}"/>')
        parts.append(_text("said", middle, top - 4, bar.said, anchor="middle"))
        parts.append(_text("name", middle, size[1] - BOTTOM + 16, bar.name, anchor="middle", room=room - 4))
    return _svg(parts, size, axis.name)


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most so many means of neighbours, in their order."""
    if len(points) <= most:
        return list(points)
    edges = [round(number * len(points) / most) for number in range(most + 1)]
    parts = (points[start:end] for start, end in pairwise(edges))
    return [(_mean(x for x, _ in part), _mean(y for _, y in part)) for part in parts]


def nice_step(spread: float, about: int = 5) -> float:
    """The round step that gives about so many."""
    rough = spread / about
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)


def width(text: str) -> float:
    """About how wide letters are."""
    return sum(LETTER if east_asian_width(letter) in "WF" else 0.56 * LETTER for letter in text)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _scale(axis: Axis, values: Sequence[float], start: float, end: float) -> Scale:
    """Around all values, with a little room where the axis names no end."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if axis.log:
        low, high = max(low, 1e-12), max(high, 1e-12)
        return Scale(low / 1.5, high * 1.5, start, end, log=True)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    low = axis.low if axis.low is not None else low - room
    high = axis.high if axis.high is not None else high + room
    return Scale(low, high if high > low else low + 1.0, start, end, log=False)


def _axes(frame: Frame, across: Axis, up: Axis) -> Iterator[str]:
    yield from _ticks_left(frame.up, up, frame.across.start, frame.across.end)
    yield from _ticks_below(frame.across, across, frame.up.end, frame.up.start)


def _ticks_left(scale: Scale, axis: Axis, start: float, end: float) -> Iterator[str]:
    for tick in scale.ticks():
        y = scale(tick)
        yield f'<line class="grid" x1="{start:.1f}" x2="{end:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text("tick", start - 7, y + 3.8, axis.shown(tick), anchor="end")


def _ticks_below(scale: Scale, axis: Axis, top: float, bottom: float) -> Iterator[str]:
    for tick in scale.ticks():
        x = scale(tick)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
        yield _text("tick", x, bottom + 15, axis.shown(tick), anchor="middle")
    if axis.name:
        middle = (scale.start + scale.end) / 2
        yield _text("axis", middle, bottom + 32, axis.name, anchor="middle")


def _legend(names: Sequence[tuple[str, int]], room: float) -> Iterator[str]:
    """As many lines as it takes, each one element."""
    x, parts, number = LEFT, list[str](), 0
    for name, colour in names:
        wide = width(name) + 30
        if parts and x + wide > room:
            yield f"<g>{''.join(parts)}</g>"
            x, parts, number = LEFT, [], number + 1
        y = 10 + 18 * number
        parts.append(
            f'<rect class="column c{colour % COLOURS}" x="{x:.1f}" y="{y - 6:.1f}" width="12" height="4" rx="2"/>'
        )
        parts.append(_text("name", x + 17, y, name))
        x += wide
    yield f"<g>{''.join(parts)}</g>"


def _text(kind: str, x: float, y: float, text: str, *, anchor: str = "start", room: float = math.inf) -> str:
    """Letters, or as many of them as have room, all when they are pointed at."""
    shown = text
    while len(shown) > 1 and width(shown) > room:
        shown = shown[:-2].rstrip() + "…"
    whole = "" if shown == text else f"<title>{escape(text)}</title>"
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {where}>{escape(shown)}{whole}</text>'


def _svg(parts: Iterable[str], size: Point, label: str) -> Markup:
    head = f'<svg viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" role="img" aria-label="{escape(label)}">'
    return Markup("\n".join([head, *parts, "</svg>"]))
