"""`adaptune estimate`: what a recipe would take. Imports nothing heavy before it runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from adaptune.show import print_table


def estimate(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file, as for training.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values by path.")] = None,
    task: Annotated[str | None, typer.Option(help="Of which task, where the recipe has several.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON, in seconds, MB and tokens.")] = False,
) -> None:
    """Take a few real steps of a recipe and say what all of it would take: time, memory, disk, tokens. Writes nothing.

    \b
    adaptune estimate recipe.yaml
    adaptune estimate recipe.yaml train.epochs=20 --json
    """
    from adaptune.recipe import load_recipe
    from adaptune.run.estimating import estimate as measure

    found = measure(load_recipe(recipe, overrides or (), task=task))
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    gpu = [] if found.device_memory_mb is None else [("GPU memory", f"{found.device_memory_mb:,.0f} MB")]
    print_table(
        [
            (
                "time",
                f"{found.total_seconds:,.0f} s at most on {found.device}, measured on {found.measured_steps} steps",
            ),
            ("  warm start", f"{found.warm_start_seconds:,.1f} s"),
            ("  steps", f"{found.step_seconds:,.1f} s for {found.steps:,}"),
            ("  evaluations", f"{found.evaluation_seconds:,.1f} s"),
            ("tokens", f"{found.tokens:,}, {found.tokens_an_epoch:,} an epoch"),
            ("memory", f"{found.memory_mb:,.0f} MB, {found.trunk_cache_mb:,.1f} MB kept of frozen layers"),
            *gpu,
            ("disk", f"{found.bundle_mb:,.1f} MB bundle, {found.checkpoint_mb:,.1f} MB checkpoints meanwhile"),
        ]
    )
