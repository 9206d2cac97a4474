"""One picture more for tasks whose answers are no labels: numbers, places of a ranking, written texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard

from adaptune.report.chart import Axis, Bar, Diagonal, Dots, Point, columns, plot
from adaptune.report.document import Beside, Picture
from adaptune.report.read import Record
from adaptune.report.words import Words

MOST_DOTS = 1500
"""Rows that a scatter shows, spread evenly over more."""
PLACES = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 10), (11, 100))
"""Ranges of places that are counted together."""

Rows = Sequence[Record]
Counts = Sequence[Sequence[float]]


def picture_of(kind: str, predictions: Rows, counts: Counts, words: Words) -> Beside | None:
    """What a task of this kind has beside scores; None where it has nothing, or its rows are not kept."""
    found = PICTURES[kind](predictions, counts, words) if kind in PICTURES else None
    return None if found is None else Beside([found])


def _numbers(predictions: Rows, _: Counts, words: Words) -> Picture | None:
    """Each row's number beside the one that was predicted."""
    pairs = [(one.get("expected"), one.get("predicted")) for one in predictions]
    points: list[Point] = [(float(x), float(y)) for x, y in pairs if _is_number(x) and _is_number(y)]
    if not points:
        return None
    step = max(1, len(points) // MOST_DOTS)
    axes = [Axis(words(f"numbers.{name}"), lambda value: f"{value:g}") for name in ("expected", "predicted")]
    drawn = plot([Diagonal(), Dots(points[::step])], axes[0], axes[1], size=(460.0, 320.0))
    return Picture(drawn, words("numbers.picture"), words("numbers.caption"))


def _places(_: Rows, counts: Counts, words: Words) -> Picture | None:
    """At which place the first right text stands, by its reciprocal."""
    if not counts:
        return None
    places = [round(1 / row[0]) if row[0] > 0 else None for row in counts]
    bars = []
    for low, high in PLACES:
        share = sum(place is not None and low <= place <= high for place in places) / len(places)
        name = str(low) if low == high else f"{low}–{high}"
        bars.append(Bar(name, share, said=f"{100 * share:.0f}%"))
    beyond = sum(place is None or place > PLACES[-1][1] for place in places) / len(places)
    bars.append(Bar(words("places.beyond"), beyond, colour=7, said=f"{100 * beyond:.0f}%"))
    return Picture(columns(bars, _share_axis(words)), words("places.picture"), words("places.caption"))


def _parts_right(_: Rows, counts: Counts, words: Words) -> Picture | None:
    """How many answers are right in which part, by their F1."""
    if not counts:
        return None
    scores = [row[0] for row in counts]
    edges = ((-1.0, 0.0), (0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 0.9999), (0.9999, 2.0))
    names = ["0%", "<25%", "<50%", "<75%", "<100%", "100%"]
    shares = [sum(low < score <= high for score in scores) / len(scores) for low, high in edges]
    bars = [Bar(name, share, said=f"{100 * share:.0f}%") for name, share in zip(names, shares, strict=True)]
    return Picture(columns(bars, _share_axis(words)), words("parts.picture"), words("parts.caption"))


def _texts(predictions: Rows, _: Counts, words: Words) -> Picture | None:
    """How long the written texts are beside those that were expected."""
    pairs = [(_first(one.get("expected")), one.get("predicted")) for one in predictions]
    points: list[Point] = [(len(x), len(y)) for x, y in pairs if isinstance(x, str) and isinstance(y, str)]
    if not points:
        return None
    step = max(1, len(points) // MOST_DOTS)
    axes = [Axis(words(f"texts.{name}"), lambda value: f"{value:,.0f}", low=0.0) for name in ("expected", "predicted")]
    drawn = plot([Diagonal(), Dots(points[::step])], axes[0], axes[1], size=(460.0, 320.0))
    return Picture(drawn, words("texts.picture"), words("texts.caption"))


def _share_axis(words: Words) -> Axis:
    return Axis(words("share_of_rows"), lambda value: f"{100 * value:.0f}%", low=0.0)


def _first(value: object) -> object:
    return value[0] if isinstance(value, list) and value else value


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


PICTURES: Mapping[str, Callable[[Rows, Counts, Words], Picture | None]] = {
    "regress": _numbers,
    "match": _numbers,
    "rank": _places,
    "answer": _parts_right,
    "write": _texts,
    "translate": _texts,
    "summarise": _texts,
    "chat": _texts,
}
