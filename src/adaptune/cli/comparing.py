"""`adaptune compare` and `tune`: which method, and which settings of it. Import nothing heavy before they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adaptune.cli.options import seconds_in
from adaptune.cli.reporting import add_report
from adaptune.show import print_comparison, print_tuning

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file, as for training.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values by path.")]
Task = Annotated[str | None, typer.Option(help="Of which task, where the recipe has several.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notices.")]
Budget = Annotated[str, typer.Option(help="How long it may take, about: 90s, 15m, 1h.")]


def compare(
    recipe: RecipeFile,
    overrides: Overrides = None,
    candidates: Annotated[
        str,
        typer.Option(
            help="Methods, approaches or both, with commas between, each with settings where these differ: "
            "lora(rank=16),contrast,cloze+lora."
        ),
    ] = "lora,adapter,prefix,bitfit,full,head_only",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each candidate that stays to the end.")] = 3,
    budget: Budget = "15m",
    out: Annotated[Path | None, typer.Option(help="The folder; else the recipe's with -compare behind it.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on, or add candidates; finished runs stay.")] = False,
    task: Task = None,
    quiet: Quiet = False,
) -> None:
    """Compare methods and approaches on a recipe's data and say which to use, and how sure that is.

    \b
    adaptune compare recipe.yaml --candidates lora,adapter,bitfit,head_only --seeds 3 --budget 15m
    adaptune compare recipe.yaml --candidates "lora(rank=4),lora(rank=32),full" --out runs/ranks
    adaptune compare recipe.yaml --candidates "lora,contrast,prototype" data.shots=8 --out runs/few
    """
    from adaptune.compare.candidates import parse_candidates
    from adaptune.core.log import silence
    from adaptune.prepare import prepare
    from adaptune.recipe import load_recipe

    if quiet:
        silence()
    given = load_recipe(recipe, overrides or (), task=task)
    asked = parse_candidates(candidates, given)
    from adaptune.compare.settle import settled

    whole = settled(given, out)
    prepared = prepare(whole)
    # PyTorch is imported only after these, so that no mistake in recipe, candidates or data waits for it.
    from adaptune.compare.comparing import compare as run

    limit = seconds_in(budget, "--budget")
    found = run(whole, prepared, asked, seeds=seeds, budget=limit, resume=resume)
    print_comparison(found)
    add_report(whole.out)
    typer.echo(f"comparison: {whole.out / 'comparison.json'}")
    if found.bundle is not None:
        typer.echo(f"bundle: {whole.out / found.bundle}")


def tune(
    recipe: RecipeFile,
    overrides: Overrides = None,
    trials: Annotated[int, typer.Option(min=1, help="Settings that are tried.")] = 20,
    budget: Budget = "15m",
    workers: Annotated[int, typer.Option(min=1, help="Processes that try settings at once.")] = 1,
    out: Annotated[Path | None, typer.Option(help="The folder; else the recipe's with -tune behind it.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a search.")] = False,
    task: Task = None,
    quiet: Quiet = False,
) -> None:
    """Search learning rate and settings of a recipe's method, by validation rows; test rows are not read.

    \b
    adaptune tune recipe.yaml --trials 20 --budget 15m
    adaptune tune recipe.yaml method=adapter --workers 2 --out runs/adapter-tune
    """
    from adaptune.core.log import silence
    from adaptune.prepare import prepare
    from adaptune.recipe import load_recipe

    if quiet:
        silence()
    given = load_recipe(recipe, overrides or (), task=task)
    prepared = prepare(given)
    from adaptune.compare.tuning import Asked
    from adaptune.compare.tuning import tune as run

    limit = seconds_in(budget, "--budget")
    folder = out or given.out.with_name(f"{given.out.name}-tune")
    asked = Asked(str(recipe), tuple(overrides or ()), task, folder, trials=trials, budget=limit, workers=workers)
    print_tuning(run(asked, prepared, resume=resume))
    typer.echo(f"search: {folder / 'tuning.json'}")
