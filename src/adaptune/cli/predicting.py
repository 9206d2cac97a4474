"""The verb that answers texts and files of rows. No logic; imports nothing heavy before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from adaptune.cli.options import (
    Base,
    BundleFolder,
    Corpus,
    RemoteCode,
    Settings,
    TaskName,
    corpus_of_file,
    loaded_bundle,
    write_lines,
)

if TYPE_CHECKING:
    from adaptune.bundle.work import Work


def predict(
    bundle: BundleFolder,
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Each an input.")] = None,
    file: Annotated[str | None, typer.Option(help="A file of any number of rows, in any format of training.")] = None,
    task: TaskName = None,
    out: Annotated[Path | None, typer.Option(help="Write the answers here; stopped, the same command goes on.")] = None,
    on_bad_row: Annotated[
        Literal["fail", "skip"] | None,
        typer.Option(help="fail, the default, before any is answered; skip: OUT.rejected.jsonl lists them."),
    ] = None,
    corpus: Corpus = None,
    settings: Settings = None,
    model: Base = None,
    trust_remote_code: RemoteCode = False,
) -> None:
    """Answer texts or the rows of a file, one line of JSON each.

    \b
    adaptune predict runs/banking77/bundle "My card has not arrived."
    adaptune predict runs/banking77/bundle --file in.jsonl --out out.jsonl
    adaptune predict runs/search/bundle "lost card" --corpus passages.txt
    adaptune predict runs/assistant/bundle --task intent "My card has not arrived."
    """
    if bool(texts) == bool(file):
        raise typer.BadParameter("give texts, or a file of rows with --file, one of the two")
    if on_bad_row and not file:
        raise typer.BadParameter("--on-bad-row is for the rows of a --file; leave it out")
    searched = corpus_of_file(corpus, settings)
    if file:
        how = [*(settings or ()), *([f"on_bad_row={on_bad_row}"] if on_bad_row else ())]
        work = _work(bundle, file, how, task=task, corpus=searched, out=out)
        loaded = loaded_bundle(bundle, model, trust_remote_code)
        from adaptune.bundle.answer_file import answer_file, answered

        if out is not None:
            answer_file(loaded, work, out)
        else:
            write_lines((record for window in answered(loaded, work) for record in window), None)
        return
    loaded = loaded_bundle(bundle, model, trust_remote_code)
    write_lines(loaded.predict(texts or (), task=task, corpus=searched), out)


def _work(
    bundle: Path,
    file: str,
    settings: Sequence[str],
    *,
    task: str | None,
    corpus: Sequence[str] | None,
    out: Path | None,
) -> Work:
    """The rows of a file for the one task, or for all of them; does not wait for PyTorch."""
    from adaptune.bundle.check import check_files
    from adaptune.bundle.work import work_of
    from adaptune.data.flow import Reader
    from adaptune.recipe import load_data_settings

    manifest = check_files(bundle)
    names = manifest.names if task is None and manifest.names and corpus is None else (task,)
    readers: dict[str | None, Reader] = {}
    for name in names:
        alone = manifest.alone(name)
        config = load_data_settings(file, settings, columns=alone.columns)
        readers[name] = Reader(alone.make_task(), config)
    return work_of(bundle, manifest, file, readers, corpus=corpus, out=out)
