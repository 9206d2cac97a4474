"""What every method and task must keep when it is served beside all the others on one base."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from adaptune.bundle.inputs import text_columns
from adaptune.bundle.load import Bundle, load_bundle
from adaptune.bundle.manifest import plain
from adaptune.bundle.save import save_bundle
from adaptune.core.backbone import Backbone
from adaptune.core.calibration import Abstention, Calibrated, Calibration, Classes, Scope, ScopeScore
from adaptune.core.errors import Unsupported
from adaptune.core.head import LogitHead
from adaptune.core.task import Task
from adaptune.core.types import Answer
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.serve.answers import ANSWERS, MODELS
from adaptune.serve.compute import Asked, answer_all
from adaptune.serve.pool import Pool
from adaptune.serve.registered import Registered
from adaptune.serve.running import Running, sheet_of
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
TASKS_HERE: list[dict[str, Any]] = [
    *({"name": name} for name in TASKS.names() if name != "chat"),
    {"name": "chat", "template": "plain"},
    {"name": "match", "encoder": "bi"},
    {"name": "rank", "encoder": "cross"},
]
"""Every task, and what asks other heads of it."""
COLUMNS = {"rank": {"candidates": "candidates"}, "choose": {"question": "question"}}
CLOSE = 1e-5


class Kitchen:
    """One pool of a family with a bundle of every method, and one of every task; what each of them says alone."""

    def __init__(self, family: str, folder: Path, assemble: Callable[..., Assembly], scatter: Any, base: Backbone):
        self.folder = folder
        self.base = base
        self.pool = Pool(base, most_hot=200)
        self.before = digest(base)
        self.bundles: dict[str, Registered] = {}
        for seed, (name, method, task, head) in enumerate(cases(family)):
            try:
                assembly = scatter(assemble(family, method, head, seed=seed))
            except Unsupported:
                continue  # a method or head that this family has no place for
            assembly.calibrated = calibrated(assembly, seed)
            columns = COLUMNS.get(task.name, {})
            save_bundle(folder / name, assembly, task, columns=columns, max_length=64, scores={})
            self.bundles[name] = self.pool.load(folder / name, name)
        self.alone: dict[str, Bundle] = {}

    def bundle(self, name: str) -> Bundle:
        if name not in self.alone:
            self.alone[name] = load_bundle(self.folder / name, backbone=self.base)
        return self.alone[name]


def cases(family: str) -> list[tuple[str, dict[str, Any], Task, str]]:
    """Every method with a classifier, and with a writer; every task with each of its heads under LoRA, readers' also
    alone."""
    classify = TASKS.make({"name": "classify"})
    found = [
        (f"classify-{name}", settings(name), classify, "classify")
        for name in METHODS_HERE
        if METHODS.get(name).changes_trunk
    ]
    for task in map(TASKS.make, TASKS_HERE):
        for name in (name for name in HEADS.names() if HEADS.get(name).target is task.target):
            writes = HEADS.get(name).writes
            if writes == (family == "llama"):
                found.append((f"{task.name}-{name}-on-lora", {"name": "lora", "rank": 3}, task, name))
            if not writes and family == "bert":
                found.append((f"{task.name}-{name}-alone", {"name": "head_only"}, task, name))
    if family == "llama":
        write = TASKS.make({"name": "write"})
        found += [
            (f"write-{name}", settings(name), write, "generate")
            for name in METHODS_HERE
            if METHODS.get(name).changes_trunk
        ]
    found.append(("classify-dora", {"name": "lora", "rank": 5, "dora": True, "targets": "all"}, classify, "classify"))
    relate = TASKS.make({"name": "relate"})
    for name in ("lora", "head_only", "prompt"):
        found.append((f"tokens-on-{name}", settings(name), relate, "relate-tokens"))
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
        task = bundle.of(None)
        examples = task.examples([row(bundle, number) for number in range(len(TEXTS))])
        asked += [Asked(bundle, one) for one in task.encode(examples, kitchen.base, kitchen.base.tokenizer)]
        expected += [(name, found) for found in kitchen.bundle(name).answers(examples)]
    order = list(range(len(asked)))
    random.Random(3).shuffle(order)
    found = answered(kitchen.pool, [asked[place] for place in order])
    for place, answer in zip(order, found, strict=True):
        same(expected[place][1], answer, expected[place][0])
    assert digest(kitchen.base) == kitchen.before, "serving wrote into the shared base"


def test_answers_are_what_the_schema_says(kitchen: Kitchen) -> None:
    for name, bundle in kitchen.bundles.items():
        one = bundle.of(None)
        examples = one.examples([row(bundle, 0)])
        answers = [one.describe(examples[0], found) for found in kitchen.bundle(name).answers(examples)]
        assert one.task.name in ANSWERS, "add the answers of this task to adaptune.serve.answers"
        told = {"bundle": name, "version": bundle.version, "task": one.task.name, "answers": answers}
        shown = MODELS[one.task.name].model_validate(told).model_dump(exclude_unset=True)
        assert shown["answers"] == plain(answers), name


def test_calibrated_bundles_of_every_kind_are_served(kitchen: Kitchen) -> None:
    found = [
        answer
        for name in kitchen.bundles
        for answer in kitchen.bundle(name).answers(
            kitchen.bundles[name].of(None).examples([row(kitchen.bundles[name], 0)])
        )
    ]
    assert {answer.abstained for answer in found} == {None, True, False}
    by = [one.part.calibration for one in (kitchen.bundle(name).manifest for name in kitchen.bundles)]
    scores = {one.scope.score for one in by if one is not None and one.scope is not None}
    assert scores == set(get_args(ScopeScore))


def test_methods_that_can_mix_share_a_trunk(kitchen: Kitchen) -> None:
    kinds = {name: kitchen.pool.hot(bundle).kind for name, bundle in kitchen.bundles.items()}
    assert kinds["classify-lora"] is kinds["classify-ia3"] is kinds["classify-dora"] is not None
    assert kinds["classify-adapter"] is not None
    assert kinds["classify-norms"] is not None
    assert [
        name for name, bundle in kitchen.bundles.items() if name.endswith("alone") and kinds[name] is not None
    ] == []
    assert kitchen.pool.hot(kitchen.bundles["classify-prompt"]).assemblies


def test_answers_stay_the_same_while_bundles_go_to_disk_and_come_back(kitchen: Kitchen) -> None:
    few = Pool(kitchen.base, most_hot=3)
    bundles = {
        name: few.register(bundle.folder, name)
        for name, bundle in kitchen.bundles.items()
        if name in [f"classify-{kind}" for kind in ("lora", "ia3", "adapter", "norms", "bitfit", "prompt", "dora")]
    }
    asked = [
        Asked(bundle, one.encode(one.examples([row(bundle, 0)]), kitchen.base, kitchen.base.tokenizer)[0])
        for bundle, one in ((bundle, bundle.of(None)) for bundle in bundles.values())
    ]
    for _ in range(2):
        found = answer_all(few, asked, batch_tokens=600)
        for name, answer in zip(bundles, found, strict=True):
            alone = kitchen.bundle(name)
            same(alone.answers(bundles[name].of(None).examples([row(bundles[name], 0)]))[0], answer, name)
        assert sum(few.is_hot(bundle) for bundle in bundles.values()) == 3


def answered(pool: Pool, asked: Sequence[Asked]) -> list[Any]:
    """As the server has it: texts that grow token by token, a few of them joining at a time, and all else at once."""
    texts = [one for one in asked if one.bundle is not None and one.bundle.writes and pool.writes_by_token(one.bundle)]
    sheets = {one: sheet_of(one, pool) for one in texts}
    running, waiting, written = Running(pool, batch_tokens=200), list(sheets.values()), {}
    while waiting or len(running):
        ended = running.turn(waiting[:5])
        written |= {sheet.asked: answer for sheet, answer in ended.items()}
        waiting = waiting[5:]
    found = iter(answer_all(pool, [one for one in asked if one not in sheets], batch_tokens=600))
    return [written[one] if one in sheets else next(found) for one in asked]


def calibrated(assembly: Assembly, seed: int) -> Calibrated | None:
    """Three of four bundles whose heads give logits are calibrated, those that tell scope by each of its scores."""
    head, scores = assembly.head, (None, *get_args(ScopeScore))
    score = scores[seed % len(scores)]
    if score is None or not isinstance(head, LogitHead):
        return None
    abstain = Abstention(accuracy=0.9, below=0.3 if seed % 2 else 0.9)
    if not head.tells_scope:
        return Calibrated(Calibration(temperature=0.6, abstain=abstain))
    above = {"probability": 0.4, "energy": -0.9, "mahalanobis": 40.0}[score]
    scope = Scope(score=score, kept=0.95, above=above)
    calibration = Calibration(temperature=0.6, abstain=abstain, scope=scope)
    if score != "mahalanobis":
        return Calibrated(calibration)
    linear = head.linear(assembly.layer)
    assert linear is not None
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(2, linear.in_features, generator=generator)
    root = torch.randn(linear.in_features, linear.in_features, generator=generator)
    return Calibrated(calibration, Classes(means, torch.eye(linear.in_features) + root @ root.T / linear.in_features))


def row(bundle: Registered, number: int) -> dict[str, Any]:
    one = bundle.of(None)
    names = text_columns(one.task, one.columns)
    return one.task.sample({name: TEXTS[(number + place) % len(TEXTS)] for place, name in enumerate(names)})


def same(expected: Answer, found: Any, name: str) -> None:
    assert isinstance(found, Answer), (name, found)
    if name.startswith("rank"):
        assert found.value == tuple((text, pytest.approx(score, abs=CLOSE)) for text, score in expected.value), name
    elif isinstance(expected.value, float) or (
        isinstance(expected.value, tuple) and expected.value and isinstance(expected.value[0], float)
    ):
        assert found.value == pytest.approx(expected.value, abs=1e-4, rel=1e-4), name
    else:
        assert found.value == expected.value, name
    assert (found.span, found.abstained) == (expected.span, expected.abstained), name
    assert found.out_of_scope == expected.out_of_scope, name
    assert found.scope == (None if expected.scope is None else pytest.approx(expected.scope, rel=1e-4, abs=1e-4)), name
    for here, there in ((found.probabilities, expected.probabilities), (found.of_each, expected.of_each)):
        assert here == pytest.approx(there, abs=CLOSE), name
    assert found.probability == pytest.approx(expected.probability, abs=CLOSE), name


def digest(base: Backbone) -> str:
    tensors: Sequence[torch.Tensor] = list(base.whole.state_dict().values())
    return hashlib.sha256(b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors)).hexdigest()
