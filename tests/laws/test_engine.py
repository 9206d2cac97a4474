"""What the engine must keep: resume, accumulation, padding and several processes change nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adaptune.core.batch import Batch, Encoded
from adaptune.core.errors import TrainingError
from adaptune.data.batches import Batches, Budget, collate, joined
from adaptune.engine.best import Best
from adaptune.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from adaptune.engine.config import TrainConfig
from adaptune.engine.fit import Evaluation, Fit
from adaptune.engine.loop import NotFinite, Step, train
from adaptune.models.assembly import Assembly

Assemble = Callable[..., Assembly]
Rows = Callable[..., list[Encoded]]
GRADIENT = {
    "optimizer": "sgd",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "clip": None,
    "learning_rate": 1.0,
    "head_learning_rate": 1.0,
    "schedule": "constant",
    "warmup": 0.0,
    "device": "cpu",
}
"""Settings with which one step moves every weight by its gradient."""


class Fixed:
    """The same batches in every epoch."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __call__(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        return iter(self.batches[skip:])

    def per_epoch(self) -> int:
        return len(self.batches)


def _batches(assembly: Assembly, encoded: list[Encoded], *sizes: int) -> Fixed:
    """Consecutive rows in batches of these sizes, each padded to its longest."""
    pad, start, batches = assembly.backbone.tokenizer.pad_token_id, 0, []
    for size in sizes:
        batches.append(collate(encoded[start : start + size], pad))
        start += size
    return Fixed(batches)


def _gradients(assembly: Assembly, batches: Fixed) -> dict[str, Tensor]:
    """How far one step over all batches moves every weight."""
    before = {name: tensor.clone() for name, tensor in assembly.state().items()}
    settings = {**GRADIENT, "accumulate": len(batches.batches), "max_steps": 1}
    list(train(assembly, batches, TrainConfig.model_validate(settings), seed=0))
    return {name: before[name] - tensor for name, tensor in assembly.state().items()}


def _distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Relative to the size of all gradients together."""
    difference = sum(float((one[name] - other[name]).square().sum()) for name in one)
    return float((difference / sum(float(tensor.square().sum()) for tensor in one.values())) ** 0.5)


RESUMED = [
    ({"name": "lora", "dropout": 0.2}, "classify", {}),
    ({"name": "full"}, "tag", {"dropout": True, "accumulate": 2}),
    ({"name": "top_layers", "layers": 1}, "classify", {"optimizer": "sgd", "schedule": "cosine", "warmup": 0.3}),
    ({"name": "adalora", "rank": 2, "initial_rank": 4, "interval": 2}, "classify", {}),
    ({"name": "full"}, "classify", {"unfreeze": 0.8, "layer_decay": 0.7}),
]


@pytest.mark.parametrize(
    ("method", "head", "settings"), RESUMED, ids=["lora", "full", "top_layers", "adalora", "unfreeze"]
)
def test_ten_steps_equal_five_and_resume_and_five(
    assemble: Assemble, encoded_for: Rows, tmp_path: Path, method: Any, head: str, settings: Any
) -> None:
    fields = {"batch_rows": 6, "epochs": 3, "max_steps": 10, "learning_rate": 1e-2, "device": "cpu", **settings}
    config = TrainConfig.model_validate(fields)

    def start(seed: int) -> tuple[Assembly, Batches]:
        assembly = assemble("bert", method, head, seed=seed, dropout=config.dropout)
        pad, budget = assembly.backbone.tokenizer.pad_token_id, Budget(tokens=1024, rows=config.batch_rows)
        return assembly, Batches(encoded_for(assembly, rows=40), budget, pad=pad, seed=3)

    whole, batches = start(seed=3)
    steps = list(train(whole, batches, config, seed=3))
    assert len(steps) == 10
    assert steps[-1].epoch > 1  # an epoch ends on the way

    first, batches = start(seed=3)
    for step in train(first, batches, config, seed=3):
        if step.number == 5:
            at_rest = Checkpoint("run", step.loop.position(), first.state(), Best(3), None, 1.0, 9)
            save_checkpoint(tmp_path, at_rest)
            break
    checkpoint = load_checkpoint(tmp_path, "run")
    second, batches = start(seed=4)  # another start: nothing of it may remain
    second.load(checkpoint.weights)
    resumed = list(train(second, batches, config, seed=3, position=checkpoint.position))

    assert [step.number for step in resumed] == [6, 7, 8, 9, 10]
    assert [step.loss for step in resumed] == [step.loss for step in steps[5:]]
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, second.state()[name]), name


@pytest.mark.parametrize("interrupted_after", [0, 2, 3, 8], ids=["at the start", "before", "after", "at the end"])
def test_a_training_interrupted_around_an_evaluation_ends_with_the_same_best_weights(
    assemble: Assemble, encoded_for: Rows, tmp_path: Path, interrupted_after: int
) -> None:
    config = TrainConfig.model_validate(
        {"batch_rows": 10, "epochs": 2, "evaluate_every": 2, "learning_rate": 1e-2, "device": "cpu"}
    )
    scores = [0.2, 0.5, 0.7, 0.6]

    def start(seen: int, resumed: Checkpoint | None = None) -> Fit:
        assembly = assemble("bert", {"name": "lora", "dropout": 0.1}, seed=1)
        encoded = encoded_for(assembly, rows=30)
        pad = assembly.backbone.tokenizer.pad_token_id
        batches = Batches(encoded, Budget(tokens=1024, rows=10), pad=pad, seed=1)
        coming = iter(scores[seen:])
        return Fit(
            assembly,
            batches,
            config,
            seed=1,
            metric="accuracy",
            evaluate=lambda: {"accuracy": next(coming)},
            run="r",
            resumed=resumed,
        )

    uninterrupted = start(0)
    events = list(uninterrupted)
    fit, seen = start(0), 0
    for number, event in enumerate(fit):
        seen += isinstance(event, Evaluation)
        if number == interrupted_after:
            save_checkpoint(tmp_path, fit.checkpoint())
            break
    resumed = start(seen, load_checkpoint(tmp_path, "r"))
    rest = list(resumed)
    assert [_told(event) for event in rest] == [_told(event) for event in events[interrupted_after + 1 :]]
    assert resumed.best.step == uninterrupted.best.step == 4
    for name, tensor in uninterrupted.assembly.state().items():
        assert torch.equal(tensor, resumed.assembly.state()[name]), name


def _told(event: Step | Evaluation) -> tuple[Any, ...]:
    if isinstance(event, Step):
        return event.number, event.loss
    return event.step, event.epoch, event.scores, event.gained


class Small:
    """Stands in a model's place on a device whose memory holds so many tokens of a pass."""

    def __init__(self, assembly: Assembly, tokens: int) -> None:
        self.tokens, self.passes = tokens, list[int]()
        assembly.trunk.register_forward_pre_hook(self._enter, with_kwargs=True)
        assembly.layer.register_forward_hook(self._leave)

    def _enter(self, _: Any, __: Any, named: dict[str, Any]) -> None:
        self.passes.append(named["input_ids"].numel())
        if self.passes[-1] > self.tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")

    def _leave(self, *_: Any) -> None:
        """Heads see hidden states of passes that had room alone."""
        assert self.passes[-1] <= self.tokens


@pytest.mark.parametrize(
    ("family", "head"),
    [("bert", "classify"), ("bert", "tag"), ("bert", "choose"), ("bert", "span"), ("t5", "generate")],
)
def test_a_step_for_which_memory_does_not_suffice_is_computed_in_parts_with_the_same_gradients(
    assemble: Assemble, encoded_for: Rows, capsys: pytest.CaptureFixture[str], family: str, head: str
) -> None:
    method = {"name": "lora", "rank": 4}
    one, two = assemble(family, method, head), assemble(family, method, head)
    _still(one)
    _still(two)
    encoded = encoded_for(one, rows=16)
    half = len(encoded) // 2
    batches = _batches(one, encoded, *([half, len(encoded) - half] if head != "choose" else [len(encoded)]))
    whole = _gradients(one, batches)
    tokens = max(batch.mask.numel() for batch in batches.batches)
    small = Small(two, tokens // 3)
    assert _distance(whole, _gradients(two, batches)) < 1e-5
    assert small.passes[0] > small.tokens
    assert len(small.passes) > 4
    assert capsys.readouterr().err.replace("\n", " ").count("the device has no memory for the batches of step 1") == 1


def test_a_packed_step_is_computed_in_parts_too(assemble: Assemble, encoded_for: Rows) -> None:
    one, two = (assemble("llama", {"name": "lora"}, "generate") for _ in range(2))
    packed = Fixed([joined(encoded_for(one, rows=9))])
    whole = _gradients(one, packed)
    Small(two, packed.batches[0].mask.numel() // 2)
    assert _distance(whole, _gradients(two, packed)) < 1e-5


def test_parts_are_remembered_by_a_checkpoint(assemble: Assemble, encoded_for: Rows) -> None:
    assembly = assemble("bert", {"name": "lora"})
    batches, config = _batches(assembly, encoded_for(assembly, rows=8), 8), TrainConfig(max_steps=2, device="cpu")
    small = Small(assembly, batches.batches[0].mask.numel() // 2)
    step = next(iter(train(assembly, batches, config, seed=0)))
    assert step.loop.position().parts == 2
    small.passes.clear()
    list(train(assembly, batches, config, seed=0, position=step.loop.position()))
    assert max(small.passes) <= small.tokens


def test_where_parts_would_change_the_loss_or_do_not_help_the_remedy_is_told(
    assemble: Assemble, encoded_for: Rows
) -> None:
    config = TrainConfig(max_steps=1, device="cpu")
    for head, tokens, told in (
        ("retrieve", 60, "head 'retrieve' compares the rows of a batch with each other, .*; lower train.batch_rows"),
        (
            "classify",
            1,
            r"no memory for a batch of [\d,]+ tokens in step 1, not even row by row; lower model.max_length",
        ),
    ):
        assembly = assemble("bert", {"name": "lora"}, head)
        Small(assembly, tokens)
        with pytest.raises(TrainingError, match=told):
            list(train(assembly, _batches(assembly, encoded_for(assembly, rows=8), 8), config, seed=0))


@pytest.mark.parametrize("head", ["classify", "tag", "crf"])
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_two_batches_of_four_rows_equal_one_of_eight(
    assemble: Assemble, encoded_for: Rows, family: str, head: str
) -> None:
    one, two = assemble(family, {"name": "full"}, head), assemble(family, {"name": "full"}, head)
    encoded = encoded_for(one, rows=8)
    if head in ("tag", "crf"):
        assert sum(len(row.tokens) for row in encoded[:4]) != sum(len(row.tokens) for row in encoded[4:])
    _still(one)
    _still(two)
    assert _distance(_gradients(one, _batches(one, encoded, 8)), _gradients(two, _batches(two, encoded, 4, 4))) < 1e-5


@pytest.mark.parametrize("head", ["classify", "tag", "crf"])
def test_a_step_follows_the_gradient_of_the_mean_over_labelled_items(
    assemble: Assemble, encoded_for: Rows, head: str
) -> None:
    assembly, plain = assemble("bert", {"name": "full"}, head), assemble("bert", {"name": "full"}, head)
    _still(assembly)
    _still(plain)
    encoded = encoded_for(assembly, rows=8)
    losses = [plain.train()(batch) for batch in _batches(plain, encoded, *[1] * 8).batches]
    mean = torch.stack([loss.total for loss in losses]).sum() / torch.stack([loss.items for loss in losses]).sum()
    mean.backward()
    expected = {f"method.{name}": parameter.grad for name, parameter in plain.trunk.named_parameters()}
    expected |= {f"head.{name}": parameter.grad for name, parameter in plain.layer.named_parameters()}
    assert _distance(expected, _gradients(assembly, _batches(assembly, encoded, 5, 3))) < 1e-5


@pytest.mark.parametrize("head", ["classify", "tag", "crf"])
def test_padded_and_bucketed_batches_give_the_same_gradients(assemble: Assemble, encoded_for: Rows, head: str) -> None:
    one, two = assemble("bert", {"name": "full"}, head), assemble("bert", {"name": "full"}, head)
    _still(one)
    _still(two)
    encoded = encoded_for(one, rows=12)
    by_length = sorted(encoded, key=lambda row: len(row.ids))
    bucketed = _batches(two, by_length, 1, 5, 4, 2)
    assert len({batch.mask.shape[1] for batch in bucketed.batches}) > 2
    assert _distance(_gradients(one, _batches(one, encoded, 12)), _gradients(two, bucketed)) < 1e-5


def _still(assembly: Assembly) -> None:
    """Without dropout."""
    for module in assembly.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def test_two_processes_equal_one(assemble: Assemble, encoded_for: Rows, tmp_path: Path) -> None:
    """Two batches a process and step, of unequal size; in every second step one process has none."""
    jobs, alone = [], []
    settings = {**GRADIENT, "learning_rate": 0.01, "head_learning_rate": 0.01, "epochs": 2}
    for method, head in (("lora", "tag"), ("full", "classify")):
        assembly = assemble("gpt2", {"name": method}, head)
        encoded = encoded_for(assembly, rows=20)
        jobs.append(
            {
                "method": {"name": method},
                "head": head,
                "labels": assembly.labels.names,
                "batches": [encoded[0:3], encoded[3:4], encoded[4:9], encoded[9:14], encoded[14:20]],
                "train": {**settings, "accumulate": 2},
            }
        )
        alone.append((assembly, _batches(assembly, encoded, 3, 1, 5, 5, 6)))
    torch.save(jobs, tmp_path / "jobs.pt")
    _run_processes(2, alone[0][0].backbone.name, str(tmp_path / "jobs.pt"), str(tmp_path / "results.pt"))

    for (assembly, batches), together in zip(
        alone, torch.load(tmp_path / "results.pt", weights_only=True), strict=True
    ):
        _still(assembly)
        before = {name: tensor.clone() for name, tensor in assembly.state().items()}
        config = TrainConfig.model_validate({**settings, "accumulate": 4})
        losses = [step.loss for step in train(assembly, batches, config, seed=0)]
        assert len(losses) == 4
        assert together["losses"] == pytest.approx(losses, rel=1e-5)
        moved = {name: tensor - before[name] for name, tensor in assembly.state().items()}
        moved_together = {name: tensor - before[name] for name, tensor in together["state"].items()}
        assert _distance(moved, moved_together) < 1e-5


def _run_processes(count: int, *arguments: str) -> None:
    worker = Path(__file__).with_name("one_of_two_processes.py")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    size = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        subprocess.Popen(
            [sys.executable, str(worker), *arguments],
            env={**os.environ, **size, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        output = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * count, "\n".join(output)


def test_a_loss_that_is_not_finite_names_the_rows_of_its_step(assemble: Assemble, encoded_for: Rows) -> None:
    assembly = assemble("bert", {"name": "lora"})
    encoded = encoded_for(assembly, rows=9)
    before = {name: tensor.clone() for name, tensor in assembly.state().items()}
    batches = _batches(assembly, encoded, 3, 3, 3)
    poisoned = Batch(**{name: getattr(batches.batches[1], name) for name in Batch.__slots__})
    embeddings = assembly.trunk.get_input_embeddings()(poisoned.ids).detach() * float("nan")
    batches.batches[1] = Batch(
        rows=poisoned.rows,
        mask=poisoned.mask,
        segments=poisoned.segments,
        labels=poisoned.labels,
        embeddings=embeddings,
    )
    settings = {**GRADIENT, "learning_rate": 1e-9, "head_learning_rate": 1e-9}
    steps = train(assembly, batches, TrainConfig.model_validate(settings), seed=0)
    next(steps)
    with pytest.raises(NotFinite, match=r"the loss is not finite in step 2, rows \[3, 4, 5\]") as caught:
        next(steps)
    assert caught.value.rows == [3, 4, 5]
    assert all(torch.isfinite(tensor).all() for tensor in assembly.state().values())
    assert before.keys() == assembly.state().keys()
