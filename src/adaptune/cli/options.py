"""What several verbs take, and how they get a bundle from it. Imports nothing heavy before a verb runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import adaptune

if TYPE_CHECKING:
    from adaptune.bundle.load import Bundle
    from adaptune.bundle.several import MultiTaskBundle
    from adaptune.core.types import Example

BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder of a bundle.")]
Base = Annotated[
    str | None, typer.Option("--model", help="Where the base model is, if the bundle's own name finds none.")
]
RemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Let Python code that comes with the model run.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A key of a recipe's data section.")
]
Corpus = Annotated[
    str | None, typer.Option("--corpus", help="rank: a file of texts, one a row, that every query is ranked against.")
]


TaskName = Annotated[str | None, typer.Option("--task", help="Which task of a bundle of several.")]


def loaded_bundle(bundle: Path, model: str | None, trust_remote_code: bool) -> Bundle | MultiTaskBundle:
    """The bundle on its base; damage and another base are told before PyTorch is imported."""
    from adaptune.bundle.check import check_bundle

    check_bundle(bundle, model=model)
    return adaptune.load(bundle, model=model, trust_remote_code=trust_remote_code)


def examples_of_file(
    bundle: Path, file: str, settings: Sequence[str] | None, *, labelled: bool, task: str | None = None
) -> list[Example]:
    """The rows of a file as the bundle's task understands them, or one of several; does not wait for PyTorch."""
    from adaptune.bundle.manifest import read_manifest
    from adaptune.data.read import examples_of, read
    from adaptune.recipe import load_data_settings

    manifest = read_manifest(bundle).alone(task)
    kind = manifest.make_task()
    config = load_data_settings(file, settings or (), columns=manifest.columns)
    rows = read(file, config, kind.columns, labelled=labelled).rows
    return examples_of(rows, kind, config).examples


def corpus_of_file(file: str | None, settings: Sequence[str] | None) -> tuple[str, ...] | None:
    """The texts that every row is answered from; None where no file is named."""
    if file is None:
        return None
    from adaptune.data.corpus import read_corpus
    from adaptune.recipe import load_data_settings

    return read_corpus(file, load_data_settings(file, settings or (), columns={}))[0]


def numbers_of(text: str | None) -> list[float]:
    """`0.5,0.5`; none where nothing is given."""
    try:
        return [float(number) for number in text.split(",")] if text else []
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of numbers; write them as 0.5,0.5") from None


def seconds_in(text: str, option: str) -> float:
    """`15m` -> 900; at least a second."""
    from adaptune.serve.watch.durations import seconds_of

    try:
        found = seconds_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
    if found < 1:
        raise typer.BadParameter(f"{text!r} is less than a second", param_hint=option)
    return found


def write_lines(records: Iterable[Mapping[str, Any]], out: Path | None) -> None:
    """One line of JSON each, into a file or printed."""
    from adaptune.core.files import json_line, write_json_lines

    if out is not None:
        write_json_lines(out, records)
        return
    for record in records:
        typer.echo(json_line(record), nl=False)
