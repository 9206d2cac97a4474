"""Runs as tables: coloured on a terminal, plain columns elsewhere. Imports rich."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adaptune.history.found import Found, named
from adaptune.show import print_table

if TYPE_CHECKING:
    from adaptune.history.cleaning import Removal
    from adaptune.history.difference import Change, Difference, Paired
    from adaptune.history.repeat import Repeated

STYLES = {"finished": "green", "running": "cyan", "failed": "red", "interrupted": "yellow", "unfinished": "yellow"}
DIGEST = 64
"""Hexadecimal digits of a SHA-256, of which the first 12 are shown."""


def print_runs(runs: Sequence[Found], folder: Path, *, of: int) -> None:
    """One run a line, those of a group indented below it; `of`: how many were found."""
    if not runs:
        typer.echo(f"no run in {folder}" if not of else f"none of the {of:,} runs in {folder} fits")
        return
    head = ("run", "state", "task", "method", "model", "test", "valid", "begun", "took", "")
    inside = {run.path for run in runs}
    _print([head, *(_row(run, folder, indented=run.group in inside) for run in runs)], state=1)


def _row(run: Found, folder: Path, *, indented: bool) -> Sequence[str]:
    name = named(run.path, folder)
    if indented and run.group is not None:
        name = f"  {run.path.relative_to(run.group).as_posix()}"
    scores = run.metric is not None and run.kind == "run"
    return (
        name,
        run.state,
        run.task if run.approach in ("", "finetune") else f"{run.task} ({run.approach})",
        run.method,
        run.model.rstrip("/").rpartition("/")[2],
        _score(run.test, run) if scores else "",
        _short(run.valid.get(str(run.metric))) if scores else "",
        _when(run.begun),
        _took(run.seconds),
        _note(run),
    )


def _score(scores: Mapping[str, float], run: Found) -> str:
    if run.metric is None or run.metric not in scores:
        return ""
    ends = run.interval
    between = f" ({ends['low']:.3f} to {ends['high']:.3f})" if ends and ends["metric"] == run.metric else ""
    return f"{run.metric} {scores[run.metric]:.4f}{between}"


def _short(score: float | None) -> str:
    return "" if score is None else f"{score:.4f}"


def _when(begun: datetime) -> str:
    return begun.astimezone(None).strftime("%Y-%m-%d %H:%M")


def _took(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 36_000 else f"{seconds / 3600:.1f} h"


def _note(run: Found) -> str:
    if run.state in ("running", "interrupted") and run.steps is not None:
        return f"step {run.steps:,}" + (f", {run.note}" if run.note else "")
    return run.note


def print_difference(found: Difference) -> None:
    """Section by section; one in which nothing differs says so."""
    first, second = str(found.first), str(found.second)
    for title, changes in (("recipe", found.recipe), ("data", found.data), ("environment", found.environment)):
        if not changes:
            typer.echo(f"{title}: the same\n")
            continue
        _print([(title, first, second), *(_change(change) for change in changes)])
        typer.echo()
    rows = [
        (f"{score.part} {score.metric}", _short(score.first), _short(score.second), _gap(score.first, score.second))
        for score in found.scores
    ]
    if rows:
        _print([("scores", first, second, "difference"), *rows])
        for change in found.intervals:
            typer.echo(f"{change.name}: {_value(change.first)}, {_value(change.second)}")
        typer.echo()
    for line in [*(_said(one) for one in found.paired), *(f"no paired difference: {why}" for why in found.unpaired)]:
        typer.echo(line)


def _said(one: Paired) -> str:
    verdict = "beyond chance" if one.distinct else "which chance explains, too"
    return (
        f"{one.metric} on the same {one.rows:,} test rows, second less first: {one.difference:+.4f}, {one.level:.0%} "
        f"interval {one.low:+.4f} to {one.high:+.4f}, {verdict}; {one.differ:,} rows are answered differently"
    )


def _change(change: Change) -> Sequence[str]:
    return (change.name, _value(change.first), _value(change.second))


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, str) and len(value) == DIGEST and value.isalnum():
        return f"{value[:12]}…"
    return str(value)


def _gap(first: float | None, second: float | None) -> str:
    return "" if first is None or second is None else f"{second - first:+.4f}"


def print_removals(found: Sequence[Removal], folder: Path) -> None:
    """What would go, run by run, and how much that is."""
    if not found:
        typer.echo(f"nothing to remove in {folder}")
        return
    rows = [(named(one.run, folder), one.what, f"{one.bytes / 1e6:,.1f} MB") for one in found]
    _print([("run", "what goes", "size"), *rows])
    typer.echo(f"{len(found):,} in all, {sum(one.bytes for one in found) / 1e6:,.1f} MB")


def print_repeated(found: Repeated, within: float) -> None:
    """What is the same and what is not, and then whether it counts as the same."""
    if found.task is not None:
        typer.echo(f"task {found.task}:")
    rows = [(score.name, _short(score.first), _short(score.second), _exactly(score.gap)) for score in found.scores]
    _print([("scores", "then", "now", "difference"), *rows])
    for one in found.answers:
        typer.echo(
            f"answers: {one.differ:,} of {one.rows:,} test rows differ; probabilities by at most {one.probability:.2g}"
        )
    if not found.answers:
        typer.echo("answers: not compared, since no predictions were kept")
    if found.weights is None:
        typer.echo("weights: not compared, since the run's bundle is no longer there")
    elif found.weights.identical:
        typer.echo("weights: the same, bit for bit")
    else:
        typer.echo(f"weights: the largest difference is {found.weights.largest:.2g}, in {found.weights.tensor}")
    how = "every score and every answer is the same" if within == 0 else f"every score is the same within {within:g}"
    verdict = f"reproduced: {how}" if found.reproduces(within) else f"NOT reproduced: not {how}"
    typer.echo(f"{verdict} ({found.second})")


def _exactly(gap: float) -> str:
    return "none" if gap == 0 else f"{gap:.2g}"


def _print(rows: Sequence[Sequence[str]], *, state: int | None = None) -> None:
    """The first row is the head; `state`: in which column words have a colour."""
    console = Console(highlight=False)
    if not console.is_terminal:
        print_table(rows)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows[1:]:
        cells = [Text(cell, style=STYLES.get(cell, "") if place == state else "") for place, cell in enumerate(row)]
        table.add_row(*cells)
    console.print(table)
