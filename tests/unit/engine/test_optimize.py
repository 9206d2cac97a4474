from __future__ import annotations

from typing import Any, get_args

import pytest
import torch

from adaptune.engine.config import TrainConfig
from adaptune.engine.optimize import make_optimizer, scale

OPTIMIZERS = get_args(TrainConfig.model_fields["optimizer"].annotation)


def _scales(total: int, **settings: Any) -> list[float]:
    config = TrainConfig.model_validate(settings)
    return [scale(config, step, total) for step in range(total)]


def test_linear_rises_over_the_warmup_and_falls_towards_zero() -> None:
    expected = [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    assert _scales(6, schedule="linear", warmup=0.3) == pytest.approx(expected)


def test_cosine_is_halfway_down_in_the_middle() -> None:
    expected = [1.0, 0.853553, 0.5, 0.146447]
    assert _scales(4, schedule="cosine", warmup=0.0) == pytest.approx(expected, abs=1e-6)


def test_constant_stays_after_the_warmup() -> None:
    assert _scales(5, schedule="constant", warmup=0.5) == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0, 1.0])


def test_a_training_of_one_step_has_its_full_rate() -> None:
    for schedule in ("linear", "cosine", "constant"):
        assert _scales(1, schedule=schedule, warmup=0.06) == [1.0]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_name_brings_a_loss_down(name: str) -> None:
    weight = torch.nn.Parameter(torch.full((2, 2), 3.0))
    optimizer = make_optimizer([{"params": [weight], "lr": 0.05}], TrainConfig.model_validate({"optimizer": name}))
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = (weight - 1).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_a_group_with_a_decay_of_its_own_keeps_it() -> None:
    matrix = torch.nn.Parameter(torch.ones(2, 2))
    group = {"params": [matrix], "lr": 0.1, "weight_decay": 0.0}
    optimizer = make_optimizer([group], TrainConfig.model_validate({"optimizer": "adamw", "weight_decay": 0.5}))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0]


def test_matrices_decay_and_vectors_do_not() -> None:
    matrix, bias = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))
    config = TrainConfig.model_validate({"optimizer": "adamw", "weight_decay": 0.5})
    optimizer = make_optimizer([{"params": [matrix, bias], "lr": 0.1}], config)
    matrix.grad, bias.grad = torch.zeros(2, 2), torch.zeros(2)
    optimizer.step()
    assert torch.equal(bias, torch.ones(2))
    torch.testing.assert_close(matrix.detach(), torch.full((2, 2), 0.95))


def test_every_group_keeps_its_own_rate() -> None:
    one, other = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(3, 3))
    groups = [{"params": [one], "lr": 0.1}, {"params": [other], "lr": 0.2}]
    optimizer = make_optimizer(groups, TrainConfig())
    assert [(group["lr"], group["params"][0] is one) for group in optimizer.param_groups] == [(0.1, True), (0.2, False)]


def test_momentum_reaches_sgd() -> None:
    config = TrainConfig.model_validate({"optimizer": "sgd", "momentum": 0.7})
    optimizer = make_optimizer([{"params": [torch.nn.Parameter(torch.ones(2))], "lr": 0.1}], config)
    assert optimizer.param_groups[0]["momentum"] == 0.7
