"""Everything that can be refused before a model is loaded: data, labels, and parts that do not fit the family."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adaptune.core.errors import AdaptuneError, DataError, Unsupported, nearest
from adaptune.core.log import warn
from adaptune.core.types import Labels
from adaptune.data.doctor import Findings, diagnose
from adaptune.data.load import Splits, load_splits
from adaptune.data.stored import answered
from adaptune.engine.packing import packs
from adaptune.models.families import layers_of, roles_of
from adaptune.models.layout import check_library
from adaptune.models.load import load_config
from adaptune.recipe import MultiTask, Recipe


@dataclass(frozen=True, slots=True)
class Prepared:
    """The checked data of a run."""

    splits: Splits
    findings: Findings
    columns: Mapping[str, str]
    """The task's name of a column -> the name in the training file."""
    fingerprint: str
    """Of recipe and data together: what a checkpoint belongs to."""

    def record(self) -> dict[str, Any]:
        """What environment.json says of the data."""
        return {"data": dict(self.splits.fingerprints), "run": self.fingerprint, "findings": self.findings.record()}


def prepare(recipe: Recipe) -> Prepared:
    """Read and check a recipe's data, and check its method against the model's configuration; imports no torch.

    Raises DataError, ModelError or Unsupported.
    """
    check_parts(recipe)
    seed = recipe.seed if recipe.data.split_seed is None else recipe.data.split_seed
    splits = load_splits(recipe.data, recipe.task, seed=seed)
    known = () if recipe.approach.needs_rows else labels_of(recipe, splits).names
    findings = diagnose(splits.parts, recipe.task, known=known)
    _check_scope_label(recipe, splits)
    _check_thresholds(recipe, splits)
    _refuse_faulty(findings)
    for finding in findings.warnings:
        warn(str(finding))
    return Prepared(splits, findings, splits.columns, _fingerprint(recipe, splits))


def prepared_for(recipe: Recipe, other: Prepared) -> Prepared:
    """What was prepared for a recipe with the same task, data section and seed of the splits, for this one.

    Raises DataError, ModelError or Unsupported.
    """
    check_parts(recipe)
    if known := recipe.approach.known_labels:
        _refuse_faulty(diagnose(other.splits.parts, recipe.task, known=known))
    return replace(other, fingerprint=_fingerprint(recipe, other.splits))


def check_parts(recipe: Recipe) -> None:
    """Check method, head and training against the model's configuration. Raises ModelError or Unsupported."""
    recipe.method.check_weights(recipe.model.weights)
    check_library(recipe.model.weights)
    settings = load_config(recipe.model)
    recipe.method.check(roles_of(settings), layers_of(settings))
    recipe.head.check(roles_of(settings))
    recipe.approach.check_family(roles_of(settings))
    packs(recipe.train, recipe.method, recipe.head, roles_of(settings))  # refuses what cannot be
    _refuse_learning_nothing(recipe)


def _check_thresholds(recipe: Recipe, splits: Splits) -> None:
    """There are validation rows to set thresholds on. Raises DataError."""
    for key in ("abstain", "out_of_scope"):
        if not splits.valid and getattr(recipe.evaluate, key) is not None:
            raise DataError(
                f"evaluate.{key} sets a threshold on validation rows, and there are none; name them as data.valid, or "
                "leave it out"
            )


def labels_of(recipe: Recipe, splits: Splits) -> Labels:
    """The label inventory: that of the training rows, unless the approach's settings name another. Raises DataError."""
    if known := recipe.approach.known_labels or splits.named:
        return Labels(known)
    return recipe.approach.labels(recipe.task, answered(splits.train))


def _check_scope_label(recipe: Recipe, splits: Splits) -> None:
    """The label out of scope is one that is learned. Raises DataError."""
    label = recipe.data.out_of_scope_label
    if label is None:
        return
    names = labels_of(recipe, splits).names
    if label not in names:
        raise DataError(
            f"data.out_of_scope_label is {label!r}, which no training row has{nearest(label, names)}; where such rows "
            "are not learned, put them into a file: data.out_of_scope"
        )


def _refuse_faulty(findings: Findings) -> None:
    if findings.errors:
        raise DataError("\n".join(str(finding) for finding in findings.errors))


def prepare_tasks(recipe: MultiTask) -> dict[str, Prepared]:
    """The same for every task of a recipe of several; what is raised names the task."""
    found = {}
    for name in recipe.tasks:
        with naming(name):
            found[name] = prepare(recipe.alone(name))
    return found


@contextmanager
def naming(task: str) -> Iterator[None]:
    """Whatever fails in the block names the task, one of several."""
    try:
        yield
    except AdaptuneError as error:
        error.args = (f"task {task!r}: {error}",)
        raise


def _refuse_learning_nothing(recipe: Recipe) -> None:
    method, head = recipe.method, recipe.head
    # A method without steps is told to learn nothing: the model answers as it comes.
    if method.steps and not method.changes_trunk and not head.owns_weights:
        raise Unsupported(
            f"nothing would learn: the method {method.name!r} leaves the model as it is, and the head {head.name!r} "
            "has no weights of its own; use another method, such as lora, or none for the model as it comes"
        )


def _fingerprint(recipe: Recipe, splits: Splits) -> str:
    """The same for the same recipe and data, wherever the run folder lies."""
    same = recipe.model_copy(update={"out": Path(), "track": ()}).as_yaml()
    read = "".join(file.read_text(encoding="utf-8") for file in recipe.approach.reads())
    return hashlib.sha256((same + read + json.dumps(dict(splits.fingerprints), sort_keys=True)).encode()).hexdigest()


def fingerprint_of_tasks(recipe: MultiTask, prepared: Mapping[str, Prepared]) -> str:
    """The same of a recipe of several tasks."""
    same = recipe.model_copy(update={"out": Path(), "track": ()}).as_yaml()
    return hashlib.sha256("".join([same, *(one.fingerprint for one in prepared.values())]).encode()).hexdigest()
