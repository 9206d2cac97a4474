"""What a bundle says of itself: manifest.json, written in a stable order and read strictly. Knows no tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import Field, JsonValue, ValidationError

import adaptune
from adaptune.approaches import APPROACHES
from adaptune.approaches.finetune import Finetune
from adaptune.core.approach import Approach
from adaptune.core.calibration import Calibration
from adaptune.core.catalogue import Catalogue, section
from adaptune.core.config import Config, Part
from adaptune.core.errors import AdaptuneError, BundleError, nearest
from adaptune.core.head import Head
from adaptune.core.method import Method
from adaptune.core.task import Task
from adaptune.core.types import Answer, Labels, Scores
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.config import Weights
from adaptune.tasks import TASKS

P = TypeVar("P", bound=Part)

FORMAT: Final = 1
"""Raised when an older adaptune could no longer read a bundle rightly."""
MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "weights.safetensors"

Section = dict[str, JsonValue]
"""A part as a recipe writes it: its name and every field."""


class Base(Config):
    """The pretrained model that a bundle stands on."""

    name: str
    """As the recipe named it: hub id or folder."""
    revision: str | None
    fingerprint: str
    """SHA-256 of the trunk's tensors as stored."""
    family: str
    """transformers' `model_type`."""
    hidden_size: int
    dtype: str
    """In which the expected answers were computed, `float32`."""
    gguf_file: str | None
    """Which file of that name, where it is a GGUF model in a folder or repository of several."""
    words: bool
    """Whether the head needs the model's own output layer over words."""
    weights: Weights = "float"
    """How the matrices of its layers were held."""


class Preprocessing(Config):
    """How text becomes tokens, beside what the base model's tokenizer says."""

    max_length: int = Field(ge=1)
    """Most tokens of one sequence, special tokens included."""


class Golden(Config):
    """An input and the answer that a rightly loaded bundle gives."""

    values: dict[str, JsonValue]
    """The row, under the task's names."""
    answer: JsonValue
    probability: float | None
    """None where the answer is a number, which has none."""
    probabilities: tuple[float, ...]
    abstained: bool | None = None
    """The verdict of the bundle's threshold; None where it has none, or was written before verdicts were kept."""
    out_of_scope: bool | None = None
    """The same of its scope."""


class Ancestor(Config):
    """A bundle that this one was continued from."""

    name: str
    """Its folder's name."""
    weights: str
    """SHA-256 of its weights file."""


class Measured(Config):
    """What a scorer found on one split."""

    values: dict[str, float]
    per_class: dict[str, dict[str, float]]
    confusion: tuple[tuple[int, ...], ...]
    classes: tuple[str, ...]


class OfTask(Config):
    """What a bundle of several tasks says of each, and a bundle of one says once."""

    name: str
    """As the recipe named it; the tensors of its head are named `head.NAME.`."""
    columns: dict[str, str]
    scores: dict[str, Measured]
    golden: tuple[Golden, ...]


class Learned(Config):
    """One task that the bundle learned."""

    task: Section
    head: Section
    labels: tuple[str, ...]
    """In the order of the output layer's rows."""
    moments: tuple[float, float] | None = Field(default=None, exclude_if=lambda moments: moments is None)
    """Where targets are numbers: their mean and standard deviation over the training rows; none, and not written, where
    they are not, or where the bundle was written before this was kept."""
    approach: Section | None = Field(default=None, exclude_if=lambda approach: approach is None)
    """How its rows are put to the model; none, and not written, where they are read as they are."""
    own: OfTask | None = Field(default=None, exclude_if=lambda own: own is None)
    """Where it is one of several; none, and not written, where it is the only one."""
    calibration: Calibration | None = Field(default=None, exclude_if=lambda calibration: calibration is None)
    """Temperature and thresholds; none, and not written, where nothing was fitted. Means of classes are tensors named
    `scope.`."""


class Manifest(Config):
    """Everything about a bundle but its tensors; fields stand in the file in this order."""

    format: int
    adaptune: str
    """The version that wrote it."""
    created: str
    """UTC, ISO 8601."""
    base: Base
    method: Section
    parts: tuple[Learned, ...] = Field(min_length=1)
    columns: dict[str, str]
    """The task's name of a column -> the name that the training files gave it."""
    preprocessing: Preprocessing
    scores: dict[str, Measured]
    """By split, `test`."""
    golden: tuple[Golden, ...]
    lineage: tuple[Ancestor, ...]
    """The bundles that this one was continued from, the oldest first."""
    weights: str
    """SHA-256 of weights.safetensors, whose tensors are named `method.` and `head.`, perhaps `scope.`"""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tasks, where there are several; empty where there is one."""
        return tuple(part.own.name for part in self.parts if part.own is not None)

    @property
    def part(self) -> Learned:
        """The one task of the bundle. Raises BundleError where there are several."""
        if len(self.parts) > 1:
            raise self._several()
        return self.parts[0]

    def alone(self, name: str | None) -> Manifest:
        """What a bundle of one of several tasks alone would say; none: this, of the one task that there is.

        Raises BundleError for a name that is not there, or is needed.
        """
        if name is None and len(self.parts) == 1:
            return self
        if name is None:
            raise self._several()
        found = next((part for part in self.parts if part.own is not None and part.own.name == name), None)
        if found is None or found.own is None:
            known = f"it has: {', '.join(self.names)}" if self.names else "it has one, without a name; leave it out"
            raise BundleError(f"the bundle has no task {name!r}{nearest(name, self.names)} ({known})")
        own = found.own
        part = found.model_copy(update={"own": None})
        said = {"parts": (part,), "columns": own.columns, "scores": own.scores, "golden": own.golden}
        return self.model_copy(update=said)

    @property
    def labels(self) -> Labels:
        """The label inventory of the one task."""
        return Labels(self.part.labels, moments=self.part.moments)

    def make_task(self) -> Task:
        """The one task. Raises BundleError."""
        return _made(TASKS, self.part.task)

    def make_head(self) -> Head:
        """Its head. Raises BundleError."""
        return _made(HEADS, self.part.head)

    def make_approach(self) -> Approach:
        """How its rows are put to the model. Raises BundleError."""
        described = self.part.approach
        return Finetune() if described is None else _made(APPROACHES, described)

    def _several(self) -> BundleError:
        return BundleError(
            f"the bundle holds {len(self.parts)} tasks ({', '.join(self.names)}), and one is asked for; "
            "name it: --task NAME (from Python: task=NAME)"
        )

    def make_method(self) -> Method:
        """The method. Raises BundleError."""
        return _made(METHODS, self.method)


def learned(
    task: Task, head: Head, labels: Labels, calibration: Calibration | None = None, approach: Approach | None = None
) -> Learned:
    """The record of one task."""
    return Learned(
        task=section(task),
        head=section(head),
        labels=labels.names,
        moments=labels.moments,
        approach=None if approach is None or isinstance(approach, Finetune) else section(approach),
        calibration=calibration,
    )


def golden(values: Mapping[str, Any], answer: Answer) -> Golden:
    """The record of an input and its answer."""
    return Golden(
        values=plain(values),
        answer=plain(answer.value),
        probability=answer.probability,
        probabilities=answer.probabilities,
        abstained=answer.abstained,
        out_of_scope=answer.out_of_scope,
    )


def measured(scores: Scores) -> Measured:
    """The record of one split's scores."""
    return Measured(
        values=dict(scores.values),
        per_class={name: dict(row) for name, row in scores.per_class.items()},
        confusion=scores.confusion,
        classes=scores.classes,
    )


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """manifest.json in `folder`."""
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle folder. Raises BundleError."""
    file = folder / MANIFEST
    if not file.is_file():
        what = "no such folder" if not folder.is_dir() else f"the folder has no {MANIFEST}"
        raise BundleError(f"{str(folder)!r} is no bundle: {what}; expected a folder that `adaptune train` wrote")
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise BundleError(f"{file} is damaged: {error}; copy the bundle again from where it was made") from error
    _check_format(content, file)
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise BundleError(_problems(error, content, file)) from error


def _check_format(content: object, file: Path) -> None:
    """Refuse what is no manifest, and manifests of a later format."""
    number = content.get("format") if isinstance(content, dict) else None
    if not isinstance(number, int) or number < 1:
        raise BundleError(
            f"{file} has the format number {number!r}; expected {FORMAT}, so this is no manifest of a bundle"
        )
    if number > FORMAT:
        raise BundleError(
            f"{file} has format {number}, adaptune {adaptune.__version__} reads up to {FORMAT}; "
            "upgrade it: pip install --upgrade adaptune"
        )


def _problems(error: ValidationError, content: Any, file: Path) -> str:
    lines = [f"  - {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    head = (
        f"{file} does not read as a manifest (written by adaptune {content.get('adaptune')}, this is "
        f"{adaptune.__version__}); upgrade adaptune if that is newer, else copy the bundle again:"
    )
    return "\n".join([head, *lines])


def _made(catalogue: Catalogue[P], described: Section) -> P:
    """The part that a section of the manifest describes. Raises BundleError for one that this version does not know."""
    try:
        return catalogue.make(described)
    except (AdaptuneError, KeyError, ValidationError) as error:
        raise BundleError(
            f"the bundle's {catalogue.noun} {described.get('name')!r} cannot be made by adaptune "
            f"{adaptune.__version__}: {error}; upgrade it if the bundle was written by a newer version"
        ) from error


def plain(value: Any) -> Any:
    """The value as JSON holds it: tuples become lists."""
    return json.loads(json.dumps(value))
