"""Score against the number of labels: one run a point on one shared base, then what the next labels would bring."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import adaptune
from adaptune.core.errors import AdaptuneError, Interrupted, MissingExtra
from adaptune.core.files import write_atomically
from adaptune.core.log import notice, warn
from adaptune.core.run_folder import RunDir
from adaptune.data.load import Splits, narrowed
from adaptune.data.shots import few
from adaptune.labels.curve_settings import named
from adaptune.labels.curve_values import Begun, Budget, Part, Point, Scored, Status
from adaptune.labels.extrapolation import estimate, over_draws
from adaptune.models.load import load_backbone
from adaptune.prepare import Prepared, prepared_for
from adaptune.recipe import Recipe
from adaptune.report.plots import Expected, Measured, draw_labels
from adaptune.run import Pantry, cook_on
from adaptune.run.stretches import is_of

PLAN, RESULT, PLOT, RUNS = "plan.json", "curve.json", "curve", "runs"
"""Files of a curve's folder, and the folder of its runs."""
MORE = 100
"""Labels that are asked about."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be measured."""

    shots: Sequence[int | None]
    """Of each label, rising; None: all rows, the last."""
    draws: int
    budget: float
    """Seconds."""
    part: Part = "valid"


@dataclass(frozen=True, slots=True)
class Track:
    """What all points share."""

    recipe: Recipe
    prepared: Prepared
    """With all training rows."""
    pantry: Pantry
    part: Part

    def run(self, shots: int | None, draw: int) -> Recipe:
        """The recipe of one point, which carried out by itself gives the same."""
        recipe, folder = self.recipe, self.folder(shots, draw)
        data = recipe.data if shots is None else recipe.data.model_copy(update={"shots": shots, "draw": draw})
        return recipe.model_copy(update={"data": data, "seed": recipe.seed + draw - 1, "out": folder.path})

    def rows(self, shots: int | None, draw: int) -> Splits:
        """Its rows; those that are not to be scored are left out. Raises DataError where answers are no labels."""
        splits = self.prepared.splits
        if shots is not None:
            splits = narrowed(splits, self.recipe.task, shots, draw)
        return replace(splits, test=()) if self.part == "valid" else splits

    def folder(self, shots: int | None, draw: int) -> RunDir:
        """Of one point."""
        name = f"shots-{named(shots)}" + ("" if shots is None else f"-draw-{draw}")
        return RunDir(self.recipe.out / RUNS / name)


def curve(recipe: Recipe, prepared: Prepared, asked: Asked, *, resume: bool = False) -> Budget:
    """Train on ever more labels, as long as there is time, and say what more would bring.

    `recipe`: as `settled` gives it, and `prepared` is of that; `recipe.out` is the curve's folder. Raises AdaptuneError
    for what the user can mend; what goes wrong with one point is said in its row.
    """
    started = time.monotonic()
    if any(asked.shots):
        few(prepared.splits.train, 1, 1)  # refused now, not when there is a folder
    _open(recipe.out, Begun(fingerprint=prepared.fingerprint, part=asked.part), resume=resume)
    pantry = Pantry(load_backbone(recipe.model, words=recipe.head.reads_words))
    track = Track(recipe, prepared, pantry, asked.part)
    try:
        runs = _measured(track, asked, deadline=started + asked.budget)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped; what is finished is kept in {recipe.out}; give the same command with --resume to go on",
            signal.SIGINT,
        ) from None
    finally:
        pantry.forget()
    found = _gathered(track, asked, runs, seconds=time.monotonic() - started)
    write_atomically(recipe.out / RESULT, found.model_dump_json(indent=2) + "\n")
    try:
        _draw(found, recipe.out / PLOT)
    except MissingExtra as error:
        notice(f"no plot: {error}")
    return found


def _open(out: Path, plan: Begun, *, resume: bool) -> None:
    """The folder of a curve, whose points are all of one recipe and data. Raises AdaptuneError."""
    file = out / PLAN
    if not file.exists():
        if out.exists() and any(out.iterdir()):
            raise AdaptuneError(f"--out: {out} holds other files and no curve; name a new or empty folder")
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(file, plan.model_dump_json(indent=2) + "\n")
    elif not resume:
        raise AdaptuneError(
            f"{out} holds a curve; go on with it, or add points, by --resume, or name another folder: --out"
        )
    elif Begun.model_validate_json(file.read_bytes()) != plan:
        raise AdaptuneError(
            f"{out} holds a curve with another recipe, other data or other scored rows (--on); name another --out"
        )


def _measured(track: Track, asked: Asked, *, deadline: float) -> list[Scored]:
    """The first draw of every number of labels, then the second, and so on.

    No rows and all rows can be drawn in one way alone.
    """
    order = [(shots, draw) for draw in range(1, asked.draws + 1) for shots in asked.shots if shots or draw == 1]
    everything, runs = len(track.prepared.splits.train), dict[tuple[int | None, int], Scored]()
    for place, (shots, draw) in enumerate(order, start=1):
        splits = track.rows(shots, draw)
        if len(splits.train) == everything:
            shots, draw = None, 1  # so many of each label are all
        if (shots, draw) in runs:
            continue
        about = f"{named(shots)} of each label, draw {draw}" if shots is not None else "all rows"
        notice(f"point {place} of {len(order)}: {about}, {len(splits.train):,} labels")
        left = deadline - time.monotonic()
        runs[shots, draw] = _scored(track, (shots, draw), splits, late=_expected(list(runs.values()), shots) > left)
    return list(runs.values())


def _expected(runs: Sequence[Scored], shots: int | None) -> float:
    """Seconds that a point takes, at least: as another draw of it took, else as fewer labels did."""
    known = [(run.shots == shots, run.labels, run.seconds) for run in runs if run.seconds is not None]
    return 0.0 if not known else max(known)[2]


def _scored(track: Track, point: tuple[int | None, int], splits: Splits, *, late: bool) -> Scored:
    """One run; `late`: only if it is finished already."""
    shots, draw = point
    folder, labels = track.folder(shots, draw), len(splits.train)
    beside = folder.path.relative_to(track.recipe.out).as_posix()

    def row(status: Status, **found: Any) -> Scored:
        return Scored(shots=shots, draw=draw, status=status, labels=labels, folder=beside, **found)

    try:
        recipe = track.run(shots, draw)
        prepared = prepared_for(recipe, replace(track.prepared, splits=splits))
        if late and not (folder.state == "finished" and is_of(folder, prepared)):
            return row("out of time")
        cook_on(track.pantry, recipe, prepared)
    except Interrupted:
        raise
    except Exception as error:
        text = str(error) if isinstance(error, AdaptuneError) else f"{type(error).__name__}: {error}"
        warn(f"{named(shots)} of each label, draw {draw}: {text}")
        return row("failed", error=text)
    report = json.loads(folder.report.read_bytes())
    return row("scored", score=report[track.part][recipe.task.metric], seconds=report["seconds"]["train"])


def _gathered(track: Track, asked: Asked, runs: Sequence[Scored], *, seconds: float) -> Budget:
    recipe, level = track.recipe, track.recipe.evaluate.level
    shots = sorted({run.shots for run in runs}, key=lambda one: (one is None, one or 0))
    scored = [run for run in runs if run.score is not None and run.labels]
    scores = [run.score for run in scored if run.score is not None]
    return Budget(
        adaptune=adaptune.__version__,
        task=recipe.task.name,
        model=recipe.model.name,
        method=recipe.method.name,
        metric=recipe.task.metric,
        part=track.part,
        level=level,
        rows={part: len(rows) for part, rows in track.prepared.splits.parts.items()},
        budget=asked.budget,
        seconds=seconds,
        points=tuple(_point([run for run in runs if run.shots == one], level) for one in shots),
        estimate=estimate([run.labels for run in scored], scores, more=MORE, level=level, seed=recipe.seed),
        notes=tuple(_notes(runs, track)),
        runs=tuple(runs),
    )


def _point(runs: Sequence[Scored], level: float) -> Point:
    scores = [run.score for run in runs if run.score is not None]
    seconds = [run.seconds for run in runs if run.seconds is not None]
    others = Counter(run.error or run.status for run in runs if run.status != "scored")
    return Point(
        shots=runs[0].shots,
        labels=fmean(run.labels for run in runs),
        draws=len(scores),
        score=fmean(scores) if scores else None,
        interval=over_draws(scores, level),
        seconds=fmean(seconds) if seconds else None,
        why="; ".join(f"{count} of {len(runs)}: {text.splitlines()[0]}" for text, count in others.items()),
    )


def _notes(runs: Sequence[Scored], track: Track) -> Iterator[str]:
    part = {"valid": "validation", "test": "test"}[track.part]
    rows = len(track.prepared.splits.parts[track.part])
    yield f"scored on {rows:,} {part} rows" + (
        "; these also choose the weights of each run, so that scores are a little high; test rows were not scored"
        if track.part == "valid"
        else ", once a run"
    )
    if late := sum(run.status == "out of time" for run in runs):
        yield f"{late} of {len(runs)} runs were not begun: time was up; --resume with a larger --budget goes on"


def _draw(found: Budget, path: Path) -> None:
    """Raises MissingExtra."""
    measured = [
        Measured(point.labels, point.score, (point.interval.low, point.interval.high) if point.interval else None)
        for point in found.points
        if point.score is not None
    ]
    law, estimate = found.estimate.law, found.estimate
    expected = None
    if law is not None and estimate.gain is not None and estimate.interval is not None:
        fewest, reached = min(one.labels for one in measured if one.labels), law.at(estimate.labels)
        ends = (reached + estimate.interval.low, reached + estimate.interval.high)
        expected = Expected(law.at, max(1.0, fewest), estimate.labels, estimate.labels + estimate.more, ends)
    draw_labels(path, f"{found.method} on {found.model}", f"{found.part} {found.metric}", measured, expected)
