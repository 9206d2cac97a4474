"""Batches computed in parts where a device's memory does not suffice for them whole. Knows no task and no files."""

from __future__ import annotations

from itertools import chain

import torch

from adaptune.core.batch import Batch
from adaptune.core.chosen import chosen, units_of
from adaptune.core.errors import TrainingError
from adaptune.core.head import Head
from adaptune.core.log import warn
from adaptune.models.assembly import Assembly
from adaptune.models.joint import Joint, Learner


class Parts:
    """Into how many parts every batch is cut: the gradients stay, since losses are sums over what is labelled."""

    def __init__(self, learner: Learner, processes: int) -> None:
        self._learner, self._processes = learner, processes
        self.count = self._said = 1

    def of(self, batch: Batch) -> list[Batch]:
        """The parts of a batch; sequences of a row stay together where its head wants them so."""
        if self.count == 1:
            return [batch]
        head, units = self._head(batch), self._units(batch)
        size = -(-len(units) // self.count)
        groups = [list(chain.from_iterable(units[start : start + size])) for start in range(0, len(units), size)]
        return [chosen(batch, group, of_items=head.labels_items) for group in groups]

    def halve(self, batches: list[Batch], step: int) -> None:
        """Cut into twice as many. Raises TrainingError where that cannot be."""
        tokens = max(batch.mask.numel() for batch in batches)
        what = f"the device has no memory for a batch of {tokens:,} tokens in step {step}"
        if self._processes > 1:
            raise TrainingError(
                f"{what}, and {self._processes} processes wait for each other; lower train.batch_tokens"
            )
        for batch in batches:
            if (part := self._part(batch)).couples_rows:
                raise TrainingError(
                    f"{what}, and the loss of head {part.head.name!r} compares the rows of a batch with each other, so "
                    "that it cannot be computed in parts; lower train.batch_rows or train.batch_tokens, or set "
                    "train.gradient_checkpointing=true"
                )
        if all(len(self._units(batch)) <= self.count for batch in batches):
            raise TrainingError(
                f"{what}, not even row by row; lower model.max_length, set train.gradient_checkpointing=true, or "
                "choose a smaller model"
            )
        self.count *= 2

    def say(self, step: int) -> None:
        """Once for every time that memory did not suffice."""
        if self.count != self._said:
            warn(
                f"the device has no memory for the batches of step {step}: from here on each is computed in "
                f"{self.count} parts, with the same gradients; a lower train.batch_tokens saves the attempt"
            )
            self._said = self.count

    def _part(self, batch: Batch) -> Assembly:
        part = self._learner.of[batch.task] if isinstance(self._learner, Joint) and batch.task else None
        return part or self._learner.parts[0]

    def _head(self, batch: Batch) -> Head:
        return self._part(batch).head

    def _units(self, batch: Batch) -> list[list[int]]:
        return units_of(batch, whole_rows=self._head(batch).whole_rows)


def free_unused(device: torch.device) -> None:
    """Give back what torch holds of a device without using it."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
