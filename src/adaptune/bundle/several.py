"""A bundle of several tasks becomes one model that answers for each, or for all. Knows no recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adaptune.bundle.calibration import take_calibrated
from adaptune.bundle.check import bundle_name, check_base, check_files, check_weights, find_base
from adaptune.bundle.inputs import Input
from adaptune.bundle.load import Bundle, checked, load_bundle, put_back
from adaptune.bundle.manifest import WEIGHTS, Manifest, read_manifest
from adaptune.bundle.shown import Answers
from adaptune.bundle.weights import read_tensors
from adaptune.core.backbone import Backbone
from adaptune.core.types import Example, Scores
from adaptune.models.joint import Joint, Output
from adaptune.models.load import load_backbone


class MultiTaskBundle:
    """What several tasks learned with one method, loaded onto its base model: a bundle for each, on one trunk."""

    def __init__(self, name: str, manifest: Manifest, bundles: Mapping[str, Bundle]) -> None:
        self.name = name
        self.manifest = manifest
        self.bundles = bundles
        """By the names of the tasks."""

    def __repr__(self) -> str:
        base, method = self.manifest.base.name, self.manifest.method["name"]
        return f"MultiTaskBundle({self.name!r}: {', '.join(self.bundles)}; {method} on {base!r})"

    def of(self, task: str | None) -> Bundle:
        """The bundle of one task. Raises BundleError for a name that is not there, or none."""
        self.manifest.alone(task)
        assert task is not None
        return self.bundles[task]

    def predict(
        self,
        inputs: Iterable[Input],
        *,
        task: str | None = None,
        corpus: Iterable[str] | None = None,
        batch_tokens: int | None = None,
    ) -> list[dict[str, Any]]:
        """One readable answer an input: of one task, or without its name of every task, by their names.

        Inputs and a corpus, for one named task, are as `Bundle.predict` takes them. Raises DataError for an input that
        a task cannot read, BundleError for a corpus without the task's name.
        """
        if task is not None or corpus is not None:
            return self.of(task).predict(inputs, corpus=corpus, batch_tokens=batch_tokens)
        given = [inputs] if isinstance(inputs, str | Mapping) else list(inputs)
        answers = [bundle.predict(given, batch_tokens=batch_tokens) for bundle in self.bundles.values()]
        return Answers(dict(zip(self.bundles, of_input, strict=True)) for of_input in zip(*answers, strict=True))

    def evaluate(self, examples: Sequence[Example], *, task: str, batch_tokens: int | None = None) -> Scores:
        """Every metric of a task over labelled examples of it. Raises BundleError where one has no label."""
        return self.of(task).evaluate(examples, batch_tokens=batch_tokens)


def load(
    folder: str | Path,
    *,
    model: str | None = None,
    backbone: Backbone | None = None,
    trust_remote_code: bool = False,
) -> Bundle | MultiTaskBundle:
    """The bundle in a folder, of one task or of several, on its base model and checked, as `load_bundle` says."""
    loaded = load_tasks if read_manifest(Path(folder)).names else load_bundle
    return loaded(folder, model=model, backbone=backbone, trust_remote_code=trust_remote_code)


def load_tasks(
    folder: str | Path,
    *,
    model: str | None = None,
    backbone: Backbone | None = None,
    trust_remote_code: bool = False,
) -> MultiTaskBundle:
    """A bundle of several tasks, on its base model and checked by every task's golden examples.

    Raises BundleError, ModelError as `load_bundle` does.
    """
    folder = Path(folder)
    name = bundle_name(folder)
    manifest = check_files(folder)
    state = read_tensors(folder / WEIGHTS)
    alone = {task: manifest.alone(task) for task in manifest.names}
    calibrated = {task: take_calibrated(state, one.part.calibration, name, task) for task, one in alone.items()}
    outputs = {task: Output(one.make_head(), one.labels, one.make_approach()) for task, one in alone.items()}
    method = manifest.make_method()
    if backbone is None:
        config = find_base(manifest.base, name, model=model, trust_remote_code=trust_remote_code)
        backbone = load_backbone(config, words=manifest.base.words)
    check_base(manifest.base, backbone.fingerprint, backbone.name, name)
    check_weights(manifest.base, backbone.weights, name)
    joint = Joint(backbone, method, outputs, seed=0).eval()
    put_back(state, joint, name)
    for task, part in joint.of.items():
        part.calibrated = calibrated[task]
    bundles = {task: checked(Bundle(name, one, joint.of[task])) for task, one in alone.items()}
    return MultiTaskBundle(name, manifest, bundles)
