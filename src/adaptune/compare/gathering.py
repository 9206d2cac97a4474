"""Finished runs and baselines become one comparison: scores, intervals, differences, verdict. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import adaptune
from adaptune.compare.running import Entry, Track, counts_of, trained_of
from adaptune.compare.statistics import Compared, Findings, compare_systems
from adaptune.compare.values import Baseline, Comparison, Difference, Interval, Plan, Row, Trained
from adaptune.compare.verdict import verdict_of
from adaptune.core.run_folder import RunDir
from adaptune.core.types import Array
from adaptune.run import Kitchen


@dataclass(frozen=True, slots=True)
class Finished:
    """What a race came to."""

    entries: Mapping[str, Entry]
    seeds: Sequence[int]
    baselines: Mapping[str, list[Any]]
    """Answers for the test rows."""
    plan: Plan
    notes: Sequence[str]


def gather(track: Track, base: Kitchen, found: Finished, *, budget: float, seconds: float) -> Comparison:
    """The comparison of what is in the run folders."""
    recipe, task = track.recipe, track.recipe.task
    expected = [example.expected for example in base.examples("test")]
    runs = {
        name: [counts_of(track.folder(entry.candidate, seed)) for seed in entry.seeds]
        for name, entry in found.entries.items()
        if entry.seeds
    }
    plain = {name: task.counts(answers, expected) for name, answers in found.baselines.items()}
    findings = _findings(task.metric_of, runs, plain, level=recipe.evaluate.level, seed=recipe.seed)
    rows = tuple(sorted((_row(track, base, entry, found, findings) for entry in found.entries.values()), key=_order))
    baselines = tuple(
        _baseline(name, task.score(answers, expected).values, findings) for name, answers in found.baselines.items()
    )
    differences = tuple(map(_difference, findings.pairs))
    verdict = verdict_of(rows, baselines, differences, metric=task.metric, level=recipe.evaluate.level)
    return Comparison(
        adaptune=adaptune.__version__,
        task=task.name,
        model=recipe.model.name,
        metric=task.metric,
        watched=base.metric,
        level=recipe.evaluate.level,
        rows={part: len(examples) for part, examples in track.prepared.splits.parts.items()},
        budget=budget,
        seconds=seconds,
        plan=found.plan,
        notes=tuple(found.notes),
        candidates=rows,
        baselines=baselines,
        differences=differences,
        verdict=verdict,
        bundle="bundle" if verdict else None,
        fingerprint=track.prepared.fingerprint,
    )


def _baseline(name: str, scores: Mapping[str, float], findings: Findings) -> Baseline:
    measured = findings.systems[name]
    interval = Interval(low=measured.low, high=measured.high)
    return Baseline(name=name, score=measured.score, scores=dict(scores), interval=interval, best_in=measured.best_in)


def _difference(pair: Compared) -> Difference:
    return Difference(
        first=pair.first,
        second=pair.second,
        difference=pair.difference,
        interval=Interval(low=pair.low, high=pair.high),
        distinct=pair.distinct,
        error=pair.error,
    )


def _findings(
    metric_of: Any, runs: Mapping[str, Sequence[Array]], plain: Mapping[str, Array], *, level: float, seed: int
) -> Findings:
    if not runs and not plain:
        return Findings({}, ())
    return compare_systems(metric_of, runs, plain, level=level, seed=seed)


def _row(track: Track, base: Kitchen, entry: Entry, found: Finished, findings: Findings) -> Row:
    name, candidate = entry.candidate.name, entry.candidate
    folders = {seed: track.folder(candidate, seed) for seed in found.seeds}
    runs = tuple(
        trained_of(folder, seed, base.metric, track.recipe.out)
        for seed, folder in folders.items()
        if folder.scores.exists() and entry.status not in ("refused",)
    )
    measured = findings.systems.get(name) if entry.seeds else None
    return Row(
        name=name,
        sections=candidate.sections(),
        status=entry.status,
        error=entry.error,
        rounds=entry.rounds,
        valid=runs[0].valid if runs else None,
        score=measured.score if measured else None,
        interval=Interval(low=measured.low, high=measured.high) if measured else None,
        best_in=measured.best_in if measured else None,
        spread=measured.spread if measured else None,
        trained=entry.trained or None,
        total=entry.total or None,
        bytes=_size(folders[entry.seeds[0]]) if entry.seeds else entry.bytes or None,
        seconds=_seconds(runs),
        runs=runs,
    )


def _seconds(runs: Sequence[Trained]) -> float | None:
    of = [run.seconds for run in runs if run.finished] or [run.seconds for run in runs]
    return fmean(of) if of else None


def _size(folder: RunDir) -> int:
    return sum(file.stat().st_size for file in Path(folder.bundle).rglob("*") if file.is_file())


def _order(row: Row) -> tuple[float, int, float]:
    unscored = 1.0 if row.score is None else -row.score
    return (unscored, -row.rounds, 0.0 if row.valid is None else -row.valid)
