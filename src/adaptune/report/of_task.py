"""What a run's files say of one task: scores beside baselines, classes, lengths, confusions, calibration, errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from adaptune.core.errors import AdaptuneError
from adaptune.core.task import Task
from adaptune.report.chart import Axis, Bar, Diagonal, Dots, Line, intervals, plot
from adaptune.report.document import Beside, Block, Cell, Examples, Grid, Heading, Paragraph, Picture, Section, Table
from adaptune.report.kinds import picture_of
from adaptune.report.measures import by_length, f1_intervals, wilson
from adaptune.report.read import Record, RunFiles
from adaptune.report.shown import shown_rows
from adaptune.report.words import Words, capital
from adaptune.tasks import TASKS

CHARTED, GRIDDED, CONFUSIONS = 24, 14, 15
"""Classes that are drawn, classes that a grid of confusions has, and confusions that are listed where it has none."""
OPEN = 10
"""Errors that are shown before the others are asked for."""
LEVEL = 0.95
"""Where a run says none."""


@dataclass(frozen=True)
class OfTask:
    """One task of a run."""

    files: RunFiles
    words: Words
    report: Record
    """Its part of report.json."""
    name: str | None = None
    """Where there are several."""
    within: str | None = None
    """The same where the files hold several tasks, each under its name."""

    @cached_property
    def settings(self) -> Record:
        """Its section of the recipe."""
        section: Any = self.files.section("task")
        if self.within is not None:
            of = (self.files.settings.get("tasks") or {}).get(self.within) or {}
            section = of.get("task") or {} if isinstance(of, Mapping) else {}
        return {"name": section} if isinstance(section, str) else section

    @property
    def kind(self) -> str:
        """The task's name in a recipe."""
        return str(self.report.get("task") or self.settings.get("name") or "")

    @cached_property
    def task(self) -> Task | None:
        """The task itself; None where this version does not know it."""
        try:
            return TASKS.make({**self.settings, "name": self.kind})
        except (AdaptuneError, ValidationError):
            return None

    @property
    def metric(self) -> str:
        """What it is judged by on test rows."""
        given = self.report.get("interval") or {}
        own = self.task.metric if self.task else ""
        return str(given.get("metric") or own or self.report.get("metric") or "score")

    @property
    def test(self) -> Mapping[str, float]:
        """Scores on test rows; empty where there are none."""
        return self.report.get("test") or {}

    @property
    def level(self) -> float:
        """Of intervals."""
        return float((self.report.get("interval") or {}).get("level", LEVEL))

    @property
    def baselines(self) -> list[tuple[str, float]]:
        """Scores on test rows, the best first."""
        found = (self.report.get("baseline") or {}).items()
        of = [(name, scores[self.metric]) for name, scores in found if self.metric in scores]
        return sorted(of, key=lambda pair: -pair[1])

    @property
    def test_rows(self) -> int:
        """How many there are."""
        return int((self.report.get("examples") or {}).get("test", 0))

    def score(self, value: float) -> str:
        """A score of its metric in letters."""
        return self.words.score(self.metric, value)

    def tick(self, value: float) -> str:
        """The same beside an axis."""
        return self.words.tick(self.metric, value)


def sections_of(of: OfTask) -> Iterator[Section]:
    """All that is measured of one task; what was not measured is left out."""
    words, behind = of.words, f"-{of.name}" if of.name else ""
    parts = (
        ("scores", list(_scores(of))),
        ("classes", list(_classes(of))),
        ("confusion", list(_confusion(of))),
        ("calibration", list(_calibration(of))),
        ("errors", list(_errors(of))),
    )
    for key, blocks in parts:
        if blocks:
            title = _title(of, key)
            title = title if of.name is None else words("of_task", title=title, name=of.name)
            yield Section(f"{key}{behind}", title, blocks)


def _title(of: OfTask, key: str) -> str:
    if key != "classes":
        return of.words(f"{key}.title")
    return of.words.of_kind("classes.title", of.kind) if of.report.get("per_class") else of.words("lengths.title")


def _scores(of: OfTask) -> Iterator[Block]:
    words, ends, metric = of.words, of.report.get("interval"), of.metric
    if metric in of.test:
        own = of.test[metric]
        said = of.score(own) + (f"  {words.ends(metric, ends['low'], ends['high'])}" if ends else "")
        low, high = (ends["low"], ends["high"]) if ends else (None, None)
        bars = [Bar(words("scores.own"), own, low, high, 0, said)]
        bars += [
            Bar(words.name("baseline", name), value, colour=7, said=of.score(value)) for name, value in of.baselines
        ]
        bars.sort(key=lambda bar: -bar.value)
        name = words("scores.axis", metric=words.name("metric", metric))
        yield Picture(intervals(bars, Axis(name, of.tick)), words("scores.picture", level=f"{of.level:.0%}"))
    parts = {part: of.report.get(part) or {} for part in ("valid", "test")}
    parts |= {words.name("baseline", name): scores for name, scores in (of.report.get("baseline") or {}).items()}
    names = list(dict.fromkeys(name for scores in parts.values() for name in scores))
    names.sort(key=lambda name: name != metric)
    rows = [
        [words.name("part", part), *(words.score(name, scores[name]) if name in scores else "–" for name in names)]
        for part, scores in parts.items()
        if scores
    ]
    if rows:
        yield Table(
            [words("scores.rows"), *(capital(words.name("metric", name)) for name in names)],
            rows,
            words("scores.valid"),
        )
    picture = picture_of(of.kind, of.files.predictions(of.within), _counts(of), words)
    if picture is not None:
        yield picture


def _counts(of: OfTask) -> list[list[float]]:
    return of.files.counts if of.within is None else []


def _classes(of: OfTask) -> Iterator[Block]:
    words, found = of.words, of.report.get("per_class") or {}
    rows = [(name, row) for name, row in found.items() if row.get("support")]
    if rows:
        ends = _class_ends(of, found)
        weakest = sorted(rows, key=lambda pair: pair[1].get("f1", 0.0))[:CHARTED]
        weakest.sort(key=lambda pair: -pair[1].get("f1", 0.0))
        bars = [_class_bar(of, name, row, ends[name]) for name, row in weakest]
        caption = words("classes.weakest", shown=len(bars), all=len(rows)) if len(bars) < len(rows) else ""
        what = "f1" if of.report.get("confusion", {}).get("counts") else "recall"
        axis = Axis(words.name("metric", what), lambda value: words.tick("f1", value), low=0.0, high=1.0)
        yield Picture(intervals(bars, axis), words(f"classes.{what}", level=f"{of.level:.0%}"), caption)
        names = [name for name in ("precision", "recall", "f1") if all(name in row for _, row in rows)]
        head = [
            words("classes.class"),
            *(capital(words.name("metric", name)) for name in names),
            words("classes.support"),
        ]
        table = [
            [name, *(words.score(key, row[key]) for key in names), f"{row['support']:,.0f}"]
            for name, row in sorted(rows, key=lambda pair: -pair[1]["support"])
        ]
        yield Table(head, table, folded=words("classes.all", count=len(rows)))
    yield from _lengths(of)


def _class_ends(of: OfTask, found: Record) -> dict[str, tuple[float, float]]:
    """Of each class the interval of F1 where the confusions are known, else of recall."""
    confusion = of.report.get("confusion") or {}
    if confusion.get("counts"):
        return dict(zip(confusion["classes"], f1_intervals(confusion["counts"], of.level), strict=True))
    return {
        name: wilson(row["recall"], row["support"], of.level)
        for name, row in found.items()
        if row.get("support") and "recall" in row
    }


def _class_bar(of: OfTask, name: str, row: Record, ends: tuple[float, float]) -> Bar:
    value = row["f1"] if (of.report.get("confusion") or {}).get("counts") else row["recall"]
    said = of.words("classes.said", score=of.words.score("f1", value), rows=f"{row['support']:,.0f}")
    return Bar(name, value, *ends, colour=0, said=said)


def _lengths(of: OfTask) -> Iterator[Block]:
    """Scores of short and long texts."""
    counts, words = _counts(of), of.words
    characters = [record.get("characters") for record in of.files.predictions(of.within)] if counts else []
    lengths = [one for one in characters if isinstance(one, int)]
    if of.task is None or not counts or len(lengths) != len(counts):
        return
    try:
        buckets = by_length(counts, lengths, of.task.metric_of, of.level)
    except (IndexError, ValueError):  # written by a version that counts otherwise
        return
    bars = [
        Bar(
            words("lengths.bucket", shortest=f"{one.shortest:,}", longest=f"{one.longest:,}"),
            one.score,
            *one.ends,
            colour=0,
            said=words("classes.said", score=of.score(one.score), rows=f"{one.rows:,}"),
        )
        for one in buckets
    ]
    if bars:
        if of.report.get("per_class"):
            yield Heading(words("lengths.title"))
        axis = Axis(words.name("metric", of.metric), of.tick)
        yield Picture(
            intervals(bars, axis), words("lengths.picture", level=f"{of.level:.0%}"), words("lengths.caption")
        )


def _confusion(of: OfTask) -> Iterator[Block]:
    words, found = of.words, of.report.get("confusion") or {}
    classes, counts = found.get("classes") or [], found.get("counts") or []
    if len(classes) < 2:
        return
    if len(classes) <= GRIDDED:
        rows = [
            [_grid_cell(of, classes, place, number, row) for number in range(len(classes))]
            for place, row in enumerate(counts)
        ]
        yield Grid(classes, rows, words("confusion.grid"), words("confusion.predicted"), words("confusion.expected"))
        return
    pairs = [
        (count, row, column)
        for row, of_row in enumerate(counts)
        for column, count in enumerate(of_row)
        if count and row != column
    ]
    worst = sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))[:CONFUSIONS]
    if worst:
        head = [words(f"confusion.{name}") for name in ("expected", "predicted", "rows", "share")]
        table = [
            [classes[row], classes[column], f"{count:,}", f"{100 * count / sum(counts[row]):.0f}%"]
            for count, row, column in worst
        ]
        yield Table(head, table, words("confusion.largest", shown=len(worst), all=len(pairs)), words=2)


def _grid_cell(of: OfTask, classes: Sequence[str], row: int, column: int, counts: Sequence[int]) -> Cell:
    count, total = counts[column], sum(counts)
    said = of.words("confusion.cell", count=count, total=total, expected=classes[row], predicted=classes[column])
    share = count / total if total else 0.0
    return Cell(f"{count:,}" if count else "", "good" if row == column else "bad", share, said)


def _calibration(of: OfTask) -> Iterator[Block]:
    words, bins = of.words, of.report.get("reliability") or {}
    calibration = of.report.get("calibration") or {}
    measured = (calibration.get("measured") or {}).get("test") or {}
    if bins.get("before"):
        layers: list[Any] = [Diagonal()]
        for colour, when in ((7, "before"), (0, "after")):
            if found := bins.get(when):
                points = [(one["probability"], one["right"]) for one in found]
                most = max(one["items"] for one in found)
                sizes = [1.8 + 6 * (one["items"] / most) ** 0.5 for one in found]
                said = [words("calibration.bin", items=f"{one['items']:,}") for one in found]
                layers += [Line(words(f"calibration.{when}"), points, colour), Dots(points, colour, sizes, said)]
        axes = [
            Axis(words(f"calibration.{name}"), lambda value: f"{100 * value:.0f}%", low=0.0, high=1.0)
            for name in ("probability", "right")
        ]
        picture = Picture(
            plot(layers, axes[0], axes[1], size=(460.0, 300.0)),
            words("calibration.picture"),
            words("calibration.caption"),
        )
        yield Beside([picture])
    if measured:
        yield Table(
            ["", words("calibration.before"), words("calibration.after")],
            [
                [words(f"calibration.{name}"), f"{measured[f'{name}_before']:.4f}", f"{measured[name]:.4f}"]
                for name in ("ece", "brier")
                if name in measured and f"{name}_before" in measured
            ],
            words("calibration.temperature", temperature=f"{calibration.get('temperature', 1.0):.3g}"),
        )
    elif bins.get("before"):
        yield Paragraph(words("calibration.none"), "soft")


def _errors(of: OfTask) -> Iterator[Block]:
    rows = shown_rows(of.files.errors(of.within), of.words)
    if rows:
        yield Paragraph(of.words("errors.about", count=len(rows)), "soft")
        yield Examples(rows[:OPEN])
        if len(rows) > OPEN:
            yield Examples(rows[OPEN:], of.words("errors.more", count=len(rows) - OPEN))
