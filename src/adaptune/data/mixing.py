"""Batches of several tasks in one order, each task in its share. Knows no model and no files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import chain, count
from typing import Literal, Protocol

import numpy as np
from pydantic import Field, model_validator

from adaptune.core.batch import Batch
from adaptune.core.config import Config

USUAL_TEMPERATURE = 2.0


class Mixing(Config):
    """How often each of several tasks is seen.

    Task i of n_i training rows has the share p_i = n_i^(1/T) / sum_j n_j^(1/T) of an epoch's rows (Raffel et al. 2020,
    T5, section 3.5.2), and an epoch has as many rows as all tasks together.
    """

    by: Literal["proportional", "temperature", "equal"] = "proportional"
    """proportional: by the number of training rows (T = 1), so that an epoch shows every row once. temperature: by T
    below. equal: every task as often as any other, the limit of a high temperature."""
    temperature: float | None = Field(default=None, ge=1)
    """T of `by: temperature`: at 1 proportional; the higher, the more often small tasks are seen; none: 2."""

    @model_validator(mode="after")
    def _ignore_nothing(self) -> Mixing:
        if self.temperature is not None and self.by != "temperature":
            raise ValueError(f"a temperature is for by=temperature, and by is {self.by!r}; leave out one of them")
        return self

    def shares(self, rows: Mapping[str, int]) -> dict[str, float]:
        """p_i of every task, from its number of training rows; they add up to 1."""
        tempered = 1 / (self.temperature or USUAL_TEMPERATURE)
        exponent = {"proportional": 1.0, "temperature": tempered, "equal": 0.0}[self.by]
        weights = {task: float(n) ** exponent for task, n in rows.items()}
        total = sum(weights.values())
        return {task: weight / total for task, weight in weights.items()}

    def passes(self, rows: Mapping[str, int]) -> dict[str, float]:
        """How often an epoch shows each task's rows: p_i sum_j n_j / n_i."""
        everything = sum(rows.values())
        return {task: share * everything / rows[task] for task, share in self.shares(rows).items()}


class Passes(Protocol):
    """One task's batches, pass after pass over its rows."""

    def __call__(self, epoch: int, skip: int = 0) -> Iterator[Batch]: ...

    def per_epoch(self) -> int: ...

    def count(self, epoch: int) -> int: ...


class Mixed:
    """The batches of every epoch over several tasks: a pure function of seed and epoch.

    Each task goes through its own rows again and again, in its own batches, and an epoch takes as many of them as the
    task's share asks for, in random order among the tasks.
    """

    def __init__(
        self,
        tasks: Mapping[str, Passes],
        rows: Mapping[str, int],
        mixing: Mixing,
        *,
        seed: int,
        together: int = 1,
    ) -> None:
        """`rows`: training rows of each task. `together`: consecutive batches of one task, those of one step."""
        self._tasks = tasks
        self._seed = seed
        self._together = together
        passes = mixing.passes(rows)
        self._steps = {
            task: max(1, round(passes[task] * batches.per_epoch() / together)) for task, batches in tasks.items()
        }
        """Of every epoch: each task's passes, rounded to whole steps."""
        self._length = cache(lambda task, number: tasks[task].count(number))

    def order(self, epoch: int) -> list[str]:
        """The task of every batch of an epoch."""
        names = [task for task, steps in self._steps.items() for _ in range(steps)]
        generator = np.random.default_rng([self._seed, epoch])
        return [names[place] for place in generator.permutation(len(names)) for _ in range(self._together)]

    def per_epoch(self) -> int:
        """How many batches every epoch has."""
        return sum(self._steps.values()) * self._together

    def __call__(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, after the first `skip`."""
        order = self.order(epoch)
        seen = {task: epoch * steps * self._together for task, steps in self._steps.items()}
        for task in order[:skip]:
            seen[task] += 1
        streams = {task: self._from(task, done) for task, done in seen.items()}
        for task in order[skip:]:
            yield replace(next(streams[task]), task=task)

    def _from(self, task: str, done: int) -> Iterator[Batch]:
        """One task's batches, pass after pass, from where `done` of them are behind."""
        number = 0
        while done > 0 and done >= (length := self._length(task, number)):
            number, done = number + 1, done - length
        batches = self._tasks[task]
        return chain(batches(number, skip=done), chain.from_iterable(batches(later) for later in count(number + 1)))
