"""What a head with tokens of its own must keep, whatever the method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adaptune.bundle.answers import encoded_for as tokens_of
from adaptune.bundle.load import load_bundle
from adaptune.bundle.save import save_bundle
from adaptune.core.batch import Batch, Encoded
from adaptune.core.types import Answer, Row
from adaptune.engine.loop import Step
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.serve.compute import Asked, answer_all
from adaptune.serve.pool import Pool
from adaptune.tasks import TASKS

FAMILIES = ("bert", "llama", "gpt2", "t5", "bart")
HEAD = "relate-tokens"
STEPPING = [name for name in METHODS.names() if METHODS.get(name).steps]
SETTINGS: dict[str, dict[str, Any]] = {
    "adalora": {"rank": 2, "initial_rank": 4},
    "prefix": {"length": 3},
    "prompt": {"length": 3},
    "ptuning": {"length": 3},
}
REFUSED = {("bitfit", "t5")}
"""Methods that do not take a family."""
MOVED = [
    *((method, family) for method in STEPPING for family in ("bert", "t5") if (method, family) not in REFUSED),
    *((method, family) for method in ("head_only", "lora", "prompt") for family in ("llama", "gpt2", "bart")),
]
"""Every method on an encoder and on a model of two stacks; of each kind one on the other families."""

Assemble = Callable[..., Assembly]
Rows = Callable[..., list[Encoded]]


def _make(assemble: Assemble, family: str, method: str, head: str = HEAD, **more: Any) -> Assembly:
    return assemble(family, {"name": method, **SETTINGS.get(method, {})}, head, **more)


def _own(assembly: Assembly) -> Tensor:
    found = assembly.head.own_embeddings(assembly.layer)
    assert found is not None
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_at_the_start_they_are_read_as_the_signs_are(
    assemble: Assemble, batch_for: Callable[..., Batch], family: str
) -> None:
    tokens, signs = (_make(assemble, family, "head_only", head).eval() for head in (HEAD, "relate"))
    batch = batch_for(tokens)
    with torch.inference_mode():
        torch.testing.assert_close(tokens.hidden(batch), signs.hidden(batch))


@pytest.mark.parametrize("method", ["head_only", "full", "prompt"])
@pytest.mark.parametrize("family", FAMILIES)
def test_they_are_read_as_tokens_added_to_a_vocabulary_would_be(
    assemble: Assemble, scatter: Any, hidden_of: Any, batch_for: Callable[..., Batch], family: str, method: str
) -> None:
    assembly = scatter(_make(assemble, family, method))
    own, batch = _own(assembly).detach(), batch_for(assembly)
    grown = deepcopy(assembly)
    trunk: Any = grown.trunk
    size = trunk.config.vocab_size
    trunk.resize_token_embeddings(size + len(own), mean_resizing=False)
    with torch.no_grad():
        trunk.get_input_embeddings().weight[size:] = own
    assert batch.ids is not None
    assert batch.items is not None
    ids = batch.ids.index_put((batch.sequence_of, batch.token_of), size + batch.items)
    added = replace(batch, ids=ids, sequence_of=None, token_of=None, items=None)
    torch.testing.assert_close(hidden_of(assembly, batch), hidden_of(grown, added), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("method", "family"), MOVED)
def test_they_learn_through_every_trunk_and_the_base_stays_as_it_was(
    assemble: Assemble, encoded_for: Rows, train_on: Callable[..., Iterator[Step]], method: str, family: str
) -> None:
    assembly = _make(assemble, family, method)
    before, start = deepcopy(assembly.backbone.whole.state_dict()), _own(assembly).detach().clone()
    encoded = encoded_for(assembly, rows=8)
    table: Any = assembly.backbone.trunk.get_input_embeddings()  # type: ignore[operator]
    assert max(int(sequence.ids.max()) for sequence in encoded) < len(table.weight)
    steps = train_on(assembly, encoded, max_steps=3, learning_rate=1e-2, gradient_checkpointing=True)
    assert len(list(steps)) == 3
    assert ((_own(assembly) - start).abs().amax(dim=1) > 1e-3).all(), "some of the four did not move"
    after = assembly.backbone.whole.state_dict()
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


@pytest.mark.parametrize("method", ["head_only", "lora", "prompt", "ladder"])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_gradient_checkpointing_changes_no_gradient_of_theirs(
    assemble: Assemble, scatter: Any, batch_for: Callable[..., Batch], family: str, method: str
) -> None:
    found = []
    for recomputes in (False, True):
        assembly = scatter(_make(assemble, family, method)).train()
        assembly.recomputes = recomputes
        assembly(batch_for(assembly)).total.backward()
        found.append(_own(assembly).grad)
    assert found[0] is not None
    assert found[0].abs().amax(dim=1).min() > 0
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_state_holds_them_and_loads_into_equal_answers(
    assemble: Assemble, scatter: Any, batch_for: Callable[..., Batch], family: str
) -> None:
    trained = scatter(_make(assemble, family, "lora"))
    state, batch = trained.state(), batch_for(trained)
    assert torch.equal(state["head.markers"], _own(trained))
    fresh = _make(assemble, family, "lora", seed=1).eval()
    assert fresh.answers(batch) != trained.answers(batch)
    fresh.load(state)
    assert fresh.answers(batch) == trained.answers(batch)


@pytest.mark.parametrize(("family", "method"), [("bert", "lora"), ("bert", "head_only"), ("llama", "lora")])
def test_learns_a_planted_rule_with_them(
    assemble: Assemble,
    encoded_for: Rows,
    train_on: Callable[..., Iterator[Step]],
    batch_for: Callable[..., Batch],
    family: str,
    method: str,
) -> None:
    assembly = _make(assemble, family, method)
    settings = {"max_steps": 80, "batch_tokens": 512, "learning_rate": 0.02, "schedule": "linear"}
    list(train_on(assembly, encoded_for(assembly, rows=128, seed=1), **settings))
    batch = batch_for(assembly, rows=96, seed=2)
    answers = assembly.eval().answers(batch)
    assert batch.labels is not None
    right = [answers[row].value == assembly.labels.names[label] for row, label in enumerate(batch.labels.tolist())]
    assert sum(right) / len(right) >= 0.75


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_bundles_with_and_without_them_are_served_in_one_pass_as_each_answers_alone(
    assemble: Assemble, scatter: Any, backbone_of: Any, tmp_path: Path, family: str
) -> None:
    """Their texts are the same tokens, so that nothing but each bundle's own tells them apart."""
    base = backbone_of(family)
    pool = Pool(base)
    task = TASKS.make({"name": "relate"})
    texts = ("the <e1>train</e1> is <e2>late</e2>", "a red <e2>box</e2> of the old <e1>school</e1>")
    examples = [task.example(Row("rows.csv", number, {"text": text})) for number, text in enumerate(texts)]
    asked, expected = [], []
    cases = [("lora", HEAD), ("lora", "relate"), ("head_only", HEAD), ("head_only", "relate"), ("prompt", HEAD)]
    for seed, (method, head) in enumerate([*cases, *cases]):
        folder, name = tmp_path / str(seed), f"bundle-{seed}"
        assembly = _make(assemble, family, method, head, seed=seed)
        if head == HEAD:
            with torch.no_grad():
                _own(assembly).add_(torch.randn(_own(assembly).shape, generator=torch.Generator().manual_seed(seed)))
        save_bundle(folder, scatter(assembly), task, columns={}, max_length=64, scores={})
        registered, alone = pool.load(folder, name), load_bundle(folder, backbone=base)
        kind = pool.hot(registered).kind
        assert (kind is not None) == (method == "lora")
        expected += alone.answers(examples)
        asked += [Asked(registered, [one]) for one in tokens_of(alone.assembly, examples, max_length=64)]
    found = answer_all(pool, asked, batch_tokens=4096)
    for one, other in zip(found, expected, strict=True):
        assert isinstance(one, Answer)
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert len({tuple(round(p, 5) for p in answer.probabilities) for answer in expected}) > len(cases)
