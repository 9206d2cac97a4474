"""`adaptune report`: what a run or a comparison came to, as a page. Imports nothing heavy before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN_OR_COMPARISON", help="What train or compare wrote.")],
    out: Annotated[Path | None, typer.Option(help="The file; else report.html in the folder.")] = None,
    language: Annotated[str | None, typer.Option(help="en or zh; else that of your locale.")] = None,
) -> None:
    """Write what a run or a comparison came to as one HTML file, also of one that did not come to its end.

    \b
    adaptune report runs/banking77
    adaptune report runs/banking77-compare --out report.html --language zh
    """
    from adaptune.report.write import write_report

    typer.echo(f"report: {write_report(folder, out, language=language)}")


def add_report(folder: Path) -> None:
    """The report beside what a finished run or comparison wrote; nothing fails because of it."""
    from adaptune.report.write import add_report as add

    file = add(folder)
    if file is not None:
        typer.echo(f"report: {file}")
