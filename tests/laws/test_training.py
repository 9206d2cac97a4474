"""Every method trains under gradient checkpointing, accumulation and resume, and gets what it gets without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adaptune.core.backbone import Roles
from adaptune.core.batch import Batch, Encoded
from adaptune.data.batches import Batches, Budget, collate
from adaptune.engine.best import Best
from adaptune.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from adaptune.engine.config import TrainConfig
from adaptune.engine.loop import Step, train
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly

FAMILIES = ("bert", "llama", "gpt2", "t5", "bart")
QUICK = {("bert", "classify")}
STEPPING = [name for name in METHODS.names() if METHODS.get(name).steps]
SETTINGS: dict[str, dict[str, Any]] = {
    "adalora": {"rank": 2, "initial_rank": 4, "interval": 1},
    "lora": {"dropout": 0.1},
    "prefix": {"length": 3, "reparameterised": True, "bottleneck": 8},
}
"""What makes it harder."""
REFUSED = {("bitfit", "llama"), ("bitfit", "t5"), ("loha", "gpt2"), ("lokr", "gpt2")}
"""Methods that do not take a family."""

Assemble = Callable[..., Assembly]
Encode = Callable[..., list[Encoded]]


def _each(quick: set[tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("name", "family", "head"),
        [
            pytest.param(name, family, head, marks=() if (family, head) in quick else pytest.mark.slow)
            for name in STEPPING
            for family in FAMILIES
            for head in ("classify", "tag")
            if (name, family) not in REFUSED
        ],
    )


def _section(name: str) -> dict[str, Any]:
    return {"name": name, **SETTINGS.get(name, {})}


def _learning(assembly: Assembly) -> dict[str, Tensor]:
    return {name: p for name, p in assembly.named_parameters() if p.requires_grad}


def _without_dropout(assembly: Assembly) -> Assembly:
    for module in assembly.modules():
        for name in ("p", "dropout", "attention_dropout", "activation_dropout"):  # some layers call it as a function
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return assembly


def _distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Relative to the size of all together."""
    assert one.keys() == other.keys()
    difference = sum(float((one[name] - other[name]).square().sum()) for name in one)
    return float((difference / sum(float(tensor.square().sum()) for tensor in one.values())) ** 0.5)


@_each(QUICK)
def test_gradient_checkpointing_changes_neither_loss_nor_gradients(
    assemble: Assemble,
    batch_for: Callable[..., Batch],
    scatter: Callable[[Assembly], Assembly],
    name: str,
    family: str,
    head: str,
) -> None:
    found = []
    for recomputes in (False, True):
        assembly = scatter(assemble(family, _section(name), head)).train()
        assembly.recomputes = recomputes
        passes = _count_passes(assembly)
        torch.manual_seed(3)  # dropout draws the same
        loss = assembly(batch_for(assembly)).total
        loss.backward()
        found.append((loss.detach(), {key: p.grad for key, p in _learning(assembly).items()}, dict(passes)))
    (loss, plain, once), (same, recomputed, twice) = found
    assert torch.equal(loss, same)
    assert [key for key, gradient in recomputed.items() if gradient is None] == [
        key for key, gradient in plain.items() if gradient is None
    ]
    there = {key: gradient for key, gradient in plain.items() if gradient is not None}
    assert _distance(there, {key: recomputed[key] for key in there}) < 1e-5
    assert set(once.values()) == {1}
    if name not in ("head_only", "ladder"):  # no gradient passes through their layers
        assert max(twice.values()) == 2, "no layer was computed anew"


def _count_passes(assembly: Assembly) -> dict[str, int]:
    """How often the first norm of each layer of the main stack is computed."""
    passes: dict[str, int] = {}
    stack = assembly.backbone.roles.main
    for index, layer in enumerate(assembly.trunk.get_submodule(stack.layers).children()):

        def count(*_: Any, key: str = f"layer {index}") -> None:
            passes[key] = passes.get(key, 0) + 1

        layer.get_submodule(stack.norms[0]).register_forward_hook(count)
    return passes


@_each(QUICK)
def test_training_under_gradient_checkpointing_moves_everything_that_learns(
    assemble: Assemble,
    encoded_for: Encode,
    train_on: Callable[..., Iterator[Step]],
    name: str,
    family: str,
    head: str,
) -> None:
    assembly = assemble(family, {"name": name}, head)
    before = {key: p.detach().clone() for key, p in _learning(assembly).items()}
    settings = {"max_steps": 3, "learning_rate": 1e-2, "gradient_checkpointing": True}
    assert len(list(train_on(assembly, encoded_for(assembly, rows=16), **settings))) == 3
    assert [key for key, p in _learning(assembly).items() if torch.equal(p, before[key])] == []


@_each(QUICK)
def test_two_batches_of_four_rows_equal_one_of_eight(
    assemble: Assemble, encoded_for: Encode, name: str, family: str, head: str
) -> None:
    moved = []
    for sizes in ((8,), (4, 4)):
        assembly = _without_dropout(assemble(family, {"name": name}, head))
        encoded = encoded_for(assembly, rows=8)
        pad = assembly.backbone.tokenizer.pad_token_id
        batches = _Fixed([collate(encoded[start : start + sizes[0]], pad) for start in range(0, 8, sizes[0])])
        plain = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "clip": None, "schedule": "constant"}
        rates = {"learning_rate": 1.0, "warmup": 0.0, "accumulate": len(sizes), "max_steps": 1, "device": "cpu"}
        before = {key: p.detach().clone() for key, p in _learning(assembly).items()}
        list(train(assembly, batches, TrainConfig.model_validate({**plain, **rates}), seed=0))
        moved.append({key: before[key] - p.detach() for key, p in _learning(assembly).items()})
    assert _distance(*moved) < 1e-5


class _Fixed:
    """The same batches in every epoch."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __call__(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        return iter(self.batches[skip:])

    def per_epoch(self) -> int:
        return len(self.batches)


@_each(QUICK)
def test_four_steps_equal_two_and_resume_and_two(
    assemble: Assemble, encoded_for: Encode, tmp_path: Path, name: str, family: str, head: str
) -> None:
    fields = {"batch_rows": 6, "epochs": 4, "max_steps": 4, "learning_rate": 1e-2, "device": "cpu"}
    config = TrainConfig.model_validate({**fields, "gradient_checkpointing": True})

    def start(seed: int) -> tuple[Assembly, Batches]:
        assembly = assemble(family, _section(name), head, seed=seed)
        pad, budget = assembly.backbone.tokenizer.pad_token_id, Budget(tokens=1024, rows=config.batch_rows)
        return assembly, Batches(encoded_for(assembly, rows=15), budget, pad=pad, seed=3)

    whole, batches = start(seed=3)
    losses = [step.loss for step in train(whole, batches, config, seed=3)]
    first, batches = start(seed=3)
    for step in train(first, batches, config, seed=3):
        if step.number == 2:
            at_rest = Checkpoint("run", step.loop.position(), first.state(), Best(3), None, 1.0, 9)
            save_checkpoint(tmp_path, at_rest)
            break
    checkpoint = load_checkpoint(tmp_path, "run")
    second, batches = start(seed=4)  # another start: nothing of it may remain
    second.load(checkpoint.weights)
    resumed = [step.loss for step in train(second, batches, config, seed=3, position=checkpoint.position)]
    assert resumed == losses[2:]
    assert [key for key, tensor in whole.state().items() if not torch.equal(tensor, second.state()[key])] == []


def test_layers_are_themselves_again_after_a_pass(assemble: Assemble, batch_for: Callable[..., Batch]) -> None:
    assembly = assemble("bert", {"name": "full"}).train()
    assembly.recomputes = True
    roles: Roles = assembly.backbone.roles
    layers = assembly.trunk.get_submodule(roles.main.layers)
    layers[0].forward = own = layers[0].forward
    assembly(batch_for(assembly))
    assert layers[0].__dict__["forward"] is own
    assert "forward" not in layers[1].__dict__
    base = assembly.backbone.trunk.get_submodule(roles.main.layers)
    assert all("forward" not in layer.__dict__ for layer in base)
