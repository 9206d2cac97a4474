"""The command line: one function a verb, no logic. Imports nothing heavy before a verb runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

import adaptune
from adaptune.cli import (
    browsing,
    comparing,
    estimating,
    exchange,
    history,
    labelling,
    predicting,
    relabelling,
    reporting,
    serving,
    watching,
)
from adaptune.cli.options import (
    Base,
    BundleFolder,
    Corpus,
    RemoteCode,
    Settings,
    TaskName,
    corpus_of_file,
    examples_of_file,
    loaded_bundle,
    write_lines,
)
from adaptune.show import print_manifest, print_report, print_scores, print_table

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done; 1 a fault of adaptune itself, with its stack trace; 2 something has to be put right, "
    "as the message says; 130 interrupted (Ctrl-C), 143 terminated.",
    help="Labelled data in, a small, honest, servable adapter out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """The console script `adaptune`."""
    from adaptune.core.errors import AdaptuneError, Interrupted

    try:
        app(prog_name="adaptune")
    except Interrupted as stop:
        typer.echo(str(stop), err=True)
        sys.exit(128 + stop.signal)
    except AdaptuneError as error:
        typer.echo(f"{typer.style('error:', fg='red', bold=True)} {error}", err=True)
        sys.exit(2)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"adaptune {adaptune.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What stands before the verb."""


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file; `adaptune init` writes one.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values by path.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run that lies in the run folder.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notices.")] = False,
) -> None:
    """Carry out a recipe: train, evaluate, save a bundle.

    \b
    adaptune train recipe.yaml
    adaptune train recipe.yaml train.epochs=3 method.rank=16 out=runs/rank16
    adaptune train recipe.yaml --resume
    """
    from adaptune.core.environment import main_process
    from adaptune.core.log import silence
    from adaptune.prepare import prepare, prepare_tasks
    from adaptune.recipe import Recipe, read_recipe

    if quiet or not main_process():
        silence()
    resolved = read_recipe(recipe, overrides or ())
    # PyTorch is imported only after these, so that no mistake in recipe or data waits for it.
    if isinstance(resolved, Recipe):
        prepared = prepare(resolved)
        from adaptune.run import cook

        run = cook(resolved, prepared=prepared, resume=resume, overwrite=overwrite)
    else:
        each = prepare_tasks(resolved)
        from adaptune.run import cook_tasks

        run = cook_tasks(resolved, prepared=each, resume=resume, overwrite=overwrite)
    if main_process():
        print_report(run.report)
        reporting.add_report(run.folder)
        for folder in run.bundles.values():
            typer.echo(f"bundle: {folder}")


@app.command()
def evaluate(
    bundle: BundleFolder,
    data: Annotated[str, typer.Argument(metavar="DATA", help="A file of labelled rows.")],
    task: TaskName = None,
    out: Annotated[Path | None, typer.Option(help="Write every score as JSON, too.")] = None,
    corpus: Corpus = None,
    settings: Settings = None,
    model: Base = None,
    trust_remote_code: RemoteCode = False,
) -> None:
    """Score a bundle on labelled rows.

    \b
    adaptune evaluate runs/banking77/bundle test.csv
    adaptune evaluate runs/banking77/bundle test.csv --set columns.text=question
    """
    from adaptune.core.files import write_json

    examples = examples_of_file(bundle, data, settings, labelled=True, task=task)
    searched = corpus_of_file(corpus, settings)
    scores = loaded_bundle(bundle, model, trust_remote_code).of(task).evaluate(examples, corpus=searched)
    print_scores(scores)
    if out is not None:
        write_json(out, asdict(scores))


app.command()(predicting.predict)


@app.command()
def show(
    bundle: BundleFolder,
    as_json: Annotated[bool, typer.Option("--json", help="The whole manifest.")] = False,
) -> None:
    """Say what a bundle holds, without loading its model.

    \b
    adaptune show runs/banking77/bundle
    """
    from adaptune.bundle.manifest import read_manifest

    manifest = read_manifest(bundle)
    if as_json:
        typer.echo(manifest.model_dump_json(indent=2))
    else:
        print_manifest(manifest)


@app.command(name="list")
def list_parts(
    kind: Annotated[
        Literal["methods", "tasks", "heads", "approaches", "models", "trackers"],
        typer.Argument(metavar="KIND", help="methods, tasks, heads, approaches, models or trackers."),
    ],
) -> None:
    """List what a recipe can name.

    \b
    adaptune list methods
    """
    parts = {"methods": _methods, "tasks": _tasks, "heads": _heads, "approaches": _approaches, "models": _models}
    parts["trackers"] = _trackers
    print_table(parts[kind]())


app.command()(relabelling.doctor)


@app.command(name="show-example")
def show_example(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file, as for training.")],
    rows: Annotated[int, typer.Argument(metavar="ROWS", min=1, help="How many rows.")] = 1,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values by path.")] = None,
    part: Annotated[Literal["train", "valid", "test"], typer.Option(help="Rows of which part.")] = "train",
    row: Annotated[int, typer.Option(min=1, help="The first one, counted from 1.")] = 1,
    task: Annotated[str | None, typer.Option(help="Of which task, where the recipe has several.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a token sequence.")] = False,
) -> None:
    """Show rows as the model reads them: tokens, labels and what carries loss. Loads no weights.

    \b
    adaptune show-example recipe.yaml 3
    adaptune show-example recipe.yaml --part valid --row 12 --json
    """
    from adaptune.readings import read_rows
    from adaptune.recipe import load_recipe

    found = read_rows(load_recipe(recipe, overrides or (), task=task), part=part, first=row, rows=rows)
    if as_json:
        write_lines((record for one in found for record in one.records()), None)
        return
    from adaptune.cli.coloured import print_readings

    print_readings(found)


@app.command()
def init(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A file of labelled rows.")],
    out: Annotated[Path, typer.Option(help="The recipe to write.")] = Path("recipe.yaml"),
    model: Annotated[str | None, typer.Option(help="The pretrained model; else all-MiniLM-L6-v2.")] = None,
) -> None:
    """Guess task and columns of rows and write a recipe.

    \b
    adaptune init reviews.csv --out reviews.yaml
    """
    from adaptune.data.guess import guess
    from adaptune.recipe import write_starter

    found = guess(data)
    write_starter(found, data, out, **({"model": model} if model else {}))
    typer.echo("\n".join([*found.reasons, f"recipe: {out}; run it: adaptune train {out}"]))


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors.

    \b
    adaptune schema > recipe.schema.json
    # first line of a recipe: # yaml-language-server: $schema=recipe.schema.json
    """
    from adaptune.recipe import schema as schema_of_recipes

    typer.echo(json.dumps(schema_of_recipes(), indent=2, ensure_ascii=False))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for its data, recipe and run.")] = Path("runs/demo"),
    model: Annotated[str | None, typer.Option(help="Another model or its folder; else all-MiniLM-L6-v2.")] = None,
    data: Annotated[Path | None, typer.Option(help="A folder of rated sentences; else they are fetched.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Train on all sentences, without a time limit.")] = False,
) -> None:
    """Train and use a sentiment classifier, in three minutes.

    \b
    adaptune demo
    adaptune demo --all --out runs/demo-all
    """
    from adaptune.demo import demo as show_all

    show_all(out, model=model, data=data, everything=everything)


app.command()(estimating.estimate)
app.command()(comparing.compare)
app.command()(comparing.tune)
app.command()(labelling.curve)
app.command()(labelling.suggest)
app.command()(reporting.report)
app.command()(relabelling.selftrain)
app.command()(relabelling.distil)
app.command()(history.reproduce)
app.command()(exchange.merge)
app.command()(exchange.export)
app.command()(exchange.combine)
app.command(name="import")(exchange.import_peft)
app.command()(serving.serve)
app.command()(serving.key)
app.command()(browsing.ui)
app.add_typer(history.runs, name="runs")
app.add_typer(watching.watch, name="watch")
app.add_typer(watching.feedback, name="feedback")


def _methods() -> Iterator[Sequence[str]]:
    from adaptune.methods import METHODS

    for name in METHODS.names():
        method = METHODS.get(name)
        yield name, _says(method), method.paper


def _tasks() -> Iterator[Sequence[str]]:
    from adaptune.tasks import TASKS

    for name in TASKS.names():
        task = TASKS.get(name)
        yield name, _says(task), f"metric {task.metric}; columns {', '.join(column.name for column in task.columns)}"


def _heads() -> Iterator[Sequence[str]]:
    from adaptune.heads import HEADS

    for name in HEADS.names():
        yield name, _says(HEADS.get(name))


def _approaches() -> Iterator[Sequence[str]]:
    from adaptune.approaches import APPROACHES

    for name in APPROACHES.names():
        approach = APPROACHES.get(name)
        yield name, _says(approach), approach.paper


def _models() -> Iterator[Sequence[str]]:
    from adaptune.models.families import FAMILIES
    from adaptune.models.packages import PACKAGES, installed

    for family in FAMILIES:
        yield family, "family", "hub id, folder or GGUF file"
    for name, package in PACKAGES.items():
        there = "at hand" if installed(name) else f"{package.archive.megabytes} MB to fetch"
        yield name, "model", f"hub id, or package {package.archive} ({there})"


def _trackers() -> Iterator[Sequence[str]]:
    from adaptune.track import TRACKERS

    for name in TRACKERS.names():
        tracker = TRACKERS.get(name)
        yield name, _says(tracker), f"pip install 'adaptune[{tracker.extra}]'"


def _says(kind: type) -> str:
    """The first line of a docstring."""
    return (kind.__doc__ or "").strip().partition("\n")[0]
