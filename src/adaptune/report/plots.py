"""Plots of measurements as PNG and SVG files. Knows no run, no task and no metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from adaptune.core.errors import MissingExtra
from adaptune.core.lazy import matplotlib, matplotlib_figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart with every kind of colour vision (Okabe and Ito, 2008)."""
STYLES = ("-", "--", "-.", ":")
FORMATS = ("png", "svg")


@dataclass(frozen=True, slots=True)
class Curve:
    """A score over time."""

    name: str
    seconds: Sequence[float]
    scores: Sequence[float]
    colour: int = 0
    """Which of the colours; curves of one system share theirs."""
    style: int = 0
    """Which kind of line."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A score with so many labels."""

    labels: float
    score: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """A curve through scores, and where it would go."""

    score: Callable[[float], float]
    """Of a number of labels."""
    first: float
    last: float
    """Between these numbers of labels there are scores."""
    to: float
    """As far as it is drawn."""
    ends: tuple[float, float]
    """The interval there."""


def draw_bars(path: Path, title: str, unit: str, bars: Mapping[str, Sequence[float]]) -> list[Path]:
    """A bar for the median of each name's values, with their least and greatest; the first name on top."""
    figure, axes = _paper(max(1.6, 0.42 * len(bars) + 0.9))
    names = list(bars)
    for place, name in enumerate(names):
        values = bars[name]
        middle = median(values)
        spread = [[middle - min(values)], [max(values) - middle]]
        colour = COLOURS[place % len(COLOURS)]
        axes.barh(place, middle, xerr=spread, color=colour, alpha=0.85, height=0.62, capsize=3)
        axes.annotate(f" {middle:,.0f}", (max(values), place), va="center", fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    axes.set_title(title)
    return _saved(figure, path)


def draw_curves(path: Path, title: str, score: str, curves: Sequence[Curve], mark: float | None = None) -> list[Path]:
    """Scores over seconds; `mark`: a score that is reached where a curve crosses a level line."""
    figure, axes = _paper(3.6)
    for curve in curves:
        axes.plot(
            curve.seconds,
            curve.scores,
            STYLES[curve.style % len(STYLES)],
            color=COLOURS[curve.colour % len(COLOURS)],
            marker="o",
            markersize=3,
            label=curve.name,
        )
    if mark is not None:
        axes.axhline(mark, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds since the process was started")
    axes.set_ylabel(score)
    axes.set_title(title)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return _saved(figure, path)


def draw_labels(
    path: Path, title: str, score: str, measured: Sequence[Measured], expected: Expected | None = None
) -> list[Path]:
    """Scores over numbers of labels, each twice as far as the half of it."""
    figure, axes = _paper(3.6)
    for one in measured:
        if one.interval is not None:
            axes.plot([one.labels] * 2, one.interval, color=COLOURS[0], linewidth=1.2, alpha=0.6)
    axes.plot(
        [one.labels for one in measured], [one.score for one in measured], color=COLOURS[0], marker="o", markersize=4
    )
    if expected is not None:
        steps = [expected.first * (expected.to / expected.first) ** (place / 60) for place in range(61)]
        axes.plot(steps, [expected.score(step) for step in steps], "--", color=COLOURS[1], label="power law")
        axes.plot([expected.to] * 2, expected.ends, color=COLOURS[1], linewidth=1.2)
        axes.axvline(expected.last, color="grey", linewidth=0.8, linestyle=":")
        axes.legend(fontsize=7, loc="lower right", frameon=False)
    axes.set_xscale("symlog", linthresh=1, base=2)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("labelled rows")
    axes.set_ylabel(score)
    axes.set_title(title)
    return _saved(figure, path)


def _paper(height: float) -> tuple[Any, Any]:
    """An empty figure of so many inches, which no window shows, and its axes."""
    try:
        figure = matplotlib_figure.Figure(figsize=(7.2, height), layout="constrained")
    except ImportError:
        raise MissingExtra("matplotlib", "report", "drawing plots") from None
    axes = figure.subplots()
    axes.grid(visible=True, axis="both", linewidth=0.4, alpha=0.5)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _saved(figure: Any, path: Path) -> list[Path]:
    """The files of a figure; the same figure gives the same bytes again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [path.with_name(f"{path.name}.{kind}") for kind in FORMATS]
    with matplotlib.rc_context({"svg.hashsalt": path.name, "svg.fonttype": "path"}):
        for file in files:
            metadata = {"Date": None} if file.suffix == ".svg" else {"Software": None}
            figure.savefig(file, dpi=150, metadata=metadata)
    return files
