"""A whole training: warm start, steps, evaluations, the best weights kept. Knows no task, no metric, no files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from adaptune.core.batch import Batch
from adaptune.engine.averaging import Averaging
from adaptune.engine.best import Best
from adaptune.engine.checkpoint import Checkpoint
from adaptune.engine.config import TrainConfig
from adaptune.engine.loop import Epochs, Loop, Step
from adaptune.engine.settling import FEWEST_PASSES, Settled, Settling
from adaptune.engine.warm_start import Warm, humble, state_of, warm_start
from adaptune.models.assembly import Assembly
from adaptune.models.joint import Learner

Evaluate = Callable[[], Mapping[str, float]]
"""Measures the assembly as it stands on validation rows: every metric by name."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The validation scores after some step; step 0 is the start, warm or not."""

    step: int
    epoch: float
    scores: Mapping[str, float]
    gained: bool
    """Whether these weights are the best so far."""
    seconds: float
    """Of training so far."""


class Fit:
    """One training of an assembly, in place; iterate over it for its events. When it ends, the best weights stand."""

    def __init__(
        self,
        assembly: Learner,
        batches: Epochs,
        config: TrainConfig,
        *,
        seed: int,
        metric: str,
        evaluate: Evaluate,
        run: str = "",
        resumed: Checkpoint | None = None,
    ) -> None:
        """`run` names what is trained, for checkpoints; `resumed` is one of them to go on from."""
        self.assembly, self.config, self.metric, self.run = assembly, config, metric, run
        self.best = Best(config.patience, config.min_gain)
        self.tokens = 0
        self.finished = False
        """Whether training is over; iterating may end before that."""
        self.ended = "all steps done"
        self.warm: Warm | None = None
        """What the training begins with, once that is known; None where it begins cold, or goes on."""
        self._evaluate = evaluate
        self._started = time.monotonic()
        self._resumed = resumed is not None
        self._due_at = resumed.due_at if resumed is not None else None
        if resumed is not None:
            assembly.load(resumed.weights)
            self.best, self.tokens = resumed.best, resumed.tokens
            self._started -= resumed.seconds
        self.loop = Loop(assembly, batches, config, seed)
        if resumed is not None:
            self.loop.restore(resumed.position)
        self._averaging = Averaging(assembly, config)
        self._settling = Settling(assembly, config) if config.settle else None
        if resumed is not None and resumed.averaging:
            self._averaging.load(resumed.averaging)
        if self._settling is not None and resumed is not None:
            self._settling.load(resumed.settling)

    @property
    def seconds(self) -> float:
        """Of training so far, over all its parts."""
        return time.monotonic() - self._started

    @property
    def passes(self) -> float:
        """Over the training rows, about: those of all steps, and that of the warm start.

        The same where a training goes on, so that then the same is kept.
        """
        steps = self.loop.total * self.config.accumulate / self.loop.per_epoch
        warm = self.config.warm_start
        return steps + sum(1 for part in self.assembly.parts[:1] if warm and part.head.linear(part.layer) is not None)

    @property
    def settled(self) -> Sequence[tuple[int, int]]:
        """(step, layers) each time that more of the first layers came to learn no more."""
        return () if self._settling is None else self._settling.history

    def warm_start(
        self,
        train: Iterable[Batch],
        valid: Iterable[Batch],
        *,
        part: Assembly | None = None,
        evaluate: Evaluate | None = None,
        metric: str | None = None,
    ) -> None:
        """Fit the head on frozen features before the first step, where the recipe and the head allow it.

        Of several tasks that are trained together each `part` is fitted by itself, by its own `evaluate` and `metric`.
        """
        if not self.config.warm_start or self._resumed:
            return
        of, own, name = part or self.assembly.parts[0], evaluate or self._evaluate, metric or self.metric
        scores = warm_start(of, train, valid, evaluate=own, metric=name)
        if scores is not None and part is None:
            self.warm = Warm(state_of(of), scores)

    def begin_with(self, warm: Warm) -> None:
        """Take over the warm start of another model with the same features, where the recipe asks for one."""
        if self.config.warm_start and not self._resumed:
            self.assembly.parts[0].layer.load_state_dict(warm.layer)
            self.warm = warm

    def __iter__(self) -> Iterator[Step | Evaluation | Settled]:
        epoch = 0.0
        if not self._resumed:
            if self._settling is not None:
                self._settling.begin()
            start = self._observe(0, epoch, known=None if self.warm is None else self.warm.scores)
            self._humble()
            yield start
        elif self._due_at is not None:
            yield self._observe(self.loop.step, self._due_at)
        for step in self.loop.run() if not self._over(self._late()) else ():
            late = self._late()
            self.tokens, epoch = self.tokens + step.tokens, step.epoch
            self._averaging.add(step.rate)
            self._due_at = epoch if late or self._due(step) else None
            settled = None if late else self._settle(step)
            yield step
            if settled is not None:
                yield settled  # before the evaluation: where a training goes on from this step, it is by then, too
            if self._due_at is not None:
                yield self._observe(step.number, epoch, last=late)
            if self._over(late):
                break
        if self.best.score is None:
            yield self._observe(self.loop.step, epoch, last=True)
        if self._settling is not None:
            self._settling.end()
        self.assembly.load(self.best.state)
        self.finished = True

    def checkpoint(self) -> Checkpoint:
        """Everything needed to go on from here."""
        return Checkpoint(
            run=self.run,
            position=self.loop.position(),
            weights=self.assembly.state(),
            best=self.best,
            due_at=self._due_at,
            seconds=self.seconds,
            tokens=self.tokens,
            averaging=self._averaging.state(),
            settling={} if self._settling is None else self._settling.state(),
        )

    def _settle(self, step: Step) -> Settled | None:
        """The first layers that learn no more, where the step ends an epoch and enough of them are to come."""
        steps = (step.total - step.number) * self.config.accumulate / self.loop.per_epoch
        if self._settling is None or not step.ends_epoch or min(self.config.epochs - step.epoch, steps) < FEWEST_PASSES:
            return None
        return self._settling.observe(step.number, step.epoch)

    def _humble(self) -> None:
        """Take confidence from warm-started heads once their state counts as the first checkpoint."""
        for part in self.assembly.parts:
            linear = part.head.linear(part.layer) if self.config.warm_start and part.head.confident else None
            if linear is not None:
                humble(linear, self.config.head_scale)

    def _observe(
        self, step: int, epoch: float, *, last: bool = False, known: Mapping[str, float] | None = None
    ) -> Evaluation:
        """Weights that the method has not settled yet count only where training ends without others.

        `known`: their scores, where they need not be measured.
        """
        with self._averaging.standing():
            scores = self._evaluate() if known is None else known
            counts = last or self.assembly.method.settled(self.assembly.trunk)
            gained = counts and self.best.observe(scores[self.metric], step, self.assembly.state())
        self._due_at = None
        return Evaluation(step, epoch, scores, gained, self.seconds)

    def _due(self, step: Step) -> bool:
        every = self.config.evaluate_every
        due = step.ends_epoch if every is None else step.number % every == 0
        return due or step.last

    def _over(self, late: bool) -> bool:
        if self.best.exhausted:
            self.ended = f"no gain in {self.best.waited} evaluations"
        elif late:
            early = " before the first step: raise train.max_seconds, or begin cold with train.warm_start=false"
            self.ended = f"time limit of {self.config.max_seconds:g} s{'' if self.loop.step else early}"
        else:
            return False
        return True

    def _late(self) -> bool:
        """Whether the time limit is over in any process: all must stop after the same step."""
        if self.config.max_seconds is None:
            return False
        late = torch.tensor(float(self.seconds > self.config.max_seconds), device=self.loop.accelerator.device)
        return bool(self.loop.accelerator.reduce(late, "sum") > 0)
