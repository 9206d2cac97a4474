"""AdaLoRA's budget, importance and penalty against the paper's formulas, and where peft alone goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft.tuners.adalora.layer import RankAllocator
from pydantic import ValidationError
from torch import Tensor, nn

from adaptune.methods._peft import tuner_layers

Make = Callable[..., Any]


def _kept(trunk: nn.Module) -> list[int]:
    """How many components each matrix keeps."""
    return [int((layer.lora_E["default"] != 0).sum()) for layer in tuner_layers(trunk).values()]


def _loss(model: Any, trunk: nn.Module) -> Tensor:
    """Something to learn: hidden states as those of the next row."""
    hidden = model.hidden(trunk)
    loss: Tensor = (hidden - model.hidden(model.base).roll(1, dims=0)).square().mean()
    return loss


def _train(model: Any, method: Any, trunk: nn.Module, steps: range, total: int, optimizer: Any) -> list[int]:
    """Components kept after each step."""
    kept = []
    for step in steps:
        (_loss(model, trunk) + method.penalty(trunk)).backward()
        optimizer.step()
        method.after_step(trunk, step + 1, total)
        optimizer.zero_grad(set_to_none=True)
        kept.append(sum(_kept(trunk)))
    return kept


def _optimizer(trunk: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in trunk.parameters() if p.requires_grad], lr=0.01)


def test_a_change_starts_with_orthonormal_bases_and_no_penalty(tiny: Make, make: Make) -> None:
    model, method = tiny("bert"), make("adalora", rank=2, initial_rank=4)
    trunk = model.changed(method)
    for layer in tuner_layers(trunk).values():
        q, p = layer.lora_A["default"], layer.lora_B["default"]
        assert torch.allclose(q @ q.T, torch.eye(4), atol=1e-5)
        assert torch.allclose(p.T @ p, torch.eye(4), atol=1e-5)
        assert not layer.lora_E["default"].any()
    assert method.penalty(trunk).item() < 1e-8


def test_lambda_learns_faster_than_its_bases(tiny: Make, make: Make) -> None:
    model, method = tiny("bert"), make("adalora", learning_rate_ratio=5)
    trunk = model.changed(method)
    rate_of = {id(p): group["lr"] for group in method.groups(trunk, 0.1) for p in group["params"]}
    for layer in tuner_layers(trunk).values():
        rates = [rate_of[id(getattr(layer, part)["default"])] for part in ("lora_A", "lora_E", "lora_B")]
        assert rates == [0.1, 0.5, 0.1]


def test_the_budget_falls_with_the_cube_of_the_steps_left(make: Make) -> None:
    method = make("adalora", rank=8, initial_rank=12, warmup=0.1, final=0.4)
    found = [method.components(step, 100, 10) for step in (1, 10, 11, 35, 59, 60, 61, 100)]
    assert found == [120, 120, 80 + round(40 * 0.98**3), 80 + round(40 * 0.5**3), 80, 80, 80, 80]


def test_ranks_fall_to_the_target_and_stay_there(tiny: Make, make: Make) -> None:
    model, method = tiny("bert"), make("adalora", rank=2, initial_rank=4, interval=3)
    trunk = model.changed(method)
    method.prepare(trunk, [], 40)
    kept = _train(model, method, trunk, range(40), 40, _optimizer(trunk))
    # 8 matrices: from step 1 on 32 components; allocations every third step after step 4; step 28 is the last.
    assert kept[:4] == [32, 32, 32, 32]
    assert kept[27:] == [16] * 13
    assert kept[6] == method.components(7, 40, 8) < 32
    assert sorted(set(_kept(trunk))) != [2], "all matrices kept the same: importance decided nothing"


def test_weights_may_be_kept_as_the_best_at_the_start_and_once_the_ranks_have_fallen(tiny: Make, make: Make) -> None:
    model, method = tiny("bert"), make("adalora", rank=2, initial_rank=4, interval=1)
    trunk = model.changed(method)
    optimizer = _optimizer(trunk)
    settled = [method.settled(trunk)]
    for step in range(10):
        _train(model, method, trunk, range(step, step + 1), 10, optimizer)
        settled.append(method.settled(trunk))
    assert settled == [True, *[False] * 5, *[True] * 5]


def test_a_training_of_one_step_ends_on_the_target_too(tiny: Make, make: Make) -> None:
    model, method = tiny("bert"), make("adalora", rank=1, initial_rank=3)
    trunk = model.changed(method)
    assert _train(model, method, trunk, range(1), 1, _optimizer(trunk)) == [8]


def test_the_penalty_is_gamma_times_the_mean_of_the_papers_r(tiny: Make, make: Make) -> None:
    method = make("adalora", rank=2, initial_rank=3, orthogonality=0.3)
    trunk = tiny("bert").changed(method)
    found = []
    for layer in tuner_layers(trunk).values():
        p, q = layer.lora_B["default"].tolist(), layer.lora_A["default"].tolist()
        total = 0.0
        for i in range(3):
            for j in range(3):
                unit = float(i == j)
                total += (sum(row[i] * row[j] for row in p) - unit) ** 2
                total += (sum(a * b for a, b in zip(q[i], q[j], strict=True)) - unit) ** 2
        found.append(total)
    assert len(found) == 8
    assert float(method.penalty(trunk).detach()) == pytest.approx(0.3 * sum(found) / 8, rel=1e-5)


def test_the_penalty_makes_p_and_q_orthogonal(tiny: Make, make: Make) -> None:
    method = make("adalora", rank=2, initial_rank=3)
    trunk = tiny("bert").changed(method)
    optimizer = torch.optim.Adam([p for p in trunk.parameters() if p.requires_grad], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        method.penalty(trunk).backward()
        optimizer.step()
    q = next(iter(tuner_layers(trunk).values())).lora_A["default"]
    assert torch.allclose(q @ q.T, torch.eye(3), atol=0.05)
    assert make("adalora", orthogonality=0).penalty(trunk) is None


def test_the_same_components_are_kept_as_by_peft(tiny: Make, make: Make) -> None:
    model, method = tiny("bert"), make("adalora", rank=2, initial_rank=4, warmup=0, final=0.3, interval=2)
    ours, theirs = model.changed(method), model.changed(method)
    settings = theirs.peft_config["default"]
    settings.total_step, settings.tinit, settings.tfinal = 10, 0, 3
    allocator = RankAllocator(theirs, settings, "default")
    for trunk in (ours, theirs):
        optimizer = _optimizer(trunk)
        for step in range(1, 8):
            (_loss(model, trunk) + method.penalty(trunk)).backward()
            optimizer.step()
            if trunk is ours:
                method.after_step(ours, step, 10)
            else:
                # peft cuts the budget's fraction off, and does not count importance in the last step.
                allocator.update_ipt(theirs)
                if step in (2, 4, 6, 7):
                    allocator.mask_to_budget(theirs, method.components(step, 10, 8))
            optimizer.zero_grad(set_to_none=True)
    assert _kept(ours) == _kept(theirs)
    assert all(torch.equal(one, other) for one, other in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_a_budget_that_does_not_fall_is_no_error(tiny: Make, make: Make) -> None:
    """peft's allocator asks for the 0th smallest importance and fails."""
    model, method = tiny("bert"), make("adalora", rank=3, initial_rank=3, interval=1)
    trunk = model.changed(method)
    assert _train(model, method, trunk, range(6), 6, _optimizer(trunk)) == [24] * 6


def test_weights_that_no_gradient_reaches_are_no_error(tiny: Make, make: Make) -> None:
    """peft's allocator multiplies by the missing gradient and fails."""
    model, method = tiny("bert"), make("adalora", rank=1, initial_rank=2)
    trunk = model.changed(method)
    last = trunk.get_submodule("encoder.layer.1.attention.self.query")
    for parameter in last.parameters():
        parameter.requires_grad_(False)
    assert _train(model, method, trunk, range(10), 10, _optimizer(trunk))[-1] <= 8


def test_a_step_that_fp16_skipped_leaves_the_running_means(tiny: Make, make: Make) -> None:
    model, method = tiny("bert"), make("adalora")
    trunk = model.changed(method)
    torch.autograd.backward(_loss(model, trunk))
    method.after_step(trunk, 1, 100)
    before = method.memory(trunk)
    next(iter(tuner_layers(trunk).values())).lora_E["default"].grad.fill_(float("inf"))
    method.after_step(trunk, 2, 100)
    after = method.memory(trunk)
    assert before.keys() == after.keys() != set()
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())


def test_a_budget_that_falls_before_any_gradient_was_seen_is_no_error(tiny: Make, make: Make) -> None:
    method = make("adalora", rank=1, initial_rank=2)
    trunk = tiny("bert").changed(method)
    layers = list(tuner_layers(trunk).values())
    layers[0].lora_E["default"].grad = torch.full((2, 1), float("inf"))
    method.after_step(trunk, 1, 1)
    assert method.settled(trunk)


@pytest.mark.parametrize("pause", [3, 17, 35], ids=["before", "while", "after the budget falls"])
def test_a_training_that_goes_on_from_a_checkpoint_repeats_the_whole_one(tiny: Make, make: Make, pause: int) -> None:
    model, method = tiny("bert"), make("adalora", rank=2, initial_rank=4, interval=3)
    whole = model.changed(method)
    method.prepare(whole, [], 40)
    _train(model, method, whole, range(40), 40, _optimizer(whole))

    first = model.changed(method)
    optimizer = _optimizer(first)
    _train(model, method, first, range(pause), 40, optimizer)
    state, memory, moments = method.state(first), method.memory(first), optimizer.state_dict()
    second = model.changed(method, seed=1)
    method.load(second, state)
    optimizer = _optimizer(second)
    optimizer.load_state_dict(moments)
    method.recall(second, memory)
    method.prepare(second, [], 40)
    _train(model, method, second, range(pause, 40), 40, optimizer)
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), second.parameters(), strict=True))


def test_what_was_pruned_is_pruned_in_the_bundle(tiny: Make, make: Make) -> None:
    model, method = tiny("bert"), make("adalora", rank=1, initial_rank=3)
    trunk = model.changed(method)
    _train(model, method, trunk, range(10), 10, _optimizer(trunk))
    fresh = model.changed(method, seed=1)
    method.load(fresh, method.state(trunk))
    assert _kept(fresh) == _kept(trunk)
    assert sum(_kept(fresh)) == 8
    assert torch.equal(model.hidden(fresh), model.hidden(trunk))
    assert sum(len(change.down) for change in method.changes(model.base, method.state(trunk)).values()) == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 8, "initial_rank": 4}, "initial_rank is 4, expected at least the final rank, 8"),
        ({"warmup": 0.5, "final": 0.5}, "leave no steps in which the budget falls"),
    ],
)
def test_settings_that_leave_nothing_to_prune_are_refused(make: Make, settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make("adalora", **settings)
