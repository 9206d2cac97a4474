"""Training rows for what need not see them all; nothing is sampled without being said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adaptune.core.log import notice
from adaptune.core.task import Task
from adaptune.core.types import Example
from adaptune.data.load import drawn
from adaptune.data.stored import Stored

WARM_START = "the warm start reads"
BASELINES = "plain models are fitted on"
LENGTHS = "lengths in tokens are those of"

STREAMED = {WARM_START: 6_000, BASELINES: 50_000, LENGTHS: 10_000}
"""Rows of parts that are streamed, where the recipe names no number. The warm start keeps the first step waiting."""
_SETTING = {WARM_START: "; train.warm_start_rows", BASELINES: "; evaluate.plain_rows", LENGTHS: ""}


class Sample(NamedTuple):
    """Some rows of a part, or all."""

    rows: NDArray[np.int64]
    """Their indices, in order."""
    whole: bool

    def of(self, examples: Sequence[Example]) -> Sequence[Example]:
        """The examples at these rows."""
        if self.whole:
            return examples
        if isinstance(examples, Stored):
            return tuple(examples.some(self.rows))
        return [examples[row] for row in self.rows.tolist()]


def sample(examples: Sequence[Example], task: Task, purpose: str, rows: int | None, *, seed: int) -> Sample:
    """At most so many rows for a purpose, drawn by the seed with every class in its share, and a notice of it.

    None: all of them, of streamed ones as many as the purpose needs.
    """
    most = STREAMED[purpose] if rows is None and isinstance(examples, Stored) else rows
    if most is None or most >= len(examples):
        return Sample(np.arange(len(examples)), True)
    chosen = drawn(examples, task, most, seed + 5)
    notice(f"{purpose} {len(chosen):,} of {len(examples):,} training rows{_SETTING[purpose]}")
    return Sample(np.array(chosen, dtype=np.int64), False)
