"""What a run would take, measured on a few real steps of it. Writes nothing, and keeps nothing that was learned."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from adaptune.core.batch import Batch
from adaptune.core.environment import peak_memory_mb
from adaptune.core.errors import Unsupported
from adaptune.core.head import LOG_LIKELIHOOD
from adaptune.engine.averaging import averaged_share
from adaptune.engine.loop import plan_steps, train
from adaptune.engine.trunk_cache import Read, keeping, layers_to_keep
from adaptune.engine.warm_start import STRENGTHS, collect, fit
from adaptune.prepare import prepare
from adaptune.recipe import Recipe
from adaptune.run.kitchen import Kitchen, set_up

UNTIMED, TIMED = 2, 8
"""Optimizer steps: the first ones wait for memory and kernels."""
LOOKED_AT = 256
"""Batches whose sizes stand for those of an epoch, the largest of them for its largest."""
MB = 1e6


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would take on this machine, if training goes on to its last step."""

    device: str
    steps: int
    """Optimizer steps."""
    tokens_an_epoch: int
    tokens: int
    """Of all steps together."""
    warm_start_seconds: float
    step_seconds: float
    """Of all steps together."""
    evaluation_seconds: float
    """Of validation rows in training, and of the best weights on validation and test rows."""
    total_seconds: float
    """With train.max_seconds; loading, and texts that are written to be scored, come on top."""
    memory_mb: float
    """Most main memory of the process, in MB of 10^6 bytes."""
    device_memory_mb: float | None
    """Most memory of the GPU that tensors held; None on a processor."""
    bundle_mb: float
    """Learned weights on disk; the files beside them are small."""
    checkpoint_mb: float
    """Most that checkpoints take, while a new one stands beside the old one."""
    trunk_cache_mb: float
    """What frozen layers give, in memory and in a file together; 0 where nothing is kept."""
    measured_steps: int


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Tokens, padding counted, unless they are called real."""

    a_batch: float
    real_a_batch: float
    largest: Batch
    part: dict[str, float]
    """Of all rows of train, valid and test."""


@dataclass(frozen=True, slots=True)
class _Measured:
    """Seconds a token, padding counted."""

    step: float
    evaluation: float
    """With frozen layers standing still, where they do."""
    whole: float
    """Of an evaluation with all layers."""
    keeping: float
    bytes: float
    """Kept of frozen layers a token."""
    optimum: float
    """Seconds to fit a head on the features of one token's share."""
    steps: int


def estimate(recipe: Recipe) -> Estimate:
    """Load, take a few steps and pass one batch of an evaluation. Raises AdaptuneError as a run would."""
    kitchen = set_up(recipe, prepare(recipe))
    averaged_share(kitchen.assembly, recipe.train)  # refused before seconds are spent
    sizes = _sizes(kitchen)
    total = plan_steps(kitchen.batches(), recipe.train)
    if total == 0:
        raise Unsupported("train.epochs is 0, so that there are no steps to estimate from; set it to 1 or more")
    passes = total * recipe.train.accumulate / kitchen.batches().per_epoch()
    read = [kitchen.read_again()]
    against = "rows are streamed" if kitchen.tokens is not None else None
    layers = layers_to_keep(read, recipe.train, passes=passes + recipe.train.warm_start, against=against)
    return _summed(kitchen, sizes, _measured(kitchen, sizes, layers), total)


def _sizes(kitchen: Kitchen) -> _Sizes:
    batches = kitchen.batches()
    some = list(islice(batches(0), LOOKED_AT))
    a_batch, real = sum(map(_numbers, some)) / len(some), sum(batch.tokens for batch in some) / len(some)
    part = {name: sum(float(_numbers(batch)) for batch in kitchen.by_length(name)) for name in _small(kitchen)}
    part["train"] = a_batch * batches.per_epoch()
    return _Sizes(a_batch, real, max(some, key=_numbers), part)


def _small(kitchen: Kitchen) -> list[str]:
    """Parts other than the training rows that are encoded and not empty."""
    return [name for name, encoded in kitchen.encoded.items() if name != "train" and encoded]


def _numbers(batch: Batch) -> int:
    return batch.mask.numel() + (0 if batch.decoder_mask is None else batch.decoder_mask.numel())


class Few:
    """The largest batch, then the first ones of an epoch."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches = batches

    def __call__(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        return iter(self.batches[skip:])

    def per_epoch(self) -> int:
        return len(self.batches)


def _measured(kitchen: Kitchen, sizes: _Sizes, layers: int) -> _Measured:
    assembly, config = kitchen.assembly, kitchen.recipe.train
    count = (UNTIMED + TIMED) * config.accumulate
    few = [sizes.largest, *islice(kitchen.batches()(0), count - 1)]
    settings = {"epochs": 1, "max_steps": None, "trunk_cache_mb": 1e6}
    once = config.model_copy(update=settings)
    steps = list(train(assembly, Few(few), once.model_copy(update={"max_steps": 1}), seed=0))  # onto the device
    questions = list(kitchen.by_length("valid") if kitchen.recipe.task.pools else kitchen.in_order("valid"))
    question = questions[len(questions) // 2]  # neither the shortest nor the longest
    whole = _seconds(lambda: _ask(kitchen, question)) / _numbers(question)
    started = time.perf_counter()
    read = Read(assembly, [*few, question] if layers else [], sum(map(_numbers, few)))
    with keeping([read], once, layers) as kept:
        filling = time.perf_counter() - started
        steps = list(train(assembly, Few(few), once, seed=0))
        evaluation = _seconds(lambda: _ask(kitchen, question)) / _numbers(question)
    timed = steps[UNTIMED:] or steps
    padded = sum(map(_numbers, few[(len(steps) - len(timed)) * config.accumulate :]))
    all_kept = sum(map(_numbers, few)) + _numbers(question)
    return _Measured(
        step=sum(step.seconds for step in timed) / padded,
        evaluation=evaluation,
        whole=whole,
        keeping=filling / all_kept if kept else 0.0,
        bytes=(kept.memory + kept.disk) / all_kept if kept else 0.0,
        optimum=_optimum(kitchen, question) / _numbers(question),
        steps=len(timed),
    )


@torch.inference_mode()
def _ask(kitchen: Kitchen, batch: Batch) -> None:
    """One batch of an evaluation in training."""
    assembly = kitchen.assembly.eval()
    placed = batch.to(next(assembly.parameters()).device)
    if kitchen.metric == LOG_LIKELIHOOD:
        assembly(placed)
    elif kitchen.recipe.task.pools:
        assembly.vectors(placed)
    else:
        assembly.answers(placed)


def _seconds(work: Callable[[], None]) -> float:
    """Of the second of two times."""
    work()
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _optimum(kitchen: Kitchen, batch: Batch) -> float:
    """Seconds to fit the head on the features of one batch, for all strengths."""
    assembly = kitchen.assembly
    linear = assembly.head.linear(assembly.layer)
    if not kitchen.recipe.train.warm_start or linear is None:
        return 0.0
    features, labels = collect(assembly, [batch])

    def loss_of(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return assembly.head.convex_loss(assembly.layer, outputs, targets)

    started = time.perf_counter()
    for _ in fit(features, labels, linear.out_features, strengths=STRENGTHS, loss_of=loss_of):
        pass
    return time.perf_counter() - started


def _summed(kitchen: Kitchen, sizes: _Sizes, found: _Measured, total: int) -> Estimate:
    config, assembly = kitchen.recipe.train, kitchen.assembly
    train_tokens, valid, test = (sizes.part.get(name, 0.0) for name in ("train", "valid", "test"))
    rows = len(kitchen.examples("train"))
    read = min(1.0, (config.warm_start_rows or rows) / rows) * train_tokens
    kept = (train_tokens + valid) if found.bytes else 0.0
    warm = found.keeping * kept
    if found.optimum:
        warm += (found.evaluation + found.optimum) * read + found.evaluation * valid
    steps = total * config.accumulate * sizes.a_batch * found.step
    every = config.evaluate_every or math.ceil(kitchen.batches().per_epoch() / config.accumulate)
    # How good a warm-started head is, its fit knows; a cold one is measured before the first step.
    in_training = found.evaluation * valid * (math.ceil(total / every) + (0 if found.optimum else 1))
    training = min(warm + steps + in_training, config.max_seconds or math.inf)
    last = found.whole * (valid + test)
    # The weights, the best ones, two means of an optimizer, and averages.
    copies = 4 + bool(averaged_share(assembly, config))
    learned = sum(tensor.numel() * tensor.element_size() for tensor in assembly.state().values()) / MB
    device = next(assembly.parameters()).device
    return Estimate(
        device=str(device),
        steps=total,
        tokens_an_epoch=round(sizes.real_a_batch * kitchen.batches().per_epoch()),
        tokens=round(sizes.real_a_batch * total * config.accumulate),
        warm_start_seconds=warm,
        step_seconds=steps,
        evaluation_seconds=in_training + last,
        total_seconds=training + last,
        memory_mb=peak_memory_mb() + min(found.bytes * kept / MB, config.trunk_cache_mb),
        device_memory_mb=torch.cuda.max_memory_allocated(device) / MB if device.type == "cuda" else None,
        bundle_mb=learned,
        checkpoint_mb=2 * copies * learned,
        trunk_cache_mb=found.bytes * kept / MB,
        measured_steps=found.steps,
    )
