from __future__ import annotations

import torch

from adaptune.engine.best import Best


def _state(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.full((2,), value)}


def test_the_best_state_is_kept_as_a_copy() -> None:
    best, state = Best(patience=None), _state(1.0)
    assert best.observe(0.5, 10, state)
    state["w"] += 1
    assert not best.observe(0.4, 20, state)
    assert (best.score, best.step) == (0.5, 10)
    assert torch.equal(best.state["w"], torch.ones(2))


def test_an_equal_score_is_no_gain() -> None:
    best = Best(patience=2)
    assert [best.observe(score, step, _state(step)) for step, score in enumerate([0.5, 0.5, 0.6])] == [
        True,
        False,
        True,
    ]


def test_patience_runs_out_after_so_many_evaluations_without_a_gain() -> None:
    best = Best(patience=2)
    exhausted = []
    for step, score in enumerate([0.3, 0.2, 0.4, 0.4, 0.1]):
        best.observe(score, step, _state(step))
        exhausted.append(best.exhausted)
    assert exhausted == [False, False, False, False, True]


def test_no_patience_never_runs_out() -> None:
    best = Best(patience=None)
    for step in range(100):
        best.observe(-step, step, _state(step))
    assert not best.exhausted
    assert best.waited == 99


def test_a_gain_must_exceed_the_least_one() -> None:
    best = Best(patience=1, min_gain=0.1)
    assert [best.observe(score, step, _state(step)) for step, score in enumerate([0.5, 0.59, 0.61])] == [
        True,
        False,
        True,
    ]
    assert best.step == 2
