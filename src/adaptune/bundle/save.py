"""An assembly becomes a bundle folder, whole or not at all. Knows no recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import adaptune
from adaptune.bundle.card import card
from adaptune.bundle.config import BundleConfig
from adaptune.bundle.golden import dtype_of, make_golden
from adaptune.bundle.manifest import (
    FORMAT,
    MANIFEST,
    WEIGHTS,
    Ancestor,
    Base,
    Manifest,
    Preprocessing,
    Section,
    learned,
    measured,
    write_manifest,
)
from adaptune.bundle.peft_folder import write_peft
from adaptune.bundle.weights import write_tensors
from adaptune.core.catalogue import section
from adaptune.core.errors import BundleError
from adaptune.core.files import replacing_folder
from adaptune.core.task import Task
from adaptune.core.types import Scores
from adaptune.models.assembly import Assembly

CARD = "README.md"


def save_bundle(
    folder: Path,
    assembly: Assembly,
    task: Task,
    *,
    columns: Mapping[str, str],
    max_length: int,
    scores: Mapping[str, Scores],
    config: BundleConfig | None = None,
    gguf_file: str | None = None,
    lineage: Sequence[Ancestor] = (),
) -> Manifest:
    """Write a bundle to `folder`, in the place of an earlier one.

    `columns`: the task's name of a column -> the name that the training files gave it. `scores` by split. `gguf_file`
    as the recipe's model section names it. Raises BundleError where the folder holds other files.
    """
    check_free(folder, MANIFEST)
    config = config or BundleConfig()
    preprocessing = Preprocessing(max_length=max_length)
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(folder.absolute()) as new:
        manifest = Manifest(
            format=FORMAT,
            adaptune=adaptune.__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            base=_base(assembly, gguf_file),
            method=_method(assembly),
            parts=(learned(task, assembly.head, assembly.labels),),
            columns=dict(columns),
            preprocessing=preprocessing,
            scores={split: measured(found) for split, found in scores.items()},
            golden=make_golden(assembly, task, preprocessing, texts=config.examples, columns=columns),
            lineage=tuple(lineage),
            weights=write_tensors(assembly.state(), new / WEIGHTS),
        )
        write_manifest(manifest, new)
        text = card(manifest, config, metric=task.metric, peft=write_peft(assembly, new))
        (new / CARD).write_text(text, encoding="utf-8")
    return manifest


def check_free(folder: Path, replaces: str | None = None) -> None:
    """Refuse to write over a folder with files in it, unless one of them is named `replaces`. Raises BundleError."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BundleError(f"{str(folder)!r} is a file, expected a folder to write to; name another")
    if any(folder.iterdir()) and not (replaces is not None and (folder / replaces).is_file()):
        raise BundleError(
            f"the folder {str(folder)!r} holds other files, which would be lost; name another or empty it"
        )


def _base(assembly: Assembly, gguf_file: str | None) -> Base:
    backbone = assembly.backbone
    return Base(
        name=backbone.name,
        revision=backbone.revision,
        fingerprint=backbone.fingerprint,
        family=backbone.roles.family,
        hidden_size=backbone.hidden_size,
        dtype=dtype_of(backbone),
        gguf_file=gguf_file,
        words=assembly.head.reads_words,
        weights=backbone.weights,
    )


def _method(assembly: Assembly) -> Section:
    """Without the bundle that it was started from: that is the lineage, not a setting."""
    return {name: value for name, value in section(assembly.method).items() if name != "start"}
