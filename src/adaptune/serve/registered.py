"""A bundle as the server knows it while its tensors are on disk: how its inputs are read, its answers described."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adaptune.bundle.answers import said_beside
from adaptune.bundle.check import check_base, check_weights
from adaptune.bundle.inputs import Input, row_of
from adaptune.bundle.manifest import MANIFEST, Manifest, read_manifest
from adaptune.bundle.reference import Reference, read_references
from adaptune.core.approach import Approach, as_put
from adaptune.core.backbone import Backbone
from adaptune.core.batch import Encoded
from adaptune.core.errors import BundleError, Unsupported, nearest
from adaptune.core.head import Head
from adaptune.core.method import Method
from adaptune.core.task import Task
from adaptune.core.types import Answer, Example, Labels
from adaptune.data.encode import encode

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""What a bundle may be called in a request: never a path, never with the `@` before a version."""
BASE = "base"
"""How the bare base is called among the bundles."""
VERSION = r"[0-9a-f]{12}"
"""Digits of the SHA-256 of its manifest, which holds that of its weights."""


@dataclass(frozen=True, slots=True, eq=False)
class ServedTask:
    """One task of a bundle: how its inputs are read, its answers described. Holds no tensors."""

    name: str | None
    """As the recipe named it; None where the bundle has this task alone."""
    place: int
    """Among the bundle's tasks, counted from 0."""
    task: Task
    head: Head
    approach: Approach
    labels: Labels
    columns: Mapping[str, str]
    """The task's name of a column -> the name that the training files gave it."""
    max_length: int
    scores: Mapping[str, Mapping[str, float]]
    """By split, as measured after training."""

    def examples(self, inputs: Sequence[Input]) -> list[Example]:
        """Inputs as the task understands them. Raises DataError, naming the input by its number from 1."""
        rows = [row_of(given, number, self.task, self.columns) for number, given in enumerate(inputs, start=1)]
        return [self.task.example(row) for row in rows]

    def encode(
        self, examples: Sequence[Example], backbone: Backbone, tokenizer: Any, *, most: int | None = None
    ) -> list[list[Encoded]]:
        """The token sequences of each example; `tokenizer` is the backbone's or a copy, for a thread of its own.

        `most`: tokens of the text to be written, where they are not as many as the head says. Raises DataError,
        Unsupported.
        """
        writing = self.head.writing(backbone)
        if writing is not None and most is not None:
            writing = replace(writing, most=most)
        encoded = encode(
            as_put(self.approach, [_as_read(example) for example in examples], self.labels, tokenizer),
            tokenizer,
            self.labels,
            max_length=self.max_length,
            segments=backbone.roles.segments,
            writing=writing,
            reading=self.head.reading(backbone),
        )
        by_row: list[list[Encoded]] = [[] for _ in examples]
        for sequence in encoded:
            by_row[sequence.row].append(sequence)
        return by_row

    def describe(self, example: Example, found: Answer) -> dict[str, Any]:
        """An answer as JSON holds it, just as `Bundle.predict` gives it."""
        return self.task.describe(example, found) | said_beside(found)


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """One version of one bundle. Holds no tensors."""

    name: str
    version: str
    folder: Path
    method: Method
    tasks: tuple[ServedTask, ...]
    """At least one; several have names."""
    max_length: int
    created: str
    """When it was written: UTC, ISO 8601."""
    references: Mapping[str | None, Reference] = field(default_factory=dict)
    """How validation rows look to its tasks, by their names; empty where the bundle does not say."""

    @property
    def full_name(self) -> str:
        """`reviews@1f0c9a3b77e2`"""
        return f"{self.name}@{self.version}"

    @property
    def is_copy(self) -> bool:
        """Whether it trains matrices of the base, and so holds most of a model of its own."""
        return self.method.trains_matrices

    @property
    def writes(self) -> bool:
        """Whether one of its tasks writes texts."""
        return any(one.head.writes for one in self.tasks)

    def of(self, task: str | None) -> ServedTask:
        """One of its tasks; the only one has no name. Raises BundleError."""
        names = [one.name for one in self.tasks if one.name is not None]
        if task is None and not names:
            return self.tasks[0]
        found = next((one for one in self.tasks if one.name is not None and one.name == task), None)
        if found is None:
            there = f"there are: {', '.join(names)}" if names else "there is one, without a name; leave it out"
            asked = "is asked for one of its tasks" if task is None else f"has no task {task[:100]!r}"
            raise BundleError(f"bundle {self.name!r} {asked}{nearest(task or '', names)} ({there})")
        return found

    def writer(self) -> ServedTask:
        """The one of its tasks that writes texts. Raises Unsupported where there is none, or several."""
        found = [one for one in self.tasks if one.head.writes]
        if len(found) == 1:
            return found[0]
        kinds = ", ".join(one.task.name for one in self.tasks)
        if not found:
            raise Unsupported(f"bundle {self.name!r} of the task {kinds!r} writes no texts; ask it at /v1/predict")
        raise Unsupported(f"several tasks of bundle {self.name!r} write texts; ask one of them at /v1/predict")


def register(folder: Path, name: str, backbone: Backbone) -> Registered:
    """The bundle in a folder by its manifest alone, if it fits this backbone. Raises BundleError, Unsupported."""
    check_name(name)
    manifest = read_manifest(folder)
    _check_fits(manifest, name, backbone)
    names: Sequence[str | None] = manifest.names or (None,)
    return Registered(
        name=name,
        version=version_of(folder),
        folder=folder,
        method=manifest.make_method(),
        tasks=tuple(_task(manifest, one, place, backbone) for place, one in enumerate(names)),
        max_length=manifest.preprocessing.max_length,
        created=manifest.created,
        references=read_references(folder),
    )


def _task(manifest: Manifest, name: str | None, place: int, backbone: Backbone) -> ServedTask:
    alone = manifest.alone(name)
    return ServedTask(
        name=name,
        place=place,
        task=alone.make_task(),
        head=alone.make_head().settled(backbone, alone.labels),
        approach=alone.make_approach(),
        labels=alone.labels,
        columns=alone.columns,
        max_length=alone.preprocessing.max_length,
        scores={split: found.values for split, found in alone.scores.items()},
    )


def check_name(name: str) -> None:
    """Raises BundleError for what is no name of a bundle."""
    if name == BASE:
        raise BundleError(f"{BASE!r} is the base model's own name here; give the bundle another")
    if not re.fullmatch(NAME, name):
        raise BundleError(
            f"{name[:100]!r} is no name for a bundle; expected letters, digits, `.`, `_` and `-`, at most 100"
        )


def version_of(folder: Path) -> str:
    """Two folders with equal manifests are one version. Raises BundleError where there is no manifest."""
    file = folder / MANIFEST
    if not file.is_file():
        raise BundleError(f"the bundle's folder has no {MANIFEST} any more; put the bundle back, or load it anew")
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def _as_read(example: Example) -> Example:
    """Without targets: raw texts have one even where nothing is to be learned from them."""
    return replace(example, sequences=tuple(replace(sequence, target=None) for sequence in example.sequences))


def _check_fits(manifest: Manifest, name: str, backbone: Backbone) -> None:
    check_base(manifest.base, backbone.fingerprint, backbone.name, name)
    check_weights(manifest.base, backbone.weights, name)
    if manifest.base.words and backbone.vocabulary is None:
        raise Unsupported(
            f"bundle {name!r} needs the model's output layer over words, and this server loaded {backbone.name!r} "
            "without it; start the server with --words"
        )
