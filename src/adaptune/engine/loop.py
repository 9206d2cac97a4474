"""The training loop: a generator of steps. Its caller logs, evaluates, saves and stops. Knows no task and no files."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from adaptune.core.batch import Batch
from adaptune.core.errors import TrainingError, Unsupported
from adaptune.engine.config import TrainConfig
from adaptune.engine.layers import first_steps, rates_by_layer
from adaptune.engine.memory import Parts, free_unused
from adaptune.engine.optimize import make_optimizer, scale
from adaptune.engine.pruning import Pruned
from adaptune.models.joint import Joint, Learner


class Epochs(Protocol):
    """Batches as a pure function of the epoch."""

    def __call__(self, epoch: int, skip: int = 0) -> Iterator[Batch]: ...

    def per_epoch(self) -> int: ...


class NotFinite(TrainingError):
    """The loss or the gradient is NaN or infinite; `rows` are the indices of the rows in the step's batches.

    `task`: of which task they are, where several are trained together.
    """

    def __init__(self, what: str, step: int, rows: list[int], task: str | None = None) -> None:
        self.what, self.step, self.rows, self.task = what, step, rows, task
        super().__init__(f"the {what} is not finite in step {step}, rows {rows}")


@dataclass(slots=True)
class Position:
    """Where training stands, and everything that the next step depends on beside the model's weights."""

    step: int
    """Optimizer steps done."""
    epoch: int
    batch: int
    """Batches of the epoch done."""
    optimizer: dict[str, Any]
    """The optimizer's state_dict."""
    scaler: dict[str, Any] | None = None
    """The gradient scaler's, in fp16."""
    memory: dict[str, Any] = field(default_factory=dict)
    """What the method keeps between steps (AdaLoRA's running means)."""
    parts: int = 1
    """Into how many each batch is cut since memory did not suffice."""
    losses: dict[str, Any] = field(default_factory=dict)
    """What is known of the rows' losses, where it decides which of them an epoch leaves out."""


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step that was done."""

    number: int
    """Counted from 1."""
    total: int
    """Steps planned."""
    epoch: float
    """Passes over the data done, with a fraction."""
    ends_epoch: bool
    last: bool
    """Whether no other comes."""
    loss: float
    """Mean over labelled items."""
    learning_rate: float
    """Of the first parameter group."""
    rate: float
    """Part of the peak learning rates that this step had."""
    norm: float | None
    """Of the gradient before clipping; None where fp16 overflowed: that step changed the scale of the loss alone."""
    tokens: int
    """Real tokens read in this step, by all processes."""
    seconds: float
    loop: Loop
    """For `loop.position()`: valid until the next step is asked for."""


def train(
    assembly: Learner, batches: Epochs, config: TrainConfig, *, seed: int, position: Position | None = None
) -> Iterator[Step]:
    """Train in place, one Step after another, until the planned steps are done.

    Each step's random numbers depend on `seed` and the step's number alone, so that a run which goes on from a position
    repeats the uninterrupted one bit for bit. Raises NotFinite.
    """
    loop = Loop(assembly, batches, config, seed)
    if position is not None:
        loop.restore(position)
    yield from loop.run()


def plan_steps(batches: Epochs, config: TrainConfig, processes: int = 1) -> int:
    """How many optimizer steps a whole training has."""
    per_epoch = math.ceil(batches.per_epoch() / (config.accumulate * processes))
    total = math.ceil(per_epoch * config.epochs)
    return min(total, config.max_steps) if config.max_steps else total


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Devices and precision. Raises TrainingError where the machine has not what was asked for."""
    device = config.device
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True, "auto": True}
    if not found[device]:
        raise TrainingError(f"train.device is {device!r}, and this machine has none; set train.device=cpu or auto")
    if config.precision == "fp16" and (device == "cpu" or not (found["cuda"] or found["mps"])):
        raise TrainingError("train.precision is 'fp16', which needs a GPU; set train.precision=fp32 or bf16")
    # accelerate keeps a process's first settings for good, and refuses others in a later training.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    return Accelerator(cpu=device == "cpu", mixed_precision="no" if config.precision == "fp32" else config.precision)


class Loop:
    """The state of one training."""

    def __init__(self, assembly: Learner, batches: Epochs, config: TrainConfig, seed: int) -> None:
        self.config, self.batches, self.seed = config, batches, seed
        self.accelerator = make_accelerator(config)
        self.assembly = assembly.to(self.accelerator.device)
        self.assembly.recomputes = config.gradient_checkpointing
        several = self.accelerator.num_processes > 1
        if several:
            _check_alone(assembly, batches, self.accelerator.num_processes)
        self.model: Any = self.accelerator.prepare_model(assembly) if several else assembly
        self.optimizer = make_optimizer(parameter_groups(assembly, config), config)
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.per_epoch = self._in_epoch = max(1, batches.per_epoch())
        self.total = plan_steps(batches, config, self.accelerator.num_processes)
        self._first_steps = first_steps(self.assembly, config, self.total)
        self._parts = Parts(assembly, self.accelerator.num_processes)
        self.step = self.epoch = self.batch = 0
        self._in_training = False

    def position(self) -> Position:
        """What must be kept to go on from here, beside the model's weights."""
        scaler = self.accelerator.scaler
        return Position(
            self.step,
            self.epoch,
            self.batch,
            optimizer=self.optimizer.state_dict(),
            scaler=scaler.state_dict() if scaler else None,
            memory=self.assembly.method.memory(self.assembly.trunk),
            parts=self._parts.count,
            losses=self.batches.state() if isinstance(self.batches, Pruned) else {},
        )

    def restore(self, position: Position) -> None:
        """Go on from a position."""
        self.step, self.epoch, self.batch = position.step, position.epoch, position.batch
        self.optimizer.load_state_dict(position.optimizer)
        if position.scaler is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(position.scaler)
        self.assembly.method.recall(self.assembly.trunk, position.memory)
        self._parts.count = position.parts
        if isinstance(self.batches, Pruned):
            self.batches.load(position.losses)

    def run(self) -> Iterator[Step]:
        """Step after step from where the loop stands."""
        size = self.config.accumulate * self.accelerator.num_processes
        while self.step < self.total and self.epoch < self.config.epochs:
            self._begin_epoch()
            remaining = self.batches(self.epoch, skip=self.batch)
            group = list(islice(remaining, size))
            while group and self.step < self.total:
                following = list(islice(remaining, size))
                self.batch += len(group)
                yield self._advance(group, ends_epoch=not following)
                group = following
            self.epoch, self.batch = self.epoch + 1, 0

    def _begin_epoch(self) -> None:
        if isinstance(self.batches, Pruned):
            if self.batch == 0:
                self.batches.begin()
            self._in_epoch = max(1, self.batches.count(self.epoch))

    @property
    def _place(self) -> int:
        """The step, counted from 0, in the schedule: where epochs leave out rows, as far on as without that."""
        if not isinstance(self.batches, Pruned) or self.config.max_steps is not None:
            return self.step
        done = self.epoch * self._in_epoch + max(0, self.batch - self.config.accumulate)
        return min(self.total - 1, done * self.per_epoch // (self._in_epoch * self.config.accumulate))

    def _advance(self, group: list[Batch], *, ends_epoch: bool) -> Step:
        """One optimizer step over the batches of all processes."""
        started = time.perf_counter()
        self._set_mode()
        factor = scale(self.config, self._place, self.total)
        for parameters, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            parameters["lr"] = peak * factor
        loss = self._backward(group)
        self._hold_back()
        norm = self._clip(group)
        self._update()
        self.step += 1
        self.assembly.method.after_step(self.assembly.trunk, self.step, self.total)
        self.optimizer.zero_grad(set_to_none=True)
        return Step(
            number=self.step,
            total=self.total,
            epoch=self.epoch + (1.0 if ends_epoch else min(1.0, self.batch / self._in_epoch)),
            ends_epoch=ends_epoch,
            last=self.step == self.total or (ends_epoch and self.epoch + 1 >= self.config.epochs),
            loss=loss,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            rate=factor,
            norm=norm,
            tokens=sum(batch.tokens for batch in group),
            seconds=time.perf_counter() - started,
            loop=self,
        )

    def _set_mode(self) -> None:
        """Training mode, where it is not that of the step before: to walk through every module takes some time."""
        if not self._in_training or not self.assembly.training:
            self.assembly.train()
            self._in_training = True

    def _backward(self, group: list[Batch]) -> float:
        """Gradients of the mean loss over the labelled items of all batches, whatever their number in each."""
        mine, idle = self._mine(group)
        share = 0.0 if idle else 1.0
        rows = sum(len(batch.rows) for batch in group)
        while (sums := self._attempt(mine, rows, share)) is None:
            self.optimizer.zero_grad(set_to_none=True)
            free_unused(self.accelerator.device)
        self._parts.say(self.step + 1)
        total, count = self.accelerator.reduce(sums, "sum").tolist()
        count = count or 1.0  # no labelled item in the whole step: no gradient
        self._rescale(rows * self.accelerator.num_processes / count)
        value = float(total / count) + self._penalise()
        if not math.isfinite(value):
            raise NotFinite("loss", self.step + 1, _rows(group), group[0].task)
        return value

    def _attempt(self, mine: list[Batch], rows: int, share: float) -> torch.Tensor | None:
        """The sums of losses and items, and gradients; None where memory did not suffice, with gradients of no use.

        Every attempt of a step has the same random numbers to begin with.
        """
        torch.manual_seed(self.seed * 1_000_003 + self.step)
        sums, losses = torch.zeros(2, device=self.accelerator.device), []
        try:
            parts = [part for batch in mine for part in self._parts.of(batch)]
            for index, part in enumerate(parts):
                last = index == len(parts) - 1
                with self.accelerator.autocast(), _exchange(self.accelerator, self.model, last):
                    loss = self.model(part.to(self.accelerator.device))
                    # The number of items is known only after the last part; that of rows keeps fp16 in range till then.
                    self.accelerator.backward(loss.total * (share / rows))
                sums += torch.stack([loss.total.detach().float(), loss.items.float()]) * share
                losses.append((part.rows, loss.each))
        except torch.OutOfMemoryError:
            self._parts.halve(mine, self.step + 1)
            return None
        for seen, each in losses:
            if each is not None and isinstance(self.batches, Pruned):
                self.batches.observe(seen, each)
        return sums

    def _mine(self, group: list[Batch]) -> tuple[list[Batch], bool]:
        """This process's batches; a process that has none repeats one without weight, since all must take part."""
        count, index = self.accelerator.num_processes, self.accelerator.process_index
        mine = group[index::count]
        return (mine, False) if mine else (group[:1], True)

    def _rescale(self, factor: float) -> None:
        """From gradients divided by rows, and averaged over processes, to the mean over items."""
        for parameter in self._with_gradient():
            parameter.grad *= factor

    def _penalise(self) -> float:
        """Add the gradient of the method's own term (AdaLoRA's orthogonality), the same in every process."""
        penalty = self.assembly.method.penalty(self.assembly.trunk)
        if penalty is None:
            return 0.0
        scaled = penalty if self.accelerator.scaler is None else self.accelerator.scaler.scale(penalty)
        learning = [p for p in self.assembly.trunk.parameters() if p.requires_grad]
        # Not backward(): that would have the processes exchange gradients once more.
        gradients = torch.autograd.grad(scaled, learning, allow_unused=True)
        for parameter, gradient in zip(learning, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return float(penalty.detach())

    def _hold_back(self) -> None:
        """Weights whose turn has not come lose their gradient, and so neither move nor count in its norm."""
        for parameter in self._with_gradient():
            if self._first_steps.get(id(parameter), 0) > self._place:
                parameter.grad = None

    def _clip(self, group: list[Batch]) -> float | None:
        scaler = self.accelerator.scaler
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        limit = math.inf if self.config.clip is None else self.config.clip
        norm = float(torch.nn.utils.clip_grad_norm_(self._with_gradient(), limit))
        if math.isfinite(norm):
            return norm
        if scaler is None:
            raise NotFinite("gradient", self.step + 1, _rows(group), group[0].task)
        return None

    def _with_gradient(self) -> list[Any]:
        return [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]

    def _update(self) -> None:
        scaler = self.accelerator.scaler
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()


def _check_alone(assembly: Learner, batches: Epochs, processes: int) -> None:
    """Refuse what one process alone can do. Raises Unsupported."""
    if isinstance(assembly, Joint):
        raise Unsupported(
            f"tasks with shared adapters are trained by one process, and there are {processes}; start it without "
            "torchrun, or set adapters=separate"
        )
    if isinstance(batches, Pruned):
        raise Unsupported(
            f"train.prune is {batches.rate:g}, and each of {processes} processes would know the losses of its own rows "
            "alone; set train.prune=0"
        )


def usual_rate(assembly: Learner) -> float:
    """The method's own rate, which is for a hidden size of 768 and six layers; wider and deeper models bear less.

    Narrower ones bear up to twice it. Chosen on BANKING77 and WNUT17 with 384 and six layers; with twelve layers lora
    lost what it knew at the rate of six (Chinese hotel reviews, multilingual-e5-small). In inverse proportion to both,
    which for the largest models comes to what their users take; unmeasured here beyond these.
    """
    width, depth = assembly.backbone.hidden_size, assembly.backbone.depth
    return assembly.method.learning_rate * min(2.0, 768 / width) * min(1.0, 6 / depth)


def parameter_groups(assembly: Learner, config: TrainConfig) -> list[dict[str, Any]]:
    """The method's groups and the head's. Raises Unsupported where nothing would learn, or not in fp32."""
    if config.epochs and not assembly.method.steps:
        raise Unsupported(
            f"train.epochs is {config.epochs:g}, and method {assembly.method.name!r} takes no step; set "
            "train.epochs=0, or method=head_only to train the head alone"
        )
    rate = config.learning_rate or usual_rate(assembly)
    head_rate = config.head_learning_rate or rate
    head = [p for p in assembly.layer.parameters() if p.requires_grad]
    of_trunk = rates_by_layer(assembly.method.groups(assembly.trunk, rate), assembly, config.layer_decay)
    groups = [*of_trunk, {"params": head, "lr": head_rate}]
    groups = [group for group in groups if group["params"]]
    if not groups and not assembly.method.steps:
        return [{"params": [], "lr": head_rate}]  # the model answers as it comes
    if not groups:
        heads = " and ".join(repr(part.head.name) for part in assembly.parts)
        raise Unsupported(
            f"nothing would learn: the method {assembly.method.name!r} and the head {heads} have no "
            "weights to train; choose another of the two"
        )
    half = {parameter.dtype for group in groups for parameter in group["params"]} - {torch.float32}
    if half:
        raise Unsupported(
            f"the method {assembly.method.name!r} would train weights of the type {half.pop()}, in which small steps "
            "are lost; set model.dtype=float32, with train.precision=bf16 for its speed"
        )
    return groups


def _rows(group: list[Batch]) -> list[int]:
    return sorted({row for batch in group for row in batch.rows.tolist()})


def _exchange(accelerator: Accelerator, model: Any, last: bool) -> AbstractContextManager[Any]:
    """Gradients are exchanged between processes in the last batch of a step alone."""
    return nullcontext() if last else accelerator.no_sync(model)
