"""`adaptune ui`: runs in a browser. Imports nothing heavy before it runs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from adaptune.core.errors import MissingExtra


def ui(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Runs at or below it are shown.")] = Path("runs"),
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 7860,
    host: Annotated[str, typer.Option(help="Address, one of this machine's own.")] = "127.0.0.1",
) -> None:
    """Look at runs, compare and start them in a browser: http://127.0.0.1:7860

    The page lists the runs below FOLDER with their scores, draws their curves, follows one that runs, stops and
    resumes it, compares chosen ones, and starts new ones from a recipe that is filled in as a form or as YAML.

    What it starts are processes of their own, `adaptune train`, one at a time; the others wait. They go on when the
    page or this command ends, and what waits goes on when the command is given again.

    \b
    adaptune ui
    adaptune ui runs/reviews --port 8080
    ssh -L 7860:127.0.0.1:7860 far-machine    then open the page here
    """
    for library in ("fastapi", "uvicorn"):
        if find_spec(library) is None:
            raise MissingExtra(library, "serve", "the page of runs")
    from adaptune.ui.server import show

    show(folder, host=host, port=port)
