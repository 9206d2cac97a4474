"""All that an exact resume needs, in one file without pickled code. Knows no recipe and no run folder."""

from __future__ import annotations

import dataclasses
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adaptune.core.errors import TrainingError
from adaptune.engine.best import Best
from adaptune.engine.loop import Position

FILE = "training.pt"


@dataclass(slots=True)
class Checkpoint:
    """A training at rest between two steps."""

    run: str
    """What the training is of (recipe and data, hashed): another one must not go on from here."""
    position: Position
    weights: dict[str, Tensor]
    """Of the assembly, at the position."""
    best: Best
    due_at: float | None
    """Passes over the data done, where an evaluation of these weights is still to come; else None."""
    seconds: float
    """Spent in training so far."""
    tokens: int
    averaging: dict[str, Any] = field(default_factory=dict)
    """Running averages of the weights, where they are judged."""
    settling: dict[str, Any] = field(default_factory=dict)
    """Which layers learn no more, and how far each came, where that is asked for."""


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write into an empty folder; who calls makes the folder whole or not at all."""
    parts = {"position": _fields(checkpoint.position), "best": _fields(checkpoint.best)}
    torch.save(_fields(checkpoint) | parts, folder / FILE)


def load_checkpoint(folder: Path, run: str) -> Checkpoint:
    """Read what `save_checkpoint` wrote, tensors and plain values only.

    Raises TrainingError for a damaged file or a checkpoint of another run.
    """
    path = folder / FILE
    try:
        stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        position, best = Position(**stored.pop("position")), Best(**stored.pop("best"))
        checkpoint = Checkpoint(position=position, best=best, **stored)
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror}; start the run anew with --overwrite") from error
    except (RuntimeError, EOFError, AttributeError, LookupError, TypeError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} is damaged, or no checkpoint; start the run anew with --overwrite") from error
    if checkpoint.run != run:
        raise TrainingError(
            f"{folder} belongs to a run with another recipe or other data; repeat the old command to resume it, "
            "or start anew with --overwrite"
        )
    return checkpoint


def _fields(value: Checkpoint | Position | Best) -> dict[str, Any]:
    """Not dataclasses.asdict, which would copy every tensor."""
    return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
