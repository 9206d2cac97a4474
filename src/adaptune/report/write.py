"""A report becomes one HTML file, whole in itself. Here the room comes together."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from adaptune.core.files import write_atomically
from adaptune.core.log import notice, warn
from adaptune.core.run_folder import RunDir
from adaptune.report.document import Page
from adaptune.report.of_comparison import comparison_page
from adaptune.report.of_run import run_page
from adaptune.report.read import kind_of
from adaptune.report.words import FOLDER, Words, language_named


def write_report(folder: Path, out: Path | None = None, *, language: str | None = None) -> Path:
    """The report of a run or of a comparison, of what there is of it; none: report.html in its folder.

    `language`: en or zh; none: the user's. Raises AdaptuneError for a folder that holds neither.
    """
    words = Words(language_named(language))
    page = comparison_page(folder, words) if kind_of(folder) == "comparison" else run_page(folder, words)
    file = out or RunDir(folder).page
    file.absolute().parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, render(page, words))
    return file


def add_report(folder: Path) -> Path | None:
    """The report beside the files that it is made from; what goes wrong with it is said, and harms nothing else."""
    try:
        return write_report(folder)
    except Exception as error:
        warn(f"no report was written: {type(error).__name__}: {error}")
        notice(f"what it is made from is whole; adaptune report {folder} tries again")
        return None


def render(page: Page, words: Words) -> str:
    """The page as HTML; whatever comes from data is escaped."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((FOLDER / "report.css").read_text(encoding="utf-8"))
    return environment.get_template("report.html").render(page=page, words=words, style=style)
