"""What was trained becomes a bundle folder, whole or not at all. Knows no recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import adaptune
from adaptune.bundle.calibration import scope_tensors
from adaptune.bundle.card import card
from adaptune.bundle.card_of_tasks import card_of_tasks
from adaptune.bundle.config import BundleConfig
from adaptune.bundle.golden import dtype_of, make_golden
from adaptune.bundle.made import Made
from adaptune.bundle.manifest import (
    FORMAT,
    MANIFEST,
    WEIGHTS,
    Ancestor,
    Base,
    Learned,
    Manifest,
    OfTask,
    Preprocessing,
    Section,
    learned,
    measured,
    write_manifest,
)
from adaptune.bundle.peft_folder import write_peft
from adaptune.bundle.reference import Reference, write_references
from adaptune.bundle.weights import write_tensors
from adaptune.core.catalogue import section
from adaptune.core.errors import BundleError
from adaptune.core.files import replacing_folder
from adaptune.core.task import Task
from adaptune.core.types import Scores
from adaptune.models.assembly import Assembly
from adaptune.models.joint import Joint, Learner

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
    reference: Reference | None = None,
    made: Made | None = None,
) -> Manifest:
    """Write a bundle to `folder`, in the place of an earlier one.

    `columns`: the task's name of a column -> the name that the training files gave it. `scores` by split. `gguf_file`
    as the recipe's model section names it. `reference`: how validation rows look to it. `made`: what it came from, for
    its card. Raises BundleError where the folder holds other files.
    """
    check_free(folder, MANIFEST)
    config = config or BundleConfig()
    preprocessing = Preprocessing(max_length=max_length)
    with _new(folder) as new:
        manifest = Manifest(
            **_common(assembly, new, preprocessing, gguf_file),
            parts=(_learned(task, assembly),),
            columns=dict(columns),
            scores={split: measured(found) for split, found in scores.items()},
            golden=make_golden(assembly, task, preprocessing, texts=config.examples, columns=columns),
            lineage=tuple(lineage),
        )
        write_manifest(manifest, new)
        text = card(manifest, config, metric=task.metric, peft=write_peft(assembly, new), made=made)
        (new / CARD).write_text(text, encoding="utf-8")
        write_references({None: reference}, new)
    return manifest


class Taught(NamedTuple):
    """One of several tasks, as a bundle tells of it."""

    task: Task
    columns: Mapping[str, str]
    scores: Mapping[str, Scores]
    reference: Reference | None = None


def save_tasks(
    folder: Path,
    joint: Joint,
    tasks: Mapping[str, Taught],
    *,
    max_length: int,
    config: BundleConfig | None = None,
    gguf_file: str | None = None,
    made: Made | None = None,
) -> Manifest:
    """Write the one bundle of several tasks to `folder`, as `save_bundle` does of one."""
    check_free(folder, MANIFEST)
    config = config or BundleConfig()
    preprocessing = Preprocessing(max_length=max_length)
    with _new(folder) as new:
        parts = tuple(_taught(name, joint.of[name], one, preprocessing, config) for name, one in tasks.items())
        manifest = Manifest(
            **_common(joint, new, preprocessing, gguf_file), parts=parts, columns={}, scores={}, golden=(), lineage=()
        )
        write_manifest(manifest, new)
        metrics = {name: one.task.metric for name, one in tasks.items()}
        text = card_of_tasks(manifest, config, metrics=metrics, peft=write_peft(joint.parts[0], new), made=made)
        (new / CARD).write_text(text, encoding="utf-8")
        write_references({name: one.reference for name, one in tasks.items()}, new)
    return manifest


def _taught(name: str, part: Assembly, taught: Taught, preprocessing: Preprocessing, config: BundleConfig) -> Learned:
    golden = make_golden(part, taught.task, preprocessing, texts=config.examples, columns=taught.columns)
    scores = {split: measured(found) for split, found in taught.scores.items()}
    own = OfTask(name=name, columns=dict(taught.columns), scores=scores, golden=golden)
    return _learned(taught.task, part).model_copy(update={"own": own})


def _learned(task: Task, part: Assembly) -> Learned:
    return learned(task, part.head, part.labels, part.calibrated and part.calibrated.by, part.approach)


@contextmanager
def _new(folder: Path) -> Iterator[Path]:
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(folder.absolute()) as new:
        yield new


def _common(learner: Learner, new: Path, preprocessing: Preprocessing, gguf_file: str | None) -> dict[str, Any]:
    """What every bundle says, its weights written."""
    return {
        "format": FORMAT,
        "adaptune": adaptune.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "base": _base(learner, gguf_file),
        "method": _method(learner),
        "preprocessing": preprocessing,
        "weights": write_tensors(learner.state() | scope_tensors(learner), new / WEIGHTS),
    }


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


def _base(learner: Learner, gguf_file: str | None) -> Base:
    backbone = learner.backbone
    return Base(
        name=backbone.name,
        revision=backbone.revision,
        fingerprint=backbone.fingerprint,
        family=backbone.roles.family,
        hidden_size=backbone.hidden_size,
        dtype=dtype_of(backbone),
        gguf_file=gguf_file,
        words=any(part.head.reads_words for part in learner.parts),
        weights=backbone.weights,
    )


def _method(learner: Learner) -> Section:
    """Without the bundle that it was started from: that is the lineage, not a setting."""
    return {name: value for name, value in section(learner.method).items() if name != "start"}
