"""Weights & Biases, online or into a folder that `wandb sync` sends later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from adaptune.core.errors import MissingExtra
from adaptune.core.lazy import wandb
from adaptune.core.tracker import Ending, Log, Tracked, Tracker

PATIENCE = 30.0
"""Seconds for its server to answer."""


class Wandb(Tracker):
    """A run of a project at Weights & Biases."""

    extra: ClassVar[str] = "wandb"
    project: str = "adaptune"
    """Where the run is listed."""
    entity: str | None = None
    """The user or team; none: the one that is logged in."""
    mode: Literal["auto", "online", "offline"] = "auto"
    """offline: into tracking/wandb in the run folder; auto: as `wandb` itself and WANDB_MODE say."""
    tags: tuple[str, ...] = ()
    """By which runs are found there."""

    def open(self, tracked: Tracked) -> Log:
        """A run that goes on is the same one there, by its id; files of one that was offline are synced together."""
        tracked.files.mkdir(parents=True, exist_ok=True)
        try:
            settings = wandb.Settings(silent=True, console="off", init_timeout=PATIENCE, finish_timeout=PATIENCE)
        except ImportError:
            raise MissingExtra("wandb", self.extra, "track: wandb") from None
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            name=tracked.name,
            group=tracked.group,
            tags=list(self.tags),
            config=dict(tracked.settings),
            id=tracked.known,
            resume="allow" if tracked.known else None,
            dir=str(tracked.files),
            mode=None if self.mode == "auto" else self.mode,
            reinit="create_new",
            settings=settings,
        )
        # Steps of its own would have to grow, and those after a checkpoint are repeated where a run goes on.
        run.define_metric("*", step_metric="step")
        return _Logging(run)


class _Logging(Log):
    def __init__(self, run: Any) -> None:
        self.run, self.key = run, str(run.id)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log({"step": step, **values})

    def end(self, how: Ending) -> None:
        self.run.finish(exit_code=0 if how in ("finished", "paused") else 1)
