"""What every approach must keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from adaptune.approaches import APPROACHES
from adaptune.core.approach import Approach
from adaptune.core.batch import Batch, Encoded
from adaptune.core.catalogue import section
from adaptune.core.head import LossSum
from adaptune.core.types import Example, Labels, OfSequence, Row, Sequence
from adaptune.engine.loop import Step
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.in_parts import PART, OnFeatures

LABELS = Labels(("no", "yes"), (24, 24))
SETTINGS: dict[str, dict[str, Any]] = {}
"""What an approach cannot be without, by its name."""
LEARNING = [name for name in METHODS.names() if METHODS.get(name).steps and METHODS.get(name).changes_trunk]
SHORT: dict[str, dict[str, Any]] = {
    "adalora": {"rank": 2, "initial_rank": 4},
    "prefix": {"length": 3},
    "prompt": {"length": 3},
    "ptuning": {"length": 3},
}
EXAMPLE = Example(
    Row("rows.csv", 1, {"text": "a late game", "label": "yes"}),
    (Sequence("a late game", None, OfSequence("yes")),),
    "yes",
)


@pytest.fixture(params=APPROACHES.names())
def approach(request: pytest.FixtureRequest) -> Approach:
    """Every one, settled on one row of each label."""
    made = APPROACHES.make({"name": request.param, **SETTINGS.get(request.param, {})})
    other = replace(EXAMPLE, sequences=(Sequence("a bank", None, OfSequence("no")),), expected="no")
    return made.settled([EXAMPLE, other], LABELS, seed=1)


def _texts(example: Example) -> list[tuple[object, object]]:
    return [(sequence.first, sequence.second) for sequence in example.sequences]


def test_a_manifest_keeps_it_whole(approach: Approach) -> None:
    assert APPROACHES.make(section(approach)) == approach


def test_a_row_reads_alike_with_and_without_its_label(approach: Approach) -> None:
    unlabelled = replace(EXAMPLE, sequences=(Sequence("a late game"),), expected=None)
    learned, asked = (approach.put(one, LABELS, mask="[MASK]") for one in (EXAMPLE, unlabelled))
    assert _texts(learned) == _texts(asked)
    assert (learned.row, learned.expected) == (EXAMPLE.row, EXAMPLE.expected)
    assert all(sequence.target is None for sequence in asked.sequences)


def test_it_says_whether_it_rewrites_rows(approach: Approach) -> None:
    if not approach.rewrites:
        assert approach.put(EXAMPLE, LABELS, mask="[MASK]") is EXAMPLE


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_batch_passed_in_parts_of_like_length_gives_the_same_states(
    family: str,
    assemble: Callable[..., Assembly],
    batch_for: Callable[..., Batch],
    hidden_of: Callable[..., torch.Tensor],
) -> None:
    assembly = assemble(family, {"name": "lora"})
    batch = batch_for(assembly, 3 * PART + 5)
    under = OnFeatures.of(assembly, _sum_of_features, seed=1)
    torch.testing.assert_close(hidden_of(under, batch), hidden_of(assembly, batch), rtol=0, atol=1e-5)


def test_a_loss_over_features_trains_the_method_and_not_the_head(
    assemble: Callable[..., Assembly], batch_for: Callable[..., Batch]
) -> None:
    assembly = assemble("bert", {"name": "lora"})
    under = OnFeatures.of(assembly, _sum_of_features, seed=1)
    assert under.couples_rows
    torch.autograd.backward(under(batch_for(assembly, 2 * PART)).total)
    learns = [p for p in assembly.trunk.parameters() if p.requires_grad]
    assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in learns)
    assert all(p.grad is None for p in (*assembly.layer.parameters(), *under.layer.parameters()))


@pytest.mark.parametrize(
    ("method", "head"), [*((name, "verbal") for name in LEARNING), ("lora", "entail"), ("prompt", "entail")]
)
def test_every_method_learns_through_an_output_layer_that_stays(
    method: str,
    head: str,
    assemble: Callable[..., Assembly],
    encoded_for: Callable[..., list[Encoded]],
    train_on: Callable[..., Iterator[Step]],
) -> None:
    """That of words, of which the answers' alone are read, or the classifier that a model came with."""
    assembly = assemble("bert", {"name": method, **SHORT.get(method, {})}, head)
    kept = {name: tensor.clone() for name, tensor in assembly.layer.named_parameters()}
    rows = encoded_for(assembly, rows=16)
    losses = [step.loss for step in train_on(assembly, rows, max_steps=24, learning_rate=0.02)]
    assert sum(losses[-6:]) < sum(losses[:6])
    assert all(torch.equal(tensor, kept[name]) for name, tensor in assembly.layer.named_parameters())


def _sum_of_features(features: torch.Tensor, targets: torch.Tensor, places: torch.Tensor) -> LossSum:
    assert len(places) == len(targets)
    return LossSum(features.square().sum(), torch.tensor(len(targets)))
