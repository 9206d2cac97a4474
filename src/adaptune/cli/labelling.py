"""`adaptune curve` and `suggest`: what more labels bring, and which rows to label. Import nothing heavy before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from adaptune.cli.options import (
    Base,
    BundleFolder,
    RemoteCode,
    Settings,
    TaskName,
    examples_of_file,
    loaded_bundle,
    seconds_in,
)
from adaptune.show import print_budget, print_suggested

Pool = Annotated[str, typer.Argument(metavar="POOL", help="A file of unlabelled rows, in any format of training.")]
Choice = Annotated[
    Literal["uncertainty", "coverage", "both"],
    typer.Option(
        help="uncertainty: least sure answers; coverage: rows that stand for many, best while labels are few; both."
    ),
]
Balance = Annotated[bool, typer.Option("--balance", help="Aim at equal shares of predicted labels.")]
Form = Annotated[
    Literal["label-studio", "doccano", "jsonl"], typer.Option("--format", help="What is to import the file.")
]
Known = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", help="Labelled rows, left out; else those of the recipe beside the bundle."),
]


def curve(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file, as for training.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values by path.")] = None,
    shots: Annotated[
        str, typer.Option(help="Labelled rows of each label, with commas between; all: every training row.")
    ] = "1,2,4,8,16,64,all",
    draws: Annotated[int, typer.Option(min=1, help="Different rows drawn for each number, and seeds.")] = 3,
    budget: Annotated[str, typer.Option(help="No run begins that would end later, about: 90s, 15m, 1h.")] = "15m",
    on: Annotated[
        Literal["valid", "test"],
        typer.Option(help="Which rows are scored; valid: test rows stay untouched."),
    ] = "valid",
    out: Annotated[Path | None, typer.Option(help="The folder; else the recipe's with -curve behind it.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on, or add points; finished runs stay.")] = False,
    task: Annotated[str | None, typer.Option(help="Of which task, where the recipe has several.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notices.")] = False,
) -> None:
    """Train on ever more labelled rows and say what the next 100 labels would bring, and how sure that is.

    One run a number of labels and draw, all on one loaded base, fewer rows of a draw among more; then a power law
    through the scores. Writes curve.json, and curve.png with the extra `report`.

    \b
    adaptune curve recipe.yaml --shots 1,2,4,8,16,64,all --draws 3 --budget 15m
    adaptune curve recipe.yaml approach=contrast train.epochs=0 --shots 1,2,4,8 --out runs/contrast-curve
    """
    from adaptune.core.log import silence
    from adaptune.labels.curve_settings import parse_shots, settled
    from adaptune.prepare import prepare
    from adaptune.recipe import load_recipe

    if quiet:
        silence()
    numbers = parse_shots(shots)
    limit = seconds_in(budget, "--budget")
    whole = settled(load_recipe(recipe, overrides or (), task=task), out, on, numbers)
    prepared = prepare(whole)
    # PyTorch is imported only after these, so that no mistake in recipe, numbers or data waits for it.
    from adaptune.labels.budget import Asked
    from adaptune.labels.budget import curve as run

    print_budget(run(whole, prepared, Asked(numbers, draws, limit, on), resume=resume))
    typer.echo(f"curve: {whole.out / 'curve.json'}")


def suggest(
    bundle: BundleFolder,
    pool: Pool,
    out: Annotated[Path, typer.Option(help="The file to write.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many rows.")] = 50,
    by: Choice = "both",
    balance: Balance = False,
    form: Form = "jsonl",
    known: Known = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides where clusters begin.")] = 1,
    task: TaskName = None,
    settings: Settings = None,
    model: Base = None,
    trust_remote_code: RemoteCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notices.")] = False,
) -> None:
    """Choose the rows of a pool to label next, with what the bundle says of each as a first idea for the annotator.

    Rows that are labelled already or repeated are left out and counted. What Label Studio and doccano export is read
    back as training rows without settings.

    \b
    adaptune suggest runs/banking77/bundle pool.jsonl -n 50 --out next.jsonl
    adaptune suggest runs/banking77/bundle pool.jsonl -n 50 --balance --format label-studio --out next.json
    """
    from adaptune.core.log import silence
    from adaptune.labels.known import known_rows

    if quiet:
        silence()
    rows = examples_of_file(bundle, pool, settings, labelled=False, task=task)
    labelled = known_rows(bundle, known or (), settings or (), task=task)
    loaded = loaded_bundle(bundle, model, trust_remote_code).of(task)
    from adaptune.labels.suggesting import Wanted
    from adaptune.labels.suggesting import suggest as run
    from adaptune.labels.tools import form_of, write_suggested

    shape = form_of(loaded, rows, form)
    found = run(loaded, rows, Wanted(count, by, balance, seed), learned=labelled.learned, held=labelled.held)
    write_suggested(found, shape, form, out)
    print_suggested(found)
    if form == "label-studio":
        typer.echo(f"labelling interface of the project:\n{shape.setup()}")
    typer.echo(f"rows to label: {out}")
