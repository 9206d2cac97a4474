"""How a training went, drawn: its loss, and its score on validation rows over steps and seconds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from adaptune.report.chart import Axis, Line, Point, plot, thinned
from adaptune.report.document import Beside, Block, Paragraph, Picture
from adaptune.report.read import RunFiles
from adaptune.report.words import Words

MOST_POINTS = 240
"""Of a curve; more are drawn as means of neighbours."""
OTHER = frozenset(("step", "epoch", "seconds", "gained"))
"""Of an evaluation's record what is no score."""


def learning(files: RunFiles, words: Words) -> list[Block]:
    """Pictures of what there is; empty where nothing was logged."""
    metric = watched_of(files)
    pictures = [
        picture
        for over in ("step", "seconds")
        for picture in (*_loss(files, words, over), *(_scores(files, words, metric, over) if metric else ()))
    ]
    if not pictures:
        return []
    blocks: list[Block] = [Beside(pictures)]
    training = files.report.get("training") or {}
    if files.report and training.get("best_step") == 0 and training.get("steps"):
        blocks.append(Paragraph(words("learning.warm_is_best"), "warn"))
    return blocks


def watched_of(files: RunFiles) -> str | None:
    """What decides which weights are best, a name among the scores; None where nothing was evaluated."""
    names = [name for name in (files.scores[0] if files.scores else {}) if name not in OTHER]
    given = files.report.get("metric") or files.section("train").get("metric")
    if given in names:
        return str(given)
    return names[0] if names else None


def curve_of(files: RunFiles, metric: str, over: str) -> list[Point]:
    """A score over steps or seconds."""
    found = files.scores
    return [(float(one[over]), float(one[metric])) for one in found if metric in one and over in one]


def _loss(files: RunFiles, words: Words, over: str) -> Iterator[Picture]:
    steps = [one for one in files.steps if "loss" in one]
    if len(steps) < 2:
        return
    across = [float(one["step"]) for one in steps]
    if over == "seconds":
        across = list(accumulate(float(one["seconds"]) for one in steps))
    points: list[Point] = list(zip(across, (float(one["loss"]) for one in steps), strict=True))
    axes = Axis(words(f"learning.{over}"), _whole), Axis(words("learning.loss"), lambda value: f"{value:.3g}")
    drawn = plot([Line("", thinned(points, MOST_POINTS))], *axes)
    caption = words("learning.thinned", count=f"{len(steps):,}") if len(steps) > MOST_POINTS else ""
    yield Picture(drawn, words(f"learning.loss_over_{over}"), caption)


def _scores(files: RunFiles, words: Words, metric: str, over: str) -> Iterator[Picture]:
    points = curve_of(files, metric, over)
    if len(points) < 2:
        return
    up = Axis(words.name("metric", metric), lambda value: words.tick(metric, value))
    title = words(f"learning.over_{over}", metric=words.name("metric", metric))
    yield Picture(plot([Line("", points, dots=True)], Axis(words(f"learning.{over}"), _whole), up), title)


def _whole(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"
