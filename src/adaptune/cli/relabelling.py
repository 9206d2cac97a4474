"""Verbs about labels: which to look at again, and those that a model gives. Import nothing heavy before they run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptune.cli.options import Settings
from adaptune.show import print_mistrusted

if TYPE_CHECKING:
    from adaptune.core.types import Example
    from adaptune.data.findings import Finding


def doctor(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A file of labelled rows; with --labels a recipe.")],
    task: Annotated[
        str | None, typer.Option(help="What the rows are for: classify, tag, ...; with --labels which of several.")
    ] = None,
    settings: Settings = None,
    model: Annotated[
        str | None, typer.Option(help="Count tokens as this model reads them; with --labels in the recipe's place.")
    ] = None,
    labels: Annotated[bool, typer.Option("--labels", help="Judge the labels of a recipe's rows, one by one.")] = False,
    most: Annotated[int, typer.Option(min=1, help="--labels: how many are shown; the file has all.")] = 20,
    folds: Annotated[int, typer.Option(min=2, help="--labels: parts that are judged by models of the others.")] = 5,
    out: Annotated[
        Path | None, typer.Option(help="--labels: the file; else the recipe's folder, -mistrusted.jsonl behind it.")
    ] = None,
) -> None:
    """Say what is wrong, or odd, with rows; ends with 2 on errors. With --labels, which labels to look at again.

    \b
    adaptune doctor train.csv --task classify
    adaptune doctor train.csv --task classify --set test=test.csv --set columns.text=review
    adaptune doctor recipe.yaml --labels --most 30

    --labels reads all rows of a recipe with its model as it comes, fits the head on all folds but one and
    asks it about that one, and lists the labels that it contradicts (confident learning), and texts that are
    nearly the same and have other labels. Data are never changed: correct them by hand where you agree.
    """
    if labels:
        _judge_labels(Path(data), task, settings or (), model=model, most=most, folds=folds, out=out)
        return
    if task is None:
        raise typer.BadParameter("say what the rows are for: --task classify; or judge a recipe's labels: --labels")
    if out is not None:
        raise typer.BadParameter("--out is for the file that --labels writes; leave it out")
    from adaptune.data.examine import examine
    from adaptune.recipe import load_data_settings
    from adaptune.tasks import TASKS

    found = examine(load_data_settings(data, settings or (), columns={}), TASKS.get(task)())
    findings = found.findings.plus(_lengths(found.examples, model) if model else ())
    typer.echo(str(findings))
    if findings.errors:
        raise typer.Exit(2)


def _judge_labels(
    file: Path,
    task: str | None,
    settings: Sequence[str],
    *,
    model: str | None,
    most: int,
    folds: int,
    out: Path | None,
) -> None:
    """List the labels to look at again, and write them all."""
    from adaptune.core.files import write_json_lines
    from adaptune.prepare import prepare
    from adaptune.recipe import load_recipe

    overrides = [f"data.{text}" for text in settings] + ([f"model.name={model}"] if model else [])
    recipe = load_recipe(file, overrides, task=task)
    out = out or recipe.out.with_name(f"{recipe.out.name}-mistrusted.jsonl")
    if out.exists():
        raise typer.BadParameter(f"{out} is there, perhaps with notes of yours; name another file, or remove it")
    prepared = prepare(recipe)
    # PyTorch is imported only after these, so that no mistake in recipe or data waits for it.
    from adaptune.labels.mistrust import mistrust

    found = mistrust(recipe, prepared, folds=folds)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json_lines(out, (doubt.record() for doubt in found.doubts))
    print_mistrusted(found, most=most)
    typer.echo(f"all {len(found.doubts):,}: {out}")


def _lengths(examples: Sequence[Example], model: str) -> Sequence[Finding]:
    """What the lengths of examples mean for a model."""
    from adaptune.data.lengths import lengths
    from adaptune.models.config import ModelConfig
    from adaptune.models.load import load_backbone

    backbone = load_backbone(ModelConfig(name=model))
    return lengths(examples, backbone.tokenizer, backbone.max_length).findings()
