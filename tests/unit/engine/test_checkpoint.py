from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adaptune.core.errors import TrainingError
from adaptune.engine.best import Best
from adaptune.engine.checkpoint import FILE, Checkpoint, load_checkpoint, save_checkpoint
from adaptune.engine.loop import Position


def _checkpoint() -> Checkpoint:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    weight.grad = torch.ones(3)
    optimizer.step()
    best = Best(patience=3, min_gain=0.01, score=0.5, step=4, waited=1, state={"w": torch.zeros(3)})
    position = Position(step=5, epoch=1, batch=2, optimizer=optimizer.state_dict())
    return Checkpoint("run-1", position, {"w": weight.detach()}, best=best, due_at=1.5, seconds=12.5, tokens=99)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    saved = _checkpoint()
    save_checkpoint(tmp_path, saved)
    loaded = load_checkpoint(tmp_path, "run-1")
    assert (loaded.run, loaded.due_at, loaded.seconds, loaded.tokens) == ("run-1", 1.5, 12.5, 99)
    assert (loaded.position.step, loaded.position.epoch, loaded.position.batch) == (5, 1, 2)
    assert loaded.position.optimizer["param_groups"] == saved.position.optimizer["param_groups"]
    for name, tensor in saved.position.optimizer["state"][0].items():
        assert torch.equal(loaded.position.optimizer["state"][0][name], tensor)
    assert torch.equal(loaded.weights["w"], saved.weights["w"])
    assert torch.equal(loaded.best.state["w"], saved.best.state["w"])
    assert (loaded.best.patience, loaded.best.min_gain, loaded.best.score, loaded.best.step, loaded.best.waited) == (
        3,
        0.01,
        0.5,
        4,
        1,
    )


def test_another_run_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, _checkpoint())
    with pytest.raises(TrainingError, match=r"belongs to a run with another recipe or other data.*--overwrite"):
        load_checkpoint(tmp_path, "run-2")


@pytest.mark.parametrize("kept", [0, 1, 100, 1500, -1])
def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path, kept: int) -> None:
    save_checkpoint(tmp_path, _checkpoint())
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(
        TrainingError, match=rf"{FILE} is damaged, or no checkpoint; start the run anew with --overwrite"
    ):
        load_checkpoint(tmp_path, "run-1")


@pytest.mark.parametrize("content", [[1, 2], {"position": 3}, torch.ones(2)], ids=["list", "dict", "tensor"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / FILE)
    with pytest.raises(TrainingError, match="is damaged, or no checkpoint"):
        load_checkpoint(tmp_path, "run-1")


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    torch.save({"position": Path("x")}, tmp_path / FILE)
    with pytest.raises(TrainingError, match="is damaged, or no checkpoint"):
        load_checkpoint(tmp_path, "run-1")


def test_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=rf"{FILE} cannot be read: No such file"):
        load_checkpoint(tmp_path, "run-1")
