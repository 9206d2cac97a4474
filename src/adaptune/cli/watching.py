"""The verbs that look at rules, histories and feedback. No logic; imports nothing heavy before one runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adaptune.cli.options import seconds_in

if TYPE_CHECKING:
    from adaptune.bundle.reference import Reference

watch = typer.Typer(help="Check alert rules, and try them on what happened.", no_args_is_help=True)
feedback = typer.Typer(help="Use the corrections that a server was sent.", no_args_is_help=True)

Rules = Annotated[Path, typer.Argument(metavar="RULES", help="A YAML file.")]
Url = Annotated[str, typer.Argument(metavar="URL", help="As the server was given it with --store.")]
Out = Annotated[Path | None, typer.Option(help="Write here instead of printing.")]


@watch.command()
def check(rules: Rules) -> None:
    """Say what is wrong with rules, or how each reads. Ends with 2 on errors.

    \b
    adaptune watch check rules.yaml
    """
    from adaptune.serve.watch.durations import as_text
    from adaptune.serve.watch.rules import read_rules
    from adaptune.show import print_table

    found = read_rules(rules)
    print_table(
        (one.name, one.bundle, one.severity, f"windows {', '.join(map(as_text, sorted(one.windows)))}", one.when)
        for one in found
    )


@watch.command()
def backtest(
    rules: Rules,
    history: Annotated[Path, typer.Argument(metavar="HISTORY", help="JSON lines, sorted by time.")],
    bundles: Annotated[Path | None, typer.Option(help="A folder of bundles, to compare with their references.")] = None,
    every: Annotated[str, typer.Option(help="How often the rules are looked at; a server does it every 5s.")] = "5s",
    out: Out = None,
) -> None:
    """Print the alerts that would have come, one line of JSON each.

    \b
    adaptune watch backtest rules.yaml history.jsonl
    adaptune watch backtest rules.yaml history.jsonl --bundles bundles --every 1m
    """
    from adaptune.core.log import notice, warn
    from adaptune.serve.watch.backtest import backtest as replay
    from adaptune.serve.watch.backtest import read_history, unseen
    from adaptune.serve.watch.rules import read_rules

    found, seconds = read_rules(rules), seconds_in(every, "--every")
    for rule, value in unseen(found):
        warn(f"rule {rule.name!r} looks at {value}, which a history does not hold: it is not known here")
    references = {} if bundles is None else _references(bundles)
    alerts = [
        alert.model_dump(mode="json") for alert in replay(found, read_history(history), references, every=seconds)
    ]
    _write(alerts, out)
    notice(f"{len(alerts)} alerts")


@watch.command()
def history(
    url: Url,
    bundle: Annotated[str | None, typer.Option(help="Of this one alone.")] = None,
    out: Out = None,
) -> None:
    """Give the remembered predictions as a history for `adaptune watch backtest`.

    \b
    adaptune watch history sqlite:///feedback.db --bundle reviews --out history.jsonl
    """
    from adaptune.serve.export import history_of

    _write(history_of(url, bundle), out)


@feedback.command(name="export")
def export_feedback(
    url: Url,
    bundle: Annotated[str, typer.Option(help="Whose corrections.")],
    task: Annotated[str | None, typer.Option(help="Which task of a bundle of several.")] = None,
    out: Out = None,
) -> None:
    """Give corrections as training rows, under the column names of the bundle's own training files.

    Of several corrections of one row the last counts.

    \b
    adaptune feedback export sqlite:///feedback.db --bundle reviews --out rows.jsonl
    """
    from adaptune.serve.export import rows_of

    _write(rows_of(url, bundle, task), out)


def _references(bundles: Path) -> Mapping[tuple[str, str | None], Reference]:
    """Reads no tensors, but waits for PyTorch."""
    from adaptune.serve.references import references_below

    return references_below(bundles)


def _write(records: Iterable[Mapping[str, Any]], out: Path | None) -> None:
    from adaptune.core.files import json_line, write_json_lines

    if out is not None:
        write_json_lines(out, records)
        return
    for record in records:
        typer.echo(json_line(record), nl=False)
