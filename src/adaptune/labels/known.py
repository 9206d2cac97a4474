"""Rows that are labelled already: those of the recipe beside a bundle, or of files that are named. Loads no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adaptune.bundle.manifest import read_manifest
from adaptune.core.errors import AdaptuneError
from adaptune.core.log import notice
from adaptune.core.run_folder import RunDir
from adaptune.core.task import Task
from adaptune.core.types import Example
from adaptune.data.config import DataConfig
from adaptune.data.read import examples_of, read
from adaptune.recipe import load_data_settings, load_recipe


@dataclass(frozen=True, slots=True)
class Known:
    """Labelled rows."""

    learned: Sequence[Example]
    """That the bundle was trained on."""
    held: Sequence[Example] = ()
    """For validation and tests."""


def known_rows(bundle: Path, files: Sequence[str], settings: Sequence[str], *, task: str | None = None) -> Known:
    """The rows of files, else those of the recipe that stands in the bundle's run folder; none where there is none.

    Raises AdaptuneError where these are not to be had.
    """
    whole = read_manifest(bundle)
    manifest = whole.alone(task)
    kind, found = manifest.make_task(), Known(())
    if files:
        configs = [(file, load_data_settings(file, settings, columns=manifest.columns)) for file in files]
        found = Known([example for file, config in configs for example in _rows(file, config, kind, "train")])
    elif (recipe := RunDir(bundle.parent).recipe).is_file():
        found = _of_recipe(recipe, kind, task if whole.names else None)
    else:
        notice("no labelled rows are known: there is no recipe beside the bundle, and none were named by --known")
    return found


def _of_recipe(recipe: Path, kind: Task, task: str | None) -> Known:
    try:
        data = load_recipe(recipe, (), task=task).data
        rows = {
            part: _rows(source, data, kind, part)
            for part in ("train", "valid", "test")
            if (source := getattr(data, part)) is not None
        }
    except AdaptuneError as error:
        raise AdaptuneError(
            f"the rows that the bundle was trained on cannot be read, so that they could be suggested again: {error}\n"
            "name files of labelled rows by --known FILE"
        ) from None
    return Known(rows.get("train", ()), [*rows.get("valid", ()), *rows.get("test", ())])


def _rows(file: str, config: DataConfig, kind: Task, part: str) -> list[Example]:
    """Without their labels, which are not needed."""
    own = {name: there for name, there in config.columns.items() if not _is_label(kind, name)}
    config = config.model_copy(update={"columns": own, "on_bad_row": "skip"})
    found = read(file, config, kind.columns, labelled=False, part=part)
    return examples_of(found.rows, kind, config).examples


def _is_label(kind: Task, name: str) -> bool:
    return any(column.name == name and column.label for column in kind.columns)
