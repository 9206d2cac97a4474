"""A training with its progress, its logs and its checkpoints. Knows no task and no metric but by name."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from adaptune.core.errors import Interrupted, TrainingError, Unsupported
from adaptune.core.log import Progress, notice
from adaptune.core.run_folder import RunDir
from adaptune.data.batches import NoBatches
from adaptune.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from adaptune.engine.fit import Evaluation, Fit
from adaptune.engine.loop import NotFinite, Step
from adaptune.engine.settling import Settled
from adaptune.engine.signals import Stop, stopping
from adaptune.engine.trunk_cache import keeping, layers_to_keep
from adaptune.engine.warm_start import Warm
from adaptune.run.beginning import begin
from adaptune.run.kitchen import Kitchen
from adaptune.run.sharing import Pantry

KeepMore = Callable[[], None]

ONLY = ""
"""The name of the one task of a run, whose batches name none."""


def learn(
    kitchen: Kitchen, folder: RunDir, *, resume: bool, pantry: Pantry | None = None, until: int | None = None
) -> Fit:
    """Train with progress, evaluations and checkpoints; the best weights stand at the end.

    `pantry`: what other runs on the same base share with this one. `until`: stop, saved, at the first evaluation from
    this step on; `finished` then tells whether training was over before.
    """
    resumed = checkpoint_in(folder, kitchen.prepared.fingerprint) if resume else None
    fit = _fit(kitchen, resumed)
    kitchen.recipe.method.prepare(kitchen.assembly.trunk, kitchen.in_order("train"), fit.loop.total)
    with stopping() as stop, above_frozen_layers({ONLY: kitchen}, fit, pantry) as keep_more:
        if not resume:
            begin(kitchen, folder, stop)
        _warm(kitchen, fit, pantry)
        follow({ONLY: kitchen}, folder, fit, stop, keep_more, until=until)
    if pantry is not None and fit.warm is not None:
        pantry.keep_warm(kitchen, fit.warm)
    return fit


def observe(kitchen: Kitchen, pantry: Pantry, stop: Callable[[Evaluation], bool]) -> Fit:
    """Train without a folder, to the end or until `stop` says so of an evaluation; `finished` tells which."""
    fit = _fit(kitchen)
    kitchen.recipe.method.prepare(kitchen.assembly.trunk, kitchen.in_order("train"), fit.loop.total)
    with stopping() as asked, above_frozen_layers({ONLY: kitchen}, fit, pantry):
        begin(kitchen, None, asked)
        _warm(kitchen, fit, pantry)
        for event in _named_rows({ONLY: kitchen}, fit):
            if asked.signal is not None:
                raise KeyboardInterrupt
            if isinstance(event, Evaluation) and stop(event):
                break
    if fit.warm is not None:
        pantry.keep_warm(kitchen, fit.warm)
    return fit


def warmed(kitchen: Kitchen) -> Warm | None:
    """The head's optimum on the features of the model as it stands; None where the recipe or the head has none."""
    fit = _fit(kitchen)
    _warm(kitchen, fit, None)
    return fit.warm


def _fit(kitchen: Kitchen, resumed: Checkpoint | None = None) -> Fit:
    return Fit(
        kitchen.assembly,
        NoBatches() if _has_nothing_to_read(kitchen) else kitchen.batches(),
        kitchen.recipe.train,
        seed=kitchen.recipe.seed,
        metric=kitchen.metric,
        evaluate=kitchen.watch,
        run=kitchen.prepared.fingerprint,
        resumed=resumed,
    )


def _has_nothing_to_read(kitchen: Kitchen) -> bool:
    """No training rows, and none are asked for."""
    return not kitchen.examples("train") and not kitchen.recipe.train.epochs


def _warm(kitchen: Kitchen, fit: Fit, pantry: Pantry | None) -> None:
    """The warm start, of another run where one read the same features; none where the approach fits the head."""
    if kitchen.assembly.approach.fits_head:
        return
    warm = None if pantry is None else pantry.warm_for(kitchen)
    if warm is None:
        fit.warm_start(kitchen.in_order("train"), kitchen.in_order("valid"))
    else:
        fit.begin_with(warm)


@contextmanager
def above_frozen_layers(kitchens: Mapping[str, Kitchen], fit: Fit, pantry: Pantry | None = None) -> Iterator[KeepMore]:
    """Within, what the frozen layers below the lowest one that learns give is kept, as train.trunk_cache says.

    Gives what is to be called once more layers learn no more.
    """
    against = _against(kitchens, fit)
    if against and fit.config.settle:
        raise Unsupported(f"train.settle is {fit.config.settle:g}, and {against}; set train.settle=0")
    with ExitStack() as store:

        def keep() -> None:
            store.close()  # before the next: all of it is computed anew, as a run that goes on would
            reads = [kitchen.read_again() for kitchen in kitchens.values()]
            passes = math.inf if fit.settled else fit.passes
            layers = layers_to_keep(reads, fit.config, passes=passes, against=against)
            shared = None if pantry is None or fit.settled else pantry
            fills = shared is None or any(shared.fills(layers, kitchen) for kitchen in kitchens.values())
            below = None if shared is None else shared.below
            kept = store.enter_context(keeping(reads, fit.config, layers, shared=below, fills=fills))
            if kept is not None:
                notice(str(kept))

        keep()
        yield keep


def _against(kitchens: Mapping[str, Kitchen], fit: Fit) -> str | None:
    """Why rows cannot be kept, whatever the model."""
    if any(kitchen.tokens is not None for kitchen in kitchens.values()):
        return "rows are streamed, which are too many to keep their states"
    if fit.loop.accelerator.num_processes > 1:
        return f"there are {fit.loop.accelerator.num_processes} processes, each of which would keep all rows' states"
    return None


def checkpoint_in(folder: RunDir, run: str) -> Checkpoint:
    """The checkpoint to go on from; what was logged after it is dropped."""
    checkpoint = load_checkpoint(folder.checkpoint, run)
    folder.go_on(checkpoint.position.step)
    return checkpoint


def follow(
    kitchens: Mapping[str, Kitchen],
    folder: RunDir,
    fit: Fit,
    stop: Stop,
    keep_more: KeepMore,
    *,
    until: int | None = None,
) -> None:
    """Log every event of a training, save checkpoints, and stop when asked to, or at an evaluation `until` a step."""
    saved = time.monotonic()
    with Progress("train", fit.loop.total, unit="steps", seconds=fit.config.max_seconds) as progress:
        progress.start_at(fit.loop.step)
        for event in _named_rows(kitchens, fit):
            if isinstance(event, Step):
                folder.log_step(_step_record(event))
                progress.advance(tokens=event.tokens, loss=event.loss)
            elif isinstance(event, Settled):
                notice(str(event))
                keep_more()
            else:
                folder.log_scores(_scores_record(event))
                progress.show(**{fit.metric: event.scores[fit.metric]})
            overdue = time.monotonic() - saved > fit.config.save_every
            if stop.signal is not None or overdue or isinstance(event, Evaluation):
                with folder.new_checkpoint() as empty:
                    save_checkpoint(empty, fit.checkpoint())
                saved = time.monotonic()
            if stop.signal is not None:
                raise Interrupted(
                    f"stopped at step {fit.loop.step} of {fit.loop.total}, everything is saved in {folder.path}; "
                    "give the same command with --resume to go on",
                    stop.signal,
                )
            if until is not None and isinstance(event, Evaluation) and event.step >= until:
                return
    notice(f"training ended: {fit.ended}; best {fit.metric} {fit.best.score:.4f} after step {fit.best.step}")


def _named_rows(kitchens: Mapping[str, Kitchen], fit: Fit) -> Iterator[Step | Evaluation | Settled]:
    """The events of a training; a loss that is not finite is told with the rows of its batch."""
    try:
        yield from fit
    except NotFinite as error:
        examples = kitchens[error.task or ONLY].examples("train")
        rows = ", ".join(examples[row].row.where for row in error.rows[:20])
        raise TrainingError(
            f"the {error.what} became NaN or infinite in step {error.step}, in a batch of these rows: {rows}; "
            "look at them, lower train.learning_rate, or use train.precision=fp32"
        ) from error


def _step_record(step: Step) -> dict[str, Any]:
    names = ("epoch", "loss", "learning_rate", "norm", "tokens", "seconds")
    return {"step": step.number} | {name: getattr(step, name) for name in names}


def _scores_record(event: Evaluation) -> dict[str, Any]:
    names = ("step", "epoch", "seconds", "gained")
    return {name: getattr(event, name) for name in names} | dict(event.scores)
