"""TensorBoard: curves in event files, which `tensorboard --logdir runs` shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from adaptune.core.errors import MissingExtra
from adaptune.core.lazy import tensorboard
from adaptune.core.tracker import Ending, Log, Tracked, Tracker


class Tensorboard(Tracker):
    """Event files in the run folder, or in one of your own."""

    extra: ClassVar[str] = "tensorboard"
    folder: Path | None = None
    """Where the files go, in folders by group and run; none: tracking/tensorboard in the run folder."""

    def open(self, tracked: Tracked) -> Log:
        """A run that goes on writes into the same folder; what was logged after its checkpoint is hidden."""
        if self.folder is None:
            place = tracked.files / "tensorboard"
        else:
            place = self.folder / (tracked.group or "") / tracked.name
        try:
            writer = tensorboard.SummaryWriter(str(place), purge_step=tracked.step + 1 if tracked.known else None)
        except ImportError:
            raise MissingExtra("tensorboard", self.extra, "track: tensorboard") from None
        if tracked.known is None:
            text = yaml.safe_dump(dict(tracked.settings), sort_keys=False, allow_unicode=True)
            writer.add_text("recipe", "\n".join(f"    {line}" for line in text.splitlines()))
        return _Writing(writer, str(place))


class _Writing(Log):
    def __init__(self, writer: Any, key: str) -> None:
        self.writer, self.key = writer, key

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def end(self, how: Ending) -> None:
        self.writer.close()
