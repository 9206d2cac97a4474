"""What several verbs take, and how they get a bundle from it. Imports nothing heavy before a verb runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import adaptune

if TYPE_CHECKING:
    from adaptune.bundle.load import Bundle

BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder of a bundle.")]
Base = Annotated[
    str | None, typer.Option("--model", help="Where the base model is, if the bundle's own name finds none.")
]
RemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Let Python code that comes with the model run.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A key of a recipe's data section.")
]


def loaded_bundle(bundle: Path, model: str | None, trust_remote_code: bool) -> Bundle:
    """The bundle on its base; damage and another base are told before PyTorch is imported."""
    from adaptune.bundle.check import check_bundle

    check_bundle(bundle, model=model)
    return adaptune.load(bundle, model=model, trust_remote_code=trust_remote_code)
