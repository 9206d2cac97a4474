"""What every method and task must keep when it is served beside all the others on one base."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from adaptune.bundle.inputs import text_columns
from adaptune.bundle.load import Bundle, load_bundle
from adaptune.bundle.manifest import plain
from adaptune.bundle.save import save_bundle
from adaptune.core.backbone import Backbone
from adaptune.core.errors import Unsupported
from adaptune.core.task import Task
from adaptune.core.types import Answer
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.serve.answers import ANSWERS, MODELS
from adaptune.serve.compute import Asked, answer_all
from adaptune.serve.pool import Pool
from adaptune.serve.registered import Registered
from adaptune.tasks import TASKS

FAMILIES = ("bert", "llama")
TEXTS = (
    "the late train is quick",
    "send it to her house by bus",
    "john and mary never play the game again",
    "a red box",
    "it was a terrible night and the bank was closed when we came back from the old town by the river",
)
METHODS_HERE = [name for name in METHODS.names() if not METHODS.get(name).trains_matrices]
CLOSE = 1e-5


class Kitchen:
    """One pool of a family with a bundle of every method, and one of every task; what each of them says alone."""

    def __init__(self, family: str, folder: Path, assemble: Callable[..., Assembly], scatter: Any, base: Backbone):
        self.folder = folder
        self.base = base
        self.pool = Pool(base, most_hot=200)
        self.before = digest(base)
        self.bundles: dict[str, Registered] = {}
        for seed, (name, method, task) in enumerate(cases(family)):
            try:
                assembly = scatter(assemble(family, method, task.default_head, seed=seed))
            except Unsupported:
                continue  # a method or head that this family has no place for
            save_bundle(folder / name, assembly, task, columns={}, max_length=64, scores={})
            self.bundles[name] = self.pool.load(folder / name, name)
        self.alone: dict[str, Bundle] = {}

    def bundle(self, name: str) -> Bundle:
        if name not in self.alone:
            self.alone[name] = load_bundle(self.folder / name, backbone=self.base)
        return self.alone[name]


def cases(family: str) -> list[tuple[str, dict[str, Any], Task]]:
    """Every method with a classifier; every task under LoRA, encoders' also on the bare trunk."""
    classify = TASKS.make({"name": "classify"})
    found = [(f"classify-{name}", settings(name), classify) for name in METHODS_HERE if METHODS.get(name).changes_trunk]
    for task in map(TASKS.make, ({"name": name} for name in TASKS.names())):
        head = HEADS.get(task.default_head)
        if head.writes == (family == "llama"):
            found.append((f"{task.name}-on-lora", {"name": "lora", "rank": 3}, task))
        if head.owns_weights and family == "bert":
            found.append((f"{task.name}-alone", {"name": "head_only"}, task))
    found.append(("classify-dora", {"name": "lora", "rank": 5, "dora": True, "targets": "all"}, classify))
    return found


def settings(name: str) -> dict[str, Any]:
    small = {"prompt": {"length": 4}, "prefix": {"length": 4}, "ptuning": {"length": 4}}
    return {"name": name, **{key: value for key, value in small.get(name, {}).items() if key in fields(name)}}


def fields(name: str) -> Mapping[str, Any]:
    return METHODS.get(name).model_fields


@pytest.fixture(scope="module", params=FAMILIES)
def kitchen(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    assemble: Callable[..., Assembly],
    scatter: Any,
    backbone_of: Callable[..., Backbone],
) -> Kitchen:
    base = backbone_of(request.param, words=True)
    return Kitchen(request.param, tmp_path_factory.mktemp(f"served-{request.param}"), assemble, scatter, base)


def test_mixed_answers_equal_those_of_each_bundle_alone(kitchen: Kitchen) -> None:
    asked, expected = [], []
    for name, bundle in kitchen.bundles.items():
        examples = bundle.examples([row(bundle, number) for number in range(len(TEXTS))])
        asked += [Asked(bundle, one) for one in bundle.encode(examples, kitchen.base, kitchen.base.tokenizer)]
        expected += [(name, found) for found in kitchen.bundle(name).answers(examples)]
    order = list(range(len(asked)))
    random.Random(3).shuffle(order)
    found = answer_all(kitchen.pool, [asked[place] for place in order], batch_tokens=600)
    for place, answer in zip(order, found, strict=True):
        same(expected[place][1], answer, expected[place][0])
    assert digest(kitchen.base) == kitchen.before, "serving wrote into the shared base"


def test_answers_are_what_the_schema_says(kitchen: Kitchen) -> None:
    for name, bundle in kitchen.bundles.items():
        examples = bundle.examples([row(bundle, 0)])
        answers = [bundle.describe(examples[0], found) for found in kitchen.bundle(name).answers(examples)]
        told = {"bundle": name, "version": bundle.version, "task": bundle.task.name, "answers": answers}
        shown = MODELS[bundle.task.name].model_validate(told).model_dump(exclude_unset=True)
        assert shown["answers"] == plain(answers), name
        assert bundle.task.name in ANSWERS, "add the answers of this task to adaptune.serve.answers"


def test_methods_that_can_mix_share_a_trunk(kitchen: Kitchen) -> None:
    kinds = {name: kitchen.pool.hot(bundle).kind for name, bundle in kitchen.bundles.items()}
    assert kinds["classify-lora"] is kinds["classify-ia3"] is kinds["classify-dora"] is not None
    assert kinds["classify-adapter"] is not None
    assert kinds["classify-norms"] is not None
    assert [
        name for name, bundle in kitchen.bundles.items() if name.endswith("alone") and kinds[name] is not None
    ] == []
    assert kitchen.pool.hot(kitchen.bundles["classify-prompt"]).assembly is not None


def test_answers_stay_the_same_while_bundles_go_to_disk_and_come_back(kitchen: Kitchen) -> None:
    few = Pool(kitchen.base, most_hot=3)
    bundles = {
        name: few.register(bundle.folder, name)
        for name, bundle in kitchen.bundles.items()
        if name.partition("-")[2] in ("lora", "ia3", "adapter", "norms", "bitfit", "prompt", "dora")
    }
    asked = [
        Asked(bundle, bundle.encode(bundle.examples([row(bundle, 0)]), kitchen.base, kitchen.base.tokenizer)[0])
        for bundle in bundles.values()
    ]
    for _ in range(2):
        found = answer_all(few, asked, batch_tokens=600)
        for name, answer in zip(bundles, found, strict=True):
            alone = kitchen.bundle(name)
            same(alone.answers(bundles[name].examples([row(bundles[name], 0)]))[0], answer, name)
        assert sum(few.is_hot(bundle) for bundle in bundles.values()) == 3


def row(bundle: Registered, number: int) -> dict[str, Any]:
    names = text_columns(bundle.task, {})
    return bundle.task.sample({name: TEXTS[(number + place) % len(TEXTS)] for place, name in enumerate(names)})


def same(expected: Answer, found: Any, name: str) -> None:
    assert isinstance(found, Answer), (name, found)
    if isinstance(expected.value, float) or (expected.value and isinstance(expected.value[0], float)):
        assert found.value == pytest.approx(expected.value, abs=1e-4, rel=1e-4), name
    else:
        assert found.value == expected.value, name
    assert found.span == expected.span
    for here, there in ((found.probabilities, expected.probabilities), (found.of_each, expected.of_each)):
        assert here == pytest.approx(there, abs=CLOSE), name
    assert found.probability == pytest.approx(expected.probability, abs=CLOSE), name


def digest(base: Backbone) -> str:
    tensors: Sequence[torch.Tensor] = list(base.whole.state_dict().values())
    return hashlib.sha256(b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors)).hexdigest()
