"""What leaving out rows must keep: the expected gradient, a resumption to the last bit, and the end of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adaptune.core.batch import Batch, Encoded
from adaptune.core.chosen import chosen, units_of
from adaptune.core.errors import Unsupported
from adaptune.data.batches import Batches, Budget, collate, joined
from adaptune.engine.best import Best
from adaptune.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from adaptune.engine.config import TrainConfig
from adaptune.engine.loop import Step, train
from adaptune.engine.pruning import Pruned, check_pruning
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly

Assemble = Callable[..., Assembly]
Rows = Callable[..., list[Encoded]]


def _pruned(assembly: Assembly, encoded: list[Encoded], config: TrainConfig, seed: int = 3) -> Pruned:
    budget, pad = Budget(tokens=1024, rows=config.batch_rows), assembly.backbone.tokenizer.pad_token_id
    whole = assembly.head.whole_rows
    return Pruned(Batches(encoded, budget, pad=pad, seed=seed, whole_rows=whole), config)


def _gradients(assembly: Assembly, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    assembly.zero_grad()
    loss = assembly(batch)
    loss.total.backward()
    found = {name: weight.grad.clone() for name, weight in assembly.named_parameters() if weight.grad is not None}
    return loss.items, found


def _distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    difference = sum(float((one[name] - other[name]).square().sum()) for name in one)
    return float((difference / sum(float(tensor.square().sum()) for tensor in one.values())) ** 0.5)


@pytest.mark.parametrize(
    ("family", "head", "packed"),
    [("bert", "classify", False), ("bert", "tag", False), ("bert", "choose", False), ("llama", "generate", True)],
)
def test_a_weight_multiplies_the_gradient_of_its_row_alone(
    assemble: Assemble, encoded_for: Rows, scatter: Any, family: str, head: str, packed: bool
) -> None:
    assembly = scatter(assemble(family, {"name": "lora", "rank": 4}, head))
    encoded = encoded_for(assembly, rows=5)
    batch = joined(encoded) if packed else collate(encoded, assembly.backbone.tokenizer.pad_token_id)
    of_row = torch.tensor([1.0, 2.0, 0.5, 4.0, 1.0])
    items, found = _gradients(assembly, replace(batch, weights=of_row[batch.rows]))
    expected = {name: torch.zeros_like(gradient) for name, gradient in found.items()}
    for places in units_of(batch, whole_rows=assembly.head.whole_rows):
        _, own = _gradients(assembly, chosen(batch, places, of_items=assembly.head.labels_items))
        for name, gradient in own.items():
            expected[name] += of_row[batch.rows[places[0]]] * gradient
    assert _distance(expected, found) < 1e-5
    same, plain = _gradients(assembly, batch)
    assert float(items) == float(same)
    _, ones = _gradients(assembly, replace(batch, weights=torch.ones(len(batch.rows))))
    assert _distance(plain, ones) < 1e-5


def test_the_expected_gradient_of_an_epoch_is_that_of_all_rows(assemble: Assemble, encoded_for: Rows) -> None:
    assembly = assemble("bert", {"name": "head_only"}).eval()
    config = TrainConfig(prune=0.5, batch_rows=1, epochs=10)
    encoded = encoded_for(assembly, rows=8)
    losses = torch.tensor([0.1, 0.2, 0.3, 0.4, 2.0, 2.1, 2.2, 2.3])
    rows = [_gradients(assembly, collate([one], 0))[1] for one in encoded]
    whole = {name: sum((row[name] for row in rows), torch.zeros(())) for name in rows[0]}
    mean = {name: torch.zeros_like(gradient) for name, gradient in whole.items()}
    draws, times = 1500, np.zeros(8)
    for seed in range(draws):
        pruned = _pruned(assembly, encoded, config, seed=seed)
        pruned.observe(torch.arange(8), torch.stack([losses, torch.ones(8)], dim=1))
        pruned.begin()
        weights = pruned.weights(1)
        times += weights
        for weight, row in zip(weights.tolist(), rows, strict=True):
            for name, gradient in row.items():
                mean[name] += weight / draws * gradient
    assert times[4:].tolist() == [draws] * 4, "rows of a large loss are always read, and count once"
    assert times[:4] / draws == pytest.approx(1.0, abs=0.1)  # four standard deviations
    assert _distance(whole, mean) < 0.1


def test_epochs_leave_out_rows_after_the_first_one_and_the_last_reads_all(
    assemble: Assemble, encoded_for: Rows
) -> None:
    assembly = assemble("bert", {"name": "lora"})
    config = TrainConfig.model_validate({"prune": 0.9, "batch_rows": 4, "epochs": 4, "device": "cpu", "warmup": 0.0})
    pruned = _pruned(assembly, encoded_for(assembly, rows=40), config)
    steps = list(train(assembly, pruned, config, seed=1))
    ends = [step.number for step in steps if step.ends_epoch]
    first, *between, last = np.diff([0, *ends]).tolist()
    assert first == last == 10
    assert len(between) == 2
    assert all(count < 10 for count in between)
    assert [step.last for step in steps] == [False] * (len(steps) - 1) + [True]
    rates = [step.learning_rate for step in steps]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(rates[0] / 40), "the schedule comes to its end"


def test_ten_steps_equal_five_and_resume_and_five(assemble: Assemble, encoded_for: Rows, tmp_path: Path) -> None:
    config = TrainConfig.model_validate({"prune": 0.8, "batch_rows": 6, "epochs": 5, "device": "cpu"})

    def start(seed: int) -> tuple[Assembly, Pruned]:
        assembly = assemble("bert", {"name": "lora", "dropout": 0.2}, seed=seed)
        return assembly, _pruned(assembly, encoded_for(assembly, rows=20), config)

    whole, batches = start(seed=3)
    steps = list(train(whole, batches, config, seed=3))
    for after in (2, 4, 6):
        first, batches = start(seed=3)
        coming = train(first, batches, config, seed=3)
        step = next(step for step in coming if step.number == after)
        state = Checkpoint("r", step.loop.position(), first.state(), Best(3), None, 1.0, 9)
        folder = tmp_path / str(after)
        folder.mkdir()
        save_checkpoint(folder, state)
        checkpoint = load_checkpoint(folder, "r")
        second, batches = start(seed=4)
        second.load(checkpoint.weights)
        resumed = list(train(second, batches, config, seed=3, position=checkpoint.position))
        assert [_told(step) for step in resumed] == [_told(step) for step in steps[after:]]
        for name, tensor in whole.state().items():
            assert torch.equal(tensor, second.state()[name]), name


def _told(step: Step) -> tuple[Any, ...]:
    return step.number, step.loss, step.learning_rate, step.epoch


def test_where_rows_have_no_loss_of_their_own_or_steps_are_planned_it_is_refused() -> None:
    config = TrainConfig(prune=0.3)
    lora, classify = METHODS.make({"name": "lora"}), HEADS.make({"name": "classify"})
    check_pruning(config, lora, classify)
    with pytest.raises(Unsupported, match=r"train.prune is 0.3, and head 'retrieve' compares the rows of a batch"):
        check_pruning(config, lora, HEADS.make({"name": "retrieve"}))
    with pytest.raises(Unsupported, match=r"train.epochs is 2.5: .*; set train.epochs=3, or train.prune=0"):
        check_pruning(TrainConfig(prune=0.3, epochs=2.5), lora, classify)
    with pytest.raises(Unsupported, match=r"train.prune is 0.3, and method 'adalora' plans its work over all steps"):
        check_pruning(config, METHODS.make({"name": "adalora"}), classify)
