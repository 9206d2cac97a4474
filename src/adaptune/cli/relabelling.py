"""Verbs about labels: which to look at again, and those that a model gives. Import nothing heavy before they run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptune.cli.options import Base, RemoteCode, Settings, loaded_bundle
from adaptune.show import print_mistrusted, print_report, print_selftraining

if TYPE_CHECKING:
    from adaptune.bundle.load import Bundle
    from adaptune.core.types import Example
    from adaptune.data.findings import Finding

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file, as for training.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values by path.")]
Unlabelled = Annotated[
    str, typer.Option(metavar="FILE", help="Rows without labels, in any format of training; labels are not read.")
]
Task = Annotated[str | None, typer.Option(help="Of which task, where the recipe has several.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where it was stopped.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what lies in the folder.")]


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


def selftrain(
    recipe: RecipeFile,
    unlabelled: Unlabelled,
    overrides: Overrides = None,
    rounds: Annotated[int, typer.Option(min=1, help="Trainings that learn from the pool, after the first.")] = 3,
    confidence: Annotated[
        float, typer.Option(min=0, max=1, help="The least probability of an answer that is learned from.")
    ] = 0.9,
    balance: Annotated[
        bool, typer.Option("--balance/--no-balance", help="No label gets more than an equal share of sure answers.")
    ] = True,
    out: Annotated[Path | None, typer.Option(help="The folder; else the recipe's with -selftrain behind it.")] = None,
    task: Task = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Train, answer unlabelled rows, train again with the sure answers as labels; keep the best round.

    \b
    adaptune selftrain recipe.yaml --unlabelled pool.jsonl
    adaptune selftrain recipe.yaml data.shots=8 --unlabelled pool.jsonl --rounds 5 --confidence 0.95

    Round 0 learns from the labelled rows alone; every other one begins anew with these and with what the round
    before was sure of, which counts as much as they do. Validation rows with true labels decide which round the
    bundle is of: where no round is better than round 0, it is of that, and the report says so. Test rows are
    scored once, at the end. Probabilities are calibrated where there are 50 validation rows or more.
    """
    from adaptune.prepare import prepare
    from adaptune.recipe import load_recipe

    given = load_recipe(recipe, overrides or (), task=task)
    whole = given.model_copy(update={"out": out or given.out.with_name(f"{given.out.name}-selftrain")})
    prepared = prepare(whole)
    # PyTorch is imported only after these, so that no mistake in recipe or data waits for it.
    from adaptune.labels.selftrain import Asked
    from adaptune.labels.selftrain import selftrain as run

    asked = Asked(unlabelled=unlabelled, rounds=rounds, confidence=confidence, balance=balance)
    found, done = run(whole, prepared, asked, resume=resume, overwrite=overwrite)
    print_selftraining(found)
    print_report(done.report)
    typer.echo(f"bundle: {done.bundle}")


def distil(
    teacher: Annotated[Path, typer.Argument(metavar="TEACHER", help="The folder of the teacher's bundle.")],
    recipe: RecipeFile,
    unlabelled: Unlabelled,
    overrides: Overrides = None,
    temperature: Annotated[
        float, typer.Option(min=0.01, help="Divides the logits of both; above 1 small probabilities count more.")
    ] = 2.0,
    out: Annotated[Path | None, typer.Option(help="The folder; else the recipe's with -distil behind it.")] = None,
    task: Task = None,
    model: Base = None,
    trust_remote_code: RemoteCode = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Let a large bundle answer unlabelled rows, and train a recipe's small model on its probabilities, too.

    \b
    adaptune distil runs/large/bundle small.yaml --unlabelled pool.jsonl
    adaptune distil runs/prompted/bundle small.yaml data.shots=8 --unlabelled pool.jsonl --temperature 1

    The teacher may be any bundle of the same task and labels, prompted ones among them (approach score or
    in_context): base, tokenizer, method and head may differ. Labelled rows are learned as ever; of an unlabelled
    row the loss is the distance (KL) to what the teacher says at the temperature. --model names the teacher's base
    where it lies elsewhere.
    """
    from adaptune.prepare import prepare
    from adaptune.recipe import load_recipe

    given = load_recipe(recipe, overrides or (), task=task)
    whole = given.model_copy(update={"out": out or given.out.with_name(f"{given.out.name}-distil")})
    prepared = prepare(whole)
    # PyTorch is imported only after these, so that no mistake in recipe or data waits for it.
    from adaptune.labels.distil import distil as run

    def teach() -> Bundle:
        return loaded_bundle(teacher, model, trust_remote_code).of(None)

    done = run(teach, whole, prepared, unlabelled, temperature=temperature, resume=resume, overwrite=overwrite)
    print_report(done.report)
    typer.echo(f"bundle: {done.bundle}")


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

    # A recipe of few shots is judged by all its rows.
    overrides = ["data.shots=null", "data.draw=1", *(f"data.{text}" for text in settings)]
    overrides += [f"model.name={model}"] if model else []
    recipe = load_recipe(file, overrides, task=task)
    out = out or recipe.out.with_name(f"{recipe.out.name}-mistrusted.jsonl")
    if out.exists():
        raise typer.BadParameter(f"{out} is there, perhaps with notes of yours; name another file, or remove it")
    prepared = prepare(recipe)
    # PyTorch is imported only after these, so that no mistake in recipe or data waits for it.
    from adaptune.labels.mistrust import mistrust

    found = mistrust(recipe, prepared, folds=folds)
    print_mistrusted(found, most=most)
    if found.doubts:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json_lines(out, (doubt.record() for doubt in found.doubts))
        typer.echo(f"all {len(found.doubts):,}: {out}")


def _lengths(examples: Sequence[Example], model: str) -> Sequence[Finding]:
    """What the lengths of examples mean for a model."""
    from adaptune.data.lengths import lengths
    from adaptune.models.config import ModelConfig
    from adaptune.models.load import load_backbone

    backbone = load_backbone(ModelConfig(name=model))
    return lengths(examples, backbone.tokenizer, backbone.max_length).findings()
