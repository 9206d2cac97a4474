"""A bundle folder becomes a model that answers: checked against its manifest, its base and its golden examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from adaptune.bundle.answers import answer, encoded_for, said_beside
from adaptune.bundle.calibration import take_calibrated
from adaptune.bundle.check import AGAIN, bundle_name, check_base, check_files, check_weights, find_base
from adaptune.bundle.golden import check_golden, dtype_of, golden_examples
from adaptune.bundle.inputs import Input, row_of
from adaptune.bundle.manifest import WEIGHTS, Manifest
from adaptune.bundle.shown import Answers
from adaptune.bundle.weights import read_tensors
from adaptune.core.backbone import Backbone
from adaptune.core.errors import BundleError, nearest
from adaptune.core.types import Answer, Example, OfMarked, Scores
from adaptune.evaluate.likelihood import with_likelihood
from adaptune.models.assembly import Assembly
from adaptune.models.joint import Learner
from adaptune.models.load import load_backbone


class Bundle:
    """What a task learned, loaded onto its base model. Any number of bundles may share one backbone."""

    def __init__(self, name: str, manifest: Manifest, assembly: Assembly) -> None:
        self.name = name
        self.manifest = manifest
        self.assembly = assembly
        self.task = manifest.make_task()

    def __repr__(self) -> str:
        base, method = self.manifest.base.name, self.manifest.method["name"]
        return f"Bundle({self.name!r}: {self.task.name} with {len(self.manifest.labels)} labels, {method} on {base!r})"

    def of(self, task: str | None) -> Bundle:
        """This: its one task has no name. Raises BundleError where one is named."""
        self.manifest.alone(task)
        return self

    @property
    def exact(self) -> bool:
        """Whether the recorded answers and those given here are both computed in fp32."""
        return self.manifest.base.dtype == dtype_of(self.assembly.backbone) == "float32"

    def predict(
        self,
        inputs: Iterable[Input],
        *,
        task: str | None = None,
        corpus: Iterable[str] | None = None,
        batch_tokens: int | None = None,
    ) -> list[dict[str, Any]]:
        """One readable answer an input, with its probability. `task` names one of several; here there is one.

        An input is a text, the words of a text, or a row: a mapping with the task's columns or those of the training
        files. `corpus`: texts that every query is ranked against. Raises DataError for an input that the task cannot
        read, Unsupported for a task that reads no corpus.
        """
        self.of(task)
        if isinstance(inputs, str | Mapping):
            inputs = [inputs]
        if corpus is not None:
            inputs = [{self.task.columns[0].name: given} if isinstance(given, str) else given for given in inputs]
        rows = [row_of(given, number, self.task, self.manifest.columns) for number, given in enumerate(inputs, start=1)]
        examples = [self.task.example(row) for row in rows]
        answers = self.answers(examples, corpus=corpus, batch_tokens=batch_tokens)
        return Answers(self.describe(example, found) for example, found in zip(examples, answers, strict=True))

    def evaluate(
        self, examples: Sequence[Example], *, corpus: Iterable[str] | None = None, batch_tokens: int | None = None
    ) -> Scores:
        """Every metric of the task over labelled examples.

        Raises BundleError where one has no label, or a relation that the bundle cannot answer: most are misspelt.
        """
        for example in examples:
            if example.expected is None:
                raise BundleError(f"{example.row.where} has no label; only labelled rows can be evaluated")
            self._refuse_unknown_relation(example)
        if corpus is None and self.task.pools:
            examples = self.task.pooled(examples, None)
        answers = self.answers(examples, corpus=corpus, batch_tokens=batch_tokens)
        scores = self.task.measure(answers, [example.expected for example in examples], self.assembly.labels)
        if not self.task.likelihood:
            return scores
        encoded = encoded_for(self.assembly, examples, max_length=self.manifest.preprocessing.max_length, labelled=True)
        return with_likelihood(scores, self.assembly, encoded, batch_tokens=batch_tokens)

    def _refuse_unknown_relation(self, example: Example) -> None:
        known = self.assembly.labels
        for target in (sequence.target for sequence in example.sequences):
            if isinstance(target, OfMarked) and target.value not in known:
                raise BundleError(
                    f"{example.row.where}: bundle {self.name!r} knows no relation {target.value!r}"
                    f"{nearest(target.value, known.names)} (it knows: {', '.join(known.names)}); correct the row, or "
                    "leave it out"
                )

    def answers(
        self, examples: Sequence[Example], *, corpus: Iterable[str] | None = None, batch_tokens: int | None = None
    ) -> list[Answer]:
        """One Answer an example, in their order; from a corpus where one is given. Raises DataError, Unsupported."""
        if corpus is not None:
            examples = self.task.pooled(examples, list(corpus))
        return answer(
            self.assembly, examples, max_length=self.manifest.preprocessing.max_length, batch_tokens=batch_tokens
        )

    def describe(self, example: Example, found: Answer) -> dict[str, Any]:
        """An answer as people read it and JSON holds it."""
        return self.task.describe(example, found) | said_beside(found)


def load_bundle(
    folder: str | Path,
    *,
    model: str | None = None,
    backbone: Backbone | None = None,
    trust_remote_code: bool = False,
) -> Bundle:
    """The bundle in a folder, on its base model and checked.

    The base is `backbone` where one is loaded already, else the model that `model` names, else the one that the
    manifest names. Raises BundleError for a damaged bundle or another base, ModelError where the base cannot be found.
    """
    folder = Path(folder)
    name = bundle_name(folder)
    manifest = check_files(folder)
    state = read_tensors(folder / WEIGHTS)
    calibrated = take_calibrated(state, manifest.part.calibration, name)
    method, head = manifest.make_method(), manifest.make_head()
    if backbone is None:
        config = find_base(manifest.base, name, model=model, trust_remote_code=trust_remote_code)
        backbone = load_backbone(config, words=manifest.base.words)
    check_base(manifest.base, backbone.fingerprint, backbone.name, name)
    check_weights(manifest.base, backbone.weights, name)
    assembly = Assembly(backbone, method, head, manifest.labels, seed=0, approach=manifest.make_approach())
    put_back(state, assembly, name)
    assembly.calibrated = calibrated
    return checked(Bundle(name, manifest, assembly.eval()))


def put_back(state: dict[str, Tensor], learner: Learner, name: str) -> None:
    """A bundle's tensors in their places. Raises BundleError where some are missing, unknown or of another shape."""
    _check_names(state, learner, name)
    try:
        learner.load(state)
    except (KeyError, RuntimeError, ValueError) as error:
        raise BundleError(f"the tensors of bundle {name!r} do not fit its manifest: {error}; {AGAIN}") from error


def checked(bundle: Bundle) -> Bundle:
    """The bundle, once it has answered its golden examples as recorded. Raises BundleError."""
    golden = bundle.manifest.golden
    calibrated = bundle.assembly.calibrated
    answers = bundle.answers(golden_examples(bundle.task, golden))
    check_golden(golden, answers, exact=bundle.exact, by=calibrated and calibrated.by)
    return bundle


def load_trunk(folder: str | Path, onto: Assembly) -> Bundle:
    """A bundle's method under the head and on the base of another assembly, where its own head cannot stand there.

    Its golden examples are not asked, which its head would have to answer. Raises BundleError.
    """
    folder = Path(folder)
    name, manifest, backbone = bundle_name(folder), check_files(folder), onto.backbone
    manifest = manifest.alone(manifest.names[0]) if manifest.names else manifest
    check_base(manifest.base, backbone.fingerprint, backbone.name, name)
    check_weights(manifest.base, backbone.weights, name)
    assembly = Assembly(backbone, manifest.make_method(), onto.head, onto.labels, seed=0, approach=onto.approach)
    state = read_tensors(folder / WEIGHTS)
    own = {tensor: value for tensor, value in state.items() if tensor.startswith("method.")}
    try:
        assembly.load(own | {f"head.{tensor}": value for tensor, value in assembly.layer.state_dict().items()})
    except (KeyError, RuntimeError, ValueError) as error:
        raise BundleError(f"the tensors of bundle {name!r} do not fit its manifest: {error}; {AGAIN}") from error
    return Bundle(name, manifest, assembly.eval())


def _check_names(state: dict[str, Tensor], learner: Learner, name: str) -> None:
    """Refuse a state that lacks tensors or has others. Raises BundleError."""
    wrong = sorted(state.keys() ^ learner.state().keys())
    if wrong:
        what = "lacks" if wrong[0] not in state else "has an unknown"
        raise BundleError(f"bundle {name!r} {what} tensor {wrong[0]!r} ({len(wrong)} do not fit); {AGAIN}")
