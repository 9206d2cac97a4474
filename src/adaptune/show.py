"""What the command line prints of results: aligned columns of plain text. Imports nothing heavy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from adaptune.bundle.manifest import Manifest
    from adaptune.core.types import Scores


def print_report(report: Mapping[str, Any]) -> None:
    """What a run came to, beside its baselines."""
    metric, ends = report["metric"], report["interval"]
    rows = [(f"baseline: {name}", f"{scores[metric]:.4f}") for name, scores in report["baseline"].items()]
    parts = [(name, report[key]) for name, key in (("validation", "valid"), ("test", "test")) if metric in report[key]]
    rows += [(name, f"{scores[metric]:.4f}") for name, scores in parts]
    print_table([("", metric), *rows])
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


def print_manifest(manifest: Manifest) -> None:
    """What a bundle is of."""
    part, base = manifest.part, manifest.base
    some = ", ".join(part.labels[:12]) + (", ..." if len(part.labels) > 12 else "")
    rows = [
        ("task", json.dumps(part.task)),
        *([("labels", f"{len(part.labels)}: {some}")] if part.labels else []),
        ("columns", ", ".join(f"{name}: {there}" for name, there in manifest.columns.items())),
        ("method", json.dumps(manifest.method)),
        ("head", json.dumps(part.head)),
        ("base", f"{base.name} ({base.family}, weights {base.fingerprint[:16]})"),
        ("longest input", f"{manifest.preprocessing.max_length} tokens"),
        ("started from", ", ".join(ancestor.name for ancestor in manifest.lineage) or "the base model"),
        ("made", f"{manifest.created} by adaptune {manifest.adaptune}"),
    ]
    for split, measured in manifest.scores.items():
        rows.append((f"{split} scores", ", ".join(f"{name} {value:.4f}" for name, value in measured.values.items())))
    print_table(rows)


def print_table(rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their widest cells, two spaces apart."""
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
