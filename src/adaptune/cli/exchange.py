"""The verbs by which bundles meet other libraries and each other. No logic; imports nothing heavy before one runs."""

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
    numbers_of,
)
from adaptune.show import print_splits


def merge(
    bundle: BundleFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    task: TaskName = None,
    model: Base = None,
    trust_remote_code: RemoteCode = False,
) -> None:
    """Write bundle and base model as one transformers folder.

    \b
    adaptune merge runs/banking77/bundle merged
    """
    from adaptune.bundle.merge import merge as merged

    typer.echo(str(merged(loaded_bundle(bundle, model, trust_remote_code).of(task), out)))


def export(
    bundle: BundleFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    to: Annotated[
        Literal["peft", "vllm", "onnx"],
        typer.Option(help="peft: the adapter alone. vllm: the same by its rules. onnx: one graph of base and bundle."),
    ] = "peft",
    onto: Annotated[
        Literal["base", "causal-lm"] | None,
        typer.Option("--for", help="peft: load it onto AutoModel, or AutoModelForCausalLM; else as its head needs."),
    ] = None,
    task: TaskName = None,
    model: Base = None,
    trust_remote_code: RemoteCode = False,
) -> None:
    """Write a bundle for plain peft, for vLLM or for ONNX Runtime.

    \b
    adaptune export runs/banking77/bundle adapter
    adaptune export runs/banking77/bundle graph --to onnx
    adaptune export runs/chat/bundle adapter --to vllm
    """
    from adaptune.bundle.elsewhere import check_onnx, check_vllm
    from adaptune.bundle.manifest import read_manifest

    if onto is not None and to != "peft":
        raise typer.BadParameter(f"--for is for --to peft, and not for {to}; leave it out")
    manifest = read_manifest(bundle).alone(task)
    # What no such folder can hold is refused before PyTorch is imported.
    if to == "onnx":
        check_onnx(manifest)
    elif to == "vllm":
        check_vllm(manifest)
    loaded = loaded_bundle(bundle, model, trust_remote_code).of(task)
    if to == "onnx":
        from adaptune.bundle.onnx_folder import export_onnx

        typer.echo(str(export_onnx(loaded, out)))
    elif to == "vllm":
        from adaptune.bundle.vllm import export_vllm

        typer.echo(str(export_vllm(loaded, out)))
    else:
        from adaptune.bundle.export import export as exported

        typer.echo(str(exported(loaded, out, onto=onto)))


def combine(
    bundles: Annotated[list[Path], typer.Argument(metavar="BUNDLE...", help="Two or more, of one base and method.")],
    out: Annotated[Path, typer.Option(help="The bundle to write.")],
    how: Annotated[Literal["average", "arithmetic", "ties", "dare"], typer.Option(help="How updates become one.")],
    weights: Annotated[str | None, typer.Option(help="One number a bundle: 0.5,0.5; else equal ones.")] = None,
    density: Annotated[float | None, typer.Option(help="Share of an update kept; else ties 0.2, dare 0.5.")] = None,
    head: Annotated[Path | None, typer.Option(help="Whose head the result has; else their average.")] = None,
    data: Annotated[str | None, typer.Option(help="A file of labelled rows to score all of them on.")] = None,
    seed: Annotated[int, typer.Option(help="Decides what dare drops.")] = 1,
    settings: Settings = None,
    model: Base = None,
) -> None:
    """Make one bundle of several of one base.

    \b
    adaptune combine runs/a/bundle runs/b/bundle --how ties --weights 0.5,0.5 --out runs/both/bundle
    """
    from adaptune.bundle.combine import combine as combined

    given = numbers_of(weights)
    examples = examples_of_file(head or bundles[0], data, settings, labelled=True) if data else []
    done = combined(
        bundles, out, how=how, weights=given, density=density, head=head, examples=examples, model=model, seed=seed
    )
    print_splits(done.scores)
    typer.echo(f"bundle: {done.bundle}")


def import_peft(
    folder: Annotated[Path, typer.Argument(metavar="PEFT_DIR", help="A folder that peft's save_pretrained wrote.")],
    recipe: Annotated[Path, typer.Option(help="Its model, task and rows; method and head follow from the folder.")],
    out: Annotated[Path | None, typer.Option(help="The bundle to write; else PEFT_DIR-bundle.")] = None,
    labels: Annotated[str | None, typer.Option(help="The names of the classifier's rows: a,b,c.")] = None,
    same_base: Annotated[bool, typer.Option("--same-base", help="The adapter's base has another name here.")] = False,
) -> None:
    """Make a bundle of an adapter that peft made.

    \b
    adaptune import my-adapter --recipe recipe.yaml
    adaptune import my-adapter --recipe recipe.yaml --labels negative,positive --out runs/mine
    """
    from adaptune.recipe import load_recipe

    resolved = load_recipe(recipe)
    from adaptune.imports import import_peft as imported

    names = [label.strip() for label in labels.split(",")] if labels else ()
    target = out or folder.with_name(f"{folder.absolute().name}-bundle")
    done = imported(folder, resolved, out=target, labels=names, same_base=same_base)
    print_splits(done.scores)
    typer.echo(f"bundle: {done.bundle}")
