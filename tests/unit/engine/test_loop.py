from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from adaptune.core.batch import Batch
from adaptune.core.errors import TrainingError, Unsupported
from adaptune.engine.config import TrainConfig
from adaptune.engine.loop import NotFinite, make_accelerator, plan_steps, train

Toys = Callable[..., Any]
PLAIN = {
    "device": "cpu",
    "optimizer": "sgd",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warmup": 0.0,
}


def _config(**settings: Any) -> TrainConfig:
    return TrainConfig.model_validate({**PLAIN, **settings})


@pytest.mark.parametrize(
    ("settings", "processes", "expected"),
    [
        ({"epochs": 3}, 1, 30),
        ({"epochs": 3, "accumulate": 4}, 1, 9),
        ({"epochs": 3, "accumulate": 4}, 2, 6),
        ({"epochs": 2.5, "accumulate": 4}, 1, 8),
        ({"epochs": 0.05}, 1, 1),
        ({"epochs": 3, "max_steps": 7}, 1, 7),
        ({"epochs": 1, "max_steps": 70}, 1, 10),
        ({"epochs": 0}, 1, 0),
    ],
)
def test_steps_are_planned(toy_batches: Toys, settings: Any, processes: int, expected: int) -> None:
    assert plan_steps(toy_batches(*[2] * 10), _config(**settings), processes) == expected


def test_a_step_says_where_training_stands(toy: Toys, toy_batches: Toys) -> None:
    steps = list(train(toy(), toy_batches(2, 3, 4), _config(epochs=2, accumulate=2), seed=0))
    assert [step.number for step in steps] == [1, 2, 3, 4]
    assert {step.total for step in steps} == {4}
    assert [step.ends_epoch for step in steps] == [False, True, False, True]
    assert [step.epoch for step in steps] == pytest.approx([2 / 3, 1, 5 / 3, 2])
    assert [step.tokens for step in steps] == [15, 12, 15, 12]
    assert [step.loop.step for step in steps] == [4, 4, 4, 4]


def test_no_epochs_are_no_steps(toy: Toys, toy_batches: Toys) -> None:
    assert list(train(toy(), toy_batches(2), _config(epochs=0), seed=0)) == []


def test_learning_rates_follow_the_schedule(toy: Toys, toy_batches: Toys) -> None:
    config = _config(epochs=1, schedule="linear", warmup=0.25, learning_rate=0.2)
    rates = [step.learning_rate for step in train(toy(), toy_batches(2, 2, 2, 2), config, seed=0)]
    assert rates == pytest.approx([0.2, 0.2, 0.4 / 3, 0.2 / 3])


@pytest.mark.parametrize(
    ("settings", "model", "rate", "head_rate"),
    [
        ({}, {"width": 768}, 0.1, 0.1),
        ({}, {"width": 384}, 0.2, 0.2),
        ({}, {"width": 96}, 0.2, 0.2),
        ({}, {"width": 1536}, 0.05, 0.05),
        ({}, {"width": 768, "depth": 12}, 0.05, 0.05),
        ({}, {"width": 768, "depth": 2}, 0.1, 0.1),
        ({}, {"width": 1536, "depth": 24}, 0.0125, 0.0125),
        ({"learning_rate": 0.3}, {"width": 384, "depth": 12}, 0.3, 0.3),
        ({"head_learning_rate": 0.5}, {"width": 768}, 0.1, 0.5),
    ],
)
def test_rates_are_the_recipes_or_the_methods_own_by_the_size_of_the_model(
    toy: Toys, toy_batches: Toys, settings: Any, model: dict[str, int], rate: float, head_rate: float
) -> None:
    step = next(train(toy(**model), toy_batches(2), _config(**settings), seed=0))
    rates = [group["lr"] for group in step.loop.optimizer.param_groups]
    assert rates == pytest.approx([rate, rate, head_rate, head_rate])


def test_a_long_gradient_is_cut_to_the_clip_and_told_at_its_true_length(toy: Toys, toy_batches: Toys) -> None:
    def moved(clip: float | None) -> tuple[float, float | None]:
        assembly = toy()
        before = torch.cat([tensor.flatten() for tensor in assembly.state().values()]).clone()
        config = _config(max_steps=1, clip=clip, learning_rate=1.0, head_learning_rate=1.0)
        step = next(train(assembly, toy_batches(4), config, seed=0))
        after = torch.cat([tensor.flatten() for tensor in assembly.state().values()])
        return float((after - before).norm()), step.norm

    free, norm = moved(None)
    assert norm == pytest.approx(free, rel=1e-5)
    assert free > 0.1
    assert moved(0.1) == pytest.approx((0.1, norm), rel=1e-4)


def test_the_methods_penalty_is_in_the_loss_and_in_the_gradient(toy: Toys, toy_batches: Toys) -> None:
    one, other = toy(), toy(orthogonality=0.5)
    weight = one.trunk.weight.detach().clone()
    config = _config(max_steps=1, clip=None, learning_rate=1.0)
    loss = next(train(one, toy_batches(4), config, seed=0)).loss
    penalised = next(train(other, toy_batches(4), config, seed=0)).loss
    assert penalised == pytest.approx(loss + 0.5 * float(weight.square().sum()), rel=1e-5)
    torch.testing.assert_close(one.trunk.weight - other.trunk.weight, weight, rtol=1e-4, atol=1e-6)


def test_after_step_comes_once_a_step_while_gradients_are_there(toy: Toys, toy_batches: Toys) -> None:
    assembly = toy()
    list(train(assembly, toy_batches(2, 2, 2, 2), _config(epochs=1, accumulate=2), seed=0))
    assert assembly.trunk.seen == [(1, 2, True), (2, 2, True)]


def test_a_step_without_any_labelled_item_changes_nothing(toy: Toys, toy_batches: Toys, batch: Toys) -> None:
    assembly, batches = toy(), toy_batches(3)
    batches.batches = [batch(0, 3, labels=torch.zeros(0, dtype=torch.long))]
    before = {name: tensor.clone() for name, tensor in assembly.state().items()}
    step = next(train(assembly, batches, _config(max_steps=1), seed=0))
    assert (step.loss, step.norm) == (0.0, 0.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in assembly.state().items())


def test_a_batch_without_labelled_items_does_not_disturb_the_others(toy: Toys, toy_batches: Toys, batch: Toys) -> None:
    config = _config(max_steps=1, accumulate=2)
    alone, mixed = toy(), toy()
    together = toy_batches(4)
    together.batches = [batch(9, 3, labels=torch.zeros(0, dtype=torch.long)), *together.batches]
    expected = next(train(alone, toy_batches(4), config, seed=0)).loss
    assert next(train(mixed, together, config, seed=0)).loss == pytest.approx(expected)
    for name, tensor in alone.state().items():
        torch.testing.assert_close(mixed.state()[name], tensor)


def test_a_gradient_that_is_not_finite_names_the_rows_and_moves_nothing(toy: Toys, toy_batches: Toys) -> None:
    assembly = toy(orthogonality=1.0)
    before = {name: tensor.clone() for name, tensor in assembly.state().items()}
    assembly.trunk.weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(NotFinite, match=r"the gradient is not finite in step 1, rows \[0, 1, 2\]") as caught:
        next(train(assembly, toy_batches(3, 2), _config(), seed=0))
    assert (caught.value.what, caught.value.step, caught.value.rows) == ("gradient", 1, [0, 1, 2])
    assert all(torch.equal(tensor, before[name]) for name, tensor in assembly.state().items())


def test_the_seed_decides_every_random_number_of_a_step(toy: Toys, toy_batches: Toys) -> None:
    def losses(seed: int) -> list[float]:
        torch.rand(3)  # the process's generator stands elsewhere each time
        return [step.loss for step in train(toy(dropout=0.5), toy_batches(4, 4), _config(epochs=2), seed=seed)]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_steps_differ_in_their_random_numbers(toy: Toys, toy_batches: Toys) -> None:
    config = _config(epochs=3, learning_rate=1e-30, head_learning_rate=1e-30)
    losses = [step.loss for step in train(toy(dropout=0.5), toy_batches(4), config, seed=0)]
    assert len(set(losses)) == 3


def test_trainings_of_other_precision_follow_each_other_in_one_process(toy: Toys, toy_batches: Toys) -> None:
    for precision, computed in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp32", torch.float32)):
        assembly = toy()
        list(train(assembly, toy_batches(4), _config(epochs=1, precision=precision), seed=0))
        assert assembly.trunk.types == [computed]
        assert {tensor.dtype for tensor in assembly.state().values()} == {torch.float32}


def test_one_assembly_can_be_trained_in_one_precision_after_the_other(toy: Toys, toy_batches: Toys) -> None:
    assembly = toy()
    for precision in ("bf16", "fp32"):
        list(train(assembly, toy_batches(4), _config(epochs=1, precision=precision), seed=0))
    assert assembly.trunk.types == [torch.bfloat16, torch.float32]


def test_a_model_in_which_nothing_would_learn_is_refused(toy: Toys, toy_batches: Toys) -> None:
    assembly = toy().requires_grad_(False)
    with pytest.raises(Unsupported, match="nothing would learn: the method 'toy' and the head 'classify'"):
        next(train(assembly, toy_batches(2), _config(), seed=0))


def test_weights_of_half_precision_are_not_trained(toy: Toys, toy_batches: Toys) -> None:
    assembly = toy()
    assembly.trunk.bfloat16()
    with pytest.raises(Unsupported, match=r"'toy' would train weights of the type torch.bfloat16.*model.dtype=float32"):
        next(train(assembly, toy_batches(2), _config(), seed=0))


def test_fp16_on_a_processor_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"train.precision is 'fp16', which needs a GPU; set .*fp32 or bf16"):
        make_accelerator(_config(precision="fp16"))


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[device]
    if there:
        pytest.skip(f"this machine has {device}")
    with pytest.raises(TrainingError, match=rf"train.device is '{device}'.*set train.device=cpu or auto"):
        make_accelerator(_config(device=device))


def test_batches_are_skipped_where_training_goes_on_within_an_epoch(toy: Toys, toy_batches: Toys) -> None:
    config, whole = _config(epochs=2), toy()
    steps = train(whole, toy_batches(2, 3, 4), config, seed=0)
    for step in steps:
        if step.number == 2:
            position, weights = step.loop.position(), {name: t.clone() for name, t in whole.state().items()}
            assert (position.step, position.epoch, position.batch) == (2, 0, 2)
            break
    rest = toy()
    rest.load(weights)
    resumed = list(train(rest, toy_batches(2, 3, 4), config, seed=0, position=position))
    assert [step.number for step in resumed] == [3, 4, 5, 6]
    assert [step.loss for step in resumed] == [step.loss for step in steps]


def test_a_batch_is_moved_whole(batch: Callable[..., Batch]) -> None:
    moved = batch(0, 2).to("cpu")
    assert moved.ids is None
    assert torch.equal(moved.rows, torch.tensor([0, 1]))
