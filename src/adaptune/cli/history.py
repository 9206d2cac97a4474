"""`adaptune runs`: what earlier runs came to, how two differ, what can go. Imports nothing heavy, and never torch."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from adaptune.cli.options import seconds_in

runs = typer.Typer(
    help="List earlier runs, compare two, clean up after them.", no_args_is_help=True, rich_markup_mode=None
)
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that holds runs, at any depth; else runs/.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]


@runs.command(name="list")
def list_runs(
    folder: Folder = Path("runs"),
    task: Annotated[str | None, typer.Option(help="Of this task alone.")] = None,
    method: Annotated[str | None, typer.Option(help="With this method alone.")] = None,
    model: Annotated[str | None, typer.Option(help="On models with this in their name.")] = None,
    since: Annotated[str | None, typer.Option(help="Begun since: 2026-11-26, or so long ago: 12h, 7d.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help="'accuracy>0.9', 'valid.f1>=0.8', 'state=failed', 'method.rank=16'."),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(help="A score, name, seconds, or a recipe's key; else the newest first.")
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a run.")] = False,
) -> None:
    """List runs with what they came to; those of a comparison stand below it.

    \b
    adaptune runs list
    adaptune runs list runs --task classify --where "accuracy>0.9" --sort accuracy
    adaptune runs list --since 7d --where state=failed --json
    """
    from adaptune.cli.listed import print_runs
    from adaptune.history.choosing import Asked, chosen, condition, ordered
    from adaptune.history.found import find

    conditions = tuple(condition(text) for text in where or ())
    asked = Asked(task, method, model, None if since is None else _time(since), conditions)
    found = find(folder)
    shown = ordered(chosen(found, asked), sort, reverse=reverse)
    if as_json:
        for run in shown:
            typer.echo(json.dumps(run.record(folder), ensure_ascii=False))
    else:
        print_runs(shown, folder, of=len(found))


@runs.command()
def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="A run's folder.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another's.")],
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
) -> None:
    """Say what differs between two runs: recipe, data, scores and what their difference is worth, versions.

    \b
    adaptune runs diff runs/recipe runs/bitfit
    """
    from adaptune.cli.listed import print_difference
    from adaptune.history.difference import difference

    found = difference(first, second)
    if as_json:
        typer.echo(json.dumps(found.record(), ensure_ascii=False, indent=2))
    else:
        print_difference(found)


@runs.command()
def clean(
    folder: Folder = Path("runs"),
    older: Annotated[
        str | None, typer.Option(help="Also runs without an end in which nothing was written for so long: 7d.")
    ] = None,
    bundles: Annotated[bool, typer.Option("--bundles", help="Also bundles (with --older: as old as that).")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and ask nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove it without asking.")] = False,
) -> None:
    """Remove what is no longer needed: checkpoints of finished runs, old runs without an end. Asks before it does.

    \b
    adaptune runs clean --dry-run
    adaptune runs clean runs --older 7d --yes
    """
    from adaptune.cli.listed import print_removals
    from adaptune.history.cleaning import removals, remove

    age = None if older is None else timedelta(seconds=seconds_in(older, "--older"))
    found = removals(folder, older=age, bundles=bundles)
    print_removals(found, folder)
    if not found or dry_run:
        return
    if not yes and not typer.confirm("Remove them?"):
        typer.echo("nothing was removed")
        return
    freed = sum(map(remove, found))
    typer.echo(f"freed {freed / 1e6:,.1f} MB")


def _time(text: str) -> datetime:
    """A day, a time, or so long ago."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC) - timedelta(seconds=seconds_in(text, "--since"))
    return found.astimezone(UTC)


def reproduce(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option(help="The new run's folder; else RUN-again.")] = None,
    within: Annotated[float, typer.Option(min=0, help="How much a score may differ; 0: nothing, nor an answer.")] = 0.0,
    anyway: Annotated[bool, typer.Option("--anyway", help="Also with other data or another base model.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What came of it as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notices.")] = False,
) -> None:
    """Repeat a finished run from what its folder keeps, and say whether it comes out the same. Ends with 1 where not.

    Refused where a data file or the base model is not the one that the run read; other versions are warned of.

    \b
    adaptune reproduce runs/recipe
    adaptune reproduce runs/recipe --out runs/second --within 0.01
    """
    from adaptune.core.log import silence
    from adaptune.core.run_folder import read_record
    from adaptune.history.original import finished_at, original

    if quiet:
        silence()
    folder = finished_at(run.absolute())
    where = Path(read_record(folder.environment).get("directory") or ".")
    new = (out or run.with_name(f"{run.absolute().name}-again")).absolute()
    # Relative paths of a recipe start where its command ran.
    with contextlib.chdir(where if where.is_dir() else "."):
        found = original(folder, new, anyway=anyway)
        # PyTorch is imported only after this, so that no other file waits for it.
        from adaptune.history.repeat import repeat

        repeated = repeat(found)
    if as_json:
        typer.echo(json.dumps([one.record(within) for one in repeated], indent=2))
    else:
        from adaptune.cli.listed import print_repeated

        for one in repeated:
            print_repeated(one, within)
    if not all(one.reproduces(within) for one in repeated):
        raise typer.Exit(1)
