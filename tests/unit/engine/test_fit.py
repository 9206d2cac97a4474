from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from adaptune.engine import fit as fit_module
from adaptune.engine.checkpoint import Checkpoint
from adaptune.engine.config import TrainConfig
from adaptune.engine.fit import Evaluation, Fit

Toys = Callable[..., Any]


def _fit(
    assembly: Any, batches: Any, scores: list[float], *, resumed: Checkpoint | None = None, **settings: Any
) -> Fit:
    """A training whose evaluations give these scores."""
    coming: Iterator[float] = iter(scores)
    config = TrainConfig.model_validate({"device": "cpu", "epochs": 3, "warm_start": False, **settings})
    return Fit(
        assembly,
        batches,
        config,
        seed=0,
        metric="f1",
        evaluate=lambda: {"f1": next(coming), "loss": 0.0},
        resumed=resumed,
    )


def _told(fit: Fit) -> list[str]:
    return [f"{'E' if isinstance(event, Evaluation) else 'S'}{_number(event)}" for event in fit]


def _number(event: Any) -> int:
    return event.step if isinstance(event, Evaluation) else event.number


def test_evaluations_come_at_the_start_and_after_every_epoch(toy: Toys, toy_batches: Toys) -> None:
    fit = _fit(toy(), toy_batches(2, 2), [0.1, 0.2, 0.3, 0.4])
    assert _told(fit) == ["E0", "S1", "S2", "E2", "S3", "S4", "E4", "S5", "S6", "E6"]
    assert fit.ended == "all steps done"


def test_evaluations_come_every_so_many_steps_and_after_the_last(toy: Toys, toy_batches: Toys) -> None:
    fit = _fit(toy(), toy_batches(2, 2), [0.1, 0.2, 0.3], evaluate_every=3, max_steps=5)
    assert _told(fit) == ["E0", "S1", "S2", "S3", "E3", "S4", "S5", "E5"]


def test_the_best_weights_stand_at_the_end(toy: Toys, toy_batches: Toys) -> None:
    assembly, states = toy(), {}
    fit = _fit(assembly, toy_batches(4), [0.1, 0.7, 0.7, 0.3])
    for event in fit:
        if isinstance(event, Evaluation):
            states[event.step] = {name: tensor.clone() for name, tensor in assembly.state().items()}
    assert (fit.best.step, fit.best.score) == (1, 0.7)
    assert not torch.equal(states[1]["trunk.weight"], states[3]["trunk.weight"])
    for name, tensor in assembly.state().items():
        assert torch.equal(tensor, states[1][name])


def test_training_never_returns_worse_than_its_start(toy: Toys, toy_batches: Toys) -> None:
    assembly = toy()
    before = {name: tensor.clone() for name, tensor in assembly.state().items()}
    fit = _fit(assembly, toy_batches(4), [0.9, 0.1, 0.2, 0.3], patience=None)
    list(fit)
    assert fit.best.step == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in assembly.state().items())


def test_training_ends_when_patience_runs_out(toy: Toys, toy_batches: Toys) -> None:
    fit = _fit(toy(), toy_batches(4), [0.5, 0.6, 0.4, 0.6, 0.9], epochs=9, patience=2)
    assert _told(fit) == ["E0", "S1", "E1", "S2", "E2", "S3", "E3"]
    assert fit.ended == "no gain in 2 evaluations"


def test_training_ends_at_its_time_limit_with_an_evaluation(
    toy: Toys, toy_batches: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(fit_module.time, "monotonic", lambda: float(next(clock)))
    fit = _fit(toy(), toy_batches(2, 2, 2, 2), [0.1, 0.2], max_seconds=9)
    events = _told(fit)
    assert events[0] == "E0"
    assert events[-1].startswith("E")
    assert 0 < fit.loop.step < 4
    assert fit.ended == "time limit of 9 s"


def test_a_time_limit_that_ends_before_the_first_step_says_so(toy: Toys, toy_batches: Toys) -> None:
    fit = _fit(toy(), toy_batches(2), [0.1], max_seconds=1e-9)
    assert _told(fit) == ["E0"]
    assert fit.ended.startswith("time limit of 1e-09 s before the first step: raise train.max_seconds")


def test_the_warm_start_is_the_first_evaluation(toy: Toys, toy_batches: Toys) -> None:
    assembly, batches = toy(), toy_batches(30)
    cold = assembly.layer.weight.clone()
    fit = _fit(assembly, batches, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], warm_start=True, epochs=1)
    fit.warm_start(batches(0), batches(0))
    warm = assembly.layer.weight.clone()
    first = next(iter(fit))
    assert isinstance(first, Evaluation)
    assert (first.step, first.gained) == (0, True)
    assert first.scores["f1"] == 0.6, "of the best strength, and not measured again"
    assert not torch.equal(cold, warm)
    assert torch.equal(fit.best.state["layer.weight"], warm)
    fresh = (2 / 3) ** 0.5
    assert float(warm.detach().norm()) > fresh
    assert float(assembly.layer.weight.detach().norm()) == pytest.approx(fresh), "what steps begin from is scaled down"


def test_without_warm_start_the_head_stays(toy: Toys, toy_batches: Toys) -> None:
    assembly, batches = toy(), toy_batches(30)
    cold = assembly.layer.weight.clone()
    _fit(assembly, batches, [], warm_start=False).warm_start(batches(0), batches(0))
    assert torch.equal(assembly.layer.weight, cold)


def test_weights_that_the_method_has_not_settled_do_not_count(toy: Toys, toy_batches: Toys) -> None:
    fit = _fit(toy(settles_after=2), toy_batches(4), [0.9, 0.8, 0.3, 0.4])
    gained = {event.step: event.gained for event in fit if isinstance(event, Evaluation)}
    assert gained == {0: False, 1: False, 2: True, 3: True}
    assert (fit.best.step, fit.best.score) == (3, 0.4)


def test_weights_that_never_settle_count_at_the_end(toy: Toys, toy_batches: Toys) -> None:
    fit = _fit(toy(settles_after=9), toy_batches(4), [0.9, 0.8, 0.3, 0.4, 0.5])
    assert _told(fit) == ["E0", "S1", "E1", "S2", "E2", "S3", "E3", "E3"]
    assert (fit.best.step, fit.best.score) == (3, 0.5)


def test_a_resumed_training_does_not_start_anew_where_nothing_has_settled(toy: Toys, toy_batches: Toys) -> None:
    first = _fit(toy(settles_after=2), toy_batches(4), [0.9, 0.8], warm_start=True)
    for event in first:
        if _number(event) == 1:
            checkpoint = first.checkpoint()
            break
    assembly = toy(settles_after=1)
    second = _fit(assembly, toy_batches(4), [0.8, 0.3, 0.4], resumed=checkpoint, warm_start=True)
    assert torch.equal(assembly.layer.weight, checkpoint.weights["layer.weight"])
    assert _told(second) == ["E1", "S2", "E2", "S3", "E3"]


def test_tokens_and_seconds_go_on_from_a_checkpoint(toy: Toys, toy_batches: Toys) -> None:
    first = _fit(toy(), toy_batches(2, 2), [0.1, 0.2])
    for event in first:
        if _number(event) == 1:
            checkpoint = first.checkpoint()
            break
    checkpoint.seconds = 100.0
    second = _fit(toy(), toy_batches(2, 2), [0.2, 0.3, 0.4], resumed=checkpoint)
    assert second.seconds >= 100.0
    assert _told(second) == ["S2", "E2", "S3", "S4", "E4", "S5", "S6", "E6"]
    assert second.tokens == 6 * 6
