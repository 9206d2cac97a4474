"""Several tasks on one trunk: one method, a layer each, and steps that leave the other layers alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.method import learning
from adaptune.core.types import Labels
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.joint import Joint, Output
from adaptune.models.load import load_backbone

MOOD, TOPIC = Labels(("bad", "good")), Labels(("film", "food", "town"))


@pytest.fixture
def bert(tiny_bert: Path) -> Backbone:
    return load_backbone(ModelConfig(name=str(tiny_bert)))


def _joint(bert: Backbone, method: str = "lora", seed: int = 1) -> Joint:
    head = HEADS.make({"name": "classify"})
    outputs = {"mood": Output(head, MOOD), "topic": Output(head, TOPIC)}
    return Joint(bert, METHODS.make({"name": method}), outputs, seed=seed)


def _batch(task: str) -> Batch:
    ids = torch.tensor([[2, 60, 61, 3], [2, 70, 71, 3]])
    labels = torch.tensor([0, 1])
    return Batch(rows=torch.arange(2), mask=torch.ones_like(ids), ids=ids, labels=labels, task=task)


def test_all_parts_stand_on_one_trunk_and_the_first_is_as_it_would_be_alone(bert: Backbone) -> None:
    joint = _joint(bert)
    assert joint.of["mood"].trunk is joint.of["topic"].trunk is joint.trunk
    alone = Assembly(bert, joint.method, joint.parts[0].head, MOOD, seed=1)
    state = joint.state()
    for name, tensor in alone.state().items():
        assert torch.equal(tensor, state[name.replace("head.", "head.mood.")]), name


def test_a_batch_goes_to_its_own_task_alone(bert: Backbone) -> None:
    joint = _joint(bert).train()
    loss = joint(_batch("topic"))
    assert torch.equal(loss.total, joint.of["topic"](_batch("topic")).total)
    loss.total.backward()
    assert all(p.grad is None for p in joint.of["mood"].layer.parameters())
    assert all(p.grad is not None for p in joint.of["topic"].layer.parameters())
    moved = [p for p in joint.trunk.parameters() if p.requires_grad and p.grad is not None]
    assert moved


def test_the_state_of_one_makes_another_compute_the_same(bert: Backbone) -> None:
    joint, other = _joint(bert), _joint(bert, seed=9)
    with torch.no_grad():
        for parameter in joint.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3)
    other.load(joint.state())
    for task in ("mood", "topic"):
        assert torch.equal(joint.eval()(_batch(task)).total, other.eval()(_batch(task)).total)


def test_layers_and_trunk_are_counted_once(bert: Backbone) -> None:
    joint = _joint(bert)
    layers = [sum(p.numel() for p in part.layer.parameters()) for part in joint.parts]
    trunk = learning(joint.trunk.parameters())
    trained, total = joint.count_parameters()
    assert trained == trunk + sum(layers)
    assert total == joint.parts[0].count_parameters()[1] + layers[1]


def test_recomputing_is_asked_of_every_part(bert: Backbone) -> None:
    joint = _joint(bert)
    joint.recomputes = True
    assert [part.recomputes for part in joint.parts] == [True, True]


def test_a_batch_keeps_its_task_on_another_device() -> None:
    assert _batch("mood").to("cpu").task == "mood"
    assert replace(_batch("mood"), task=None).to("cpu").task is None
