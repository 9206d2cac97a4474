"""What the command line prints of results: aligned columns of plain text. Imports nothing heavy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from adaptune.core.phrases import calibration_lines

if TYPE_CHECKING:
    from adaptune.bundle.manifest import Manifest
    from adaptune.compare.values import Comparison, Row, Tuning
    from adaptune.core.types import Scores
    from adaptune.labels.curve_values import Budget
    from adaptune.labels.mistrust import Doubt, Mistrusted
    from adaptune.labels.selftrain import SelfTraining
    from adaptune.labels.suggesting import Suggested


_PARTS = (("validation", "valid"), ("test", "test"))


def print_report(report: Mapping[str, Any]) -> None:
    """What a run came to, beside its baselines; of several tasks one after another."""
    if "tasks" not in report:
        _print_task(report)
        return
    for name, task in report["tasks"].items():
        typer.echo(f"task {name}:")
        _print_task(task)
        typer.echo()
    means = [(part, f"{report[key]['mean']:.4f}") for part, key in _PARTS if "mean" in report.get(key, {})]
    if means:
        print_table([("mean over tasks", ""), *means])


def _print_task(report: Mapping[str, Any]) -> None:
    metric, ends = report["metric"], report["interval"]
    rows = [(f"baseline: {name}", f"{scores[metric]:.4f}") for name, scores in report["baseline"].items()]
    parts = [(name, report[key]) for name, key in _PARTS if metric in report[key]]
    rows += [(name, f"{scores[metric]:.4f}") for name, scores in parts]
    print_table([("", metric), *rows])
    if (calibration := report.get("calibration")) is not None:
        for line in calibration_lines(calibration):
            typer.echo(line)
    if ends is not None:
        typer.echo(f"test {ends['metric']}, {ends['level']:.0%} interval: {ends['low']:.4f} to {ends['high']:.4f}")
    if (gain := report.get("gain")) is not None:
        typer.echo(f"gain over the unadapted model, {gain['level']:.0%}: {gain['low']:.4f} to {gain['high']:.4f}")


def print_scores(scores: Scores) -> None:
    """Every metric, and what the task measures of each class."""
    print_table([(name, f"{value:.4f}") for name, value in scores.values.items()])
    if scores.per_class:
        names = list(next(iter(scores.per_class.values())))
        rows = [(kind, *(f"{row[name]:.4g}" for name in names)) for kind, row in scores.per_class.items()]
        typer.echo()
        print_table([("", *names), *rows])


def print_splits(scores: Mapping[str, Scores]) -> None:
    """Every metric of several score sets, one a row, by its name."""
    if scores:
        metrics = list(next(iter(scores.values())).values)
        rows = [(name, *(f"{found.values[metric]:.4f}" for metric in metrics)) for name, found in scores.items()]
        print_table([("", *metrics), *rows])


def print_comparison(found: Comparison) -> None:
    """Candidates, the best first, with baselines among them; then the verdict."""
    level = f"{found.level:.0%} interval"
    head = ("", f"test {found.metric}", level, "best in", "seeds", "trained", "seconds", "MB", "")
    rows = [(-(row.score or -1.0), _candidate_row(row, found.watched)) for row in found.candidates]
    rows += [
        (
            -one.score,
            (f"baseline: {one.name}", f"{one.score:.4f}", _ends(one.interval), f"{one.best_in:.0%}", *[""] * 5),
        )
        for one in found.baselines
    ]
    print_table([head, *(cells for _, cells in sorted(rows, key=lambda pair: pair[0]))])
    for text in [*found.notes, "", *(found.verdict.english if found.verdict else ("No candidate came to its end.",))]:
        typer.echo(text)


def _candidate_row(row: Row, watched: str) -> Sequence[str]:
    bounds = _ends(row.interval) if row.interval else ""
    best_in = "" if row.best_in is None else f"{row.best_in:.0%}"
    done = sum(run.finished for run in row.runs)
    why: str = "" if row.status == "compared" else row.status
    if row.error is not None:
        why = f"{row.status}: {row.error.splitlines()[0]}"
    elif row.status == "stopped" and row.valid is not None:
        when = f"stopped in round {row.rounds}" if row.rounds else "not the best of those without steps"
        why = f"{when}, validation {watched} {row.valid:.4f}"
    return (
        row.name,
        "" if row.score is None else f"{row.score:.4f}",
        bounds,
        best_in,
        str(done) if done else "",
        f"{row.trained:,}" if row.trained else "",
        "" if row.seconds is None else f"{row.seconds:,.0f}",
        f"{row.bytes / 1e6:,.1f}" if row.bytes else "",
        why,
    )


def _ends(interval: Any) -> str:
    return f"{interval.low:.4f} to {interval.high:.4f}"


def print_budget(found: Budget) -> None:
    """Score against labels, and what more of them would bring."""
    head = ("shots", "labels", f"{found.part} {found.metric}", f"{found.level:.0%} interval", "draws", "seconds", "")
    rows = [
        (
            "all" if point.shots is None else str(point.shots),
            f"{point.labels:,.0f}",
            "" if point.score is None else f"{point.score:.4f}",
            "" if point.interval is None else _ends(point.interval),
            str(point.draws),
            "" if point.seconds is None else f"{point.seconds:,.1f}",
            point.why,
        )
        for point in found.points
    ]
    print_table([head, *rows])
    typer.echo("")
    for text in (*found.notes, _expected(found)):
        typer.echo(text)


def _expected(found: Budget) -> str:
    estimate = found.estimate
    if estimate.gain is None or estimate.interval is None:
        return f"what {estimate.more} more labels would bring cannot be said: {estimate.refused}"
    low, high = (100 * end for end in (estimate.interval.low, estimate.interval.high))
    return (
        f"{estimate.more} more labels, after {estimate.labels:,}: {100 * estimate.gain:+.2f} points of {found.metric} "
        f"({found.level:.0%} interval {low:+.2f} to {high:+.2f}), if they are drawn as these were and the power law "
        "through the scores holds"
    )


def print_suggested(found: Suggested) -> None:
    """How many rows were chosen, of which, and what is predicted for them."""
    typer.echo(
        f"{len(found.rows):,} of {found.pool:,} rows; {found.labelled:,} were labelled already and {found.repeated:,} "
        "repeated, and left out"
    )
    if found.predicted:
        some = list(found.predicted.items())[:12]
        more = f", and {len(found.predicted) - 12} more" if len(found.predicted) > 12 else ""
        typer.echo("predicted: " + ", ".join(f"{label} {count:,}" for label, count in some) + more)


def print_tuning(found: Tuning) -> None:
    """The best trials, what mattered, and the settings to paste."""
    rows = [
        (str(trial.number), trial.state, "" if trial.score is None else f"{trial.score:.4f}", " ".join(trial.overrides))
        for trial in found.trials[:8]
    ]
    print_table([("trial", "", f"validation {found.watched}", "settings"), *rows])
    if found.importances:
        print_table([("", ""), *((name, f"{share:.0%} of what varies") for name, share in found.importances.items())])
    if found.best is not None:
        typer.echo(f"\nadaptune train {found.recipe} {' '.join(found.overrides)}")


WIDEST = 60
"""Characters of a text in a table."""


def print_mistrusted(found: Mistrusted, *, most: int) -> None:
    """The labels to look at again, as many as are asked for, then how much of each class can be trusted."""
    of_words = any(doubt.word is not None for doubt in found.doubts)
    what = f"{found.items:,} words in {found.rows:,} rows" if of_words else f"{found.rows:,} rows"
    if not found.doubts:
        typer.echo(f"of {what} none has a label to mistrust")
        return
    print_table(
        [
            ("row", "text", "label", "suggested", "probability", "given", "nearly the same text"),
            *map(_doubt_row, found.doubts[:most]),
        ]
    )
    shares = [share for share in found.shares if share.mistrusted]
    typer.echo(f"\n{len(found.doubts):,} of {what} to look at again; by label as given:")
    rows = [(share.label, f"{share.mistrusted:,} of {share.count:,}", f"{share.trusted:.1%}") for share in shares]
    print_table([("", "contradicted", "trusted"), *rows[:most]])


def _doubt_row(doubt: Doubt) -> Sequence[str]:
    text = doubt.text if len(doubt.text) <= WIDEST else f"{doubt.text[: WIDEST - 4]} ..."
    word = "" if doubt.word is None else f", word {doubt.word + 1}"
    twin = doubt.twin and f"{doubt.twin.where}: {_label(doubt.twin.label)}"
    return (
        f"{doubt.example.row.where}{word}",
        text,
        _label(doubt.label),
        "" if doubt.suggested is None else _label(doubt.suggested),
        "" if doubt.suggested is None else f"{doubt.confidence:.3f}",
        f"{doubt.quality:.3f}",
        twin or "",
    )


def _label(label: Any) -> str:
    return label if isinstance(label, str) else ", ".join(label) or "none"


def print_selftraining(found: SelfTraining) -> None:
    """What each round added and scored, and which of them was best."""
    rows = [
        (
            f"{one.number}{' (best)' * (one.number == found.best.number)}",
            f"{sum(one.added.values()):,} of {found.pool:,}",
            ", ".join(f"{label} {count:,}" for label, count in list(one.added.items())[:8])
            + (", ..." if len(one.added) > 8 else ""),
            f"{one.score:.4f}",
        )
        for one in found.rounds
    ]
    print_table([("round", "rows of the pool", "by label", f"validation {found.metric}"), *rows])
    typer.echo(f"Ended: {found.ended}. {found.verdict}")


def print_manifest(manifest: Manifest) -> None:
    """What a bundle is of."""
    several, base = manifest.names, manifest.base
    rows = [] if several else _task_rows(manifest)
    rows.append(("method", json.dumps(manifest.method)))
    rows += [] if several else _head_rows(manifest)
    rows += [
        ("base", f"{base.name} ({base.family}, weights {base.fingerprint[:16]})"),
        ("longest input", f"{manifest.preprocessing.max_length} tokens"),
        ("started from", ", ".join(ancestor.name for ancestor in manifest.lineage) or "the base model"),
        ("made", f"{manifest.created} by adaptune {manifest.adaptune}"),
    ]
    rows += _score_rows(manifest)
    print_table(rows)
    for name in several:
        alone = manifest.alone(name)
        typer.echo(f"\ntask {name}:")
        print_table([*_task_rows(alone), *_head_rows(alone), *_score_rows(alone)])


def _task_rows(manifest: Manifest) -> list[tuple[str, str]]:
    part = manifest.part
    some = ", ".join(part.labels[:12]) + (", ..." if len(part.labels) > 12 else "")
    return [
        ("task", json.dumps(part.task)),
        *([("labels", f"{len(part.labels)}: {some}")] if part.labels else []),
        ("columns", ", ".join(f"{name}: {there}" for name, there in manifest.columns.items())),
    ]


def _head_rows(manifest: Manifest) -> list[tuple[str, str]]:
    part = manifest.part
    approach = [] if part.approach is None else [("approach", json.dumps(part.approach, ensure_ascii=False))]
    return [("head", json.dumps(part.head)), *approach]


def _score_rows(manifest: Manifest) -> list[tuple[str, str]]:
    scores = [
        (f"{split} scores", ", ".join(f"{name} {value:.4f}" for name, value in measured.values.items()))
        for split, measured in manifest.scores.items()
    ]
    calibration = None if manifest.names else manifest.part.calibration
    lines = calibration_lines(calibration.model_dump(mode="json")) if calibration else []
    return [*scores, *(("calibration" if not place else "", line) for place, line in enumerate(lines))]


def print_table(rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their widest cells, two spaces apart."""
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
