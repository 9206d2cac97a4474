"""Every file of a data section, read past what is wrong with it, for a report of all that is. Trains nothing on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adaptune.core.log import notice
from adaptune.core.task import Task
from adaptune.core.types import Example
from adaptune.data.config import DataConfig
from adaptune.data.doctor import Findings, diagnose
from adaptune.data.stored import Stored
from adaptune.data.stream import load_examples

SHOWN = 10_000
"""Streamed rows, about, that stand for all of them where each must be made anew."""


@dataclass(frozen=True, slots=True)
class Examined:
    """The usable rows of a data section's files, and what is to be said of all rows."""

    examples: tuple[Example, ...]
    """Of streamed rows a sample."""
    findings: Findings


def examine(config: DataConfig, task: Task) -> Examined:
    """Every check of the files that are given; nothing is cut. Raises DataError for a file with no usable row."""
    config = config.model_copy(update={"on_bad_row": "skip"})
    parts, rejected = {}, []
    for part in ("train", "valid", "test"):
        file = getattr(config, part)
        if file is None:
            continue
        found = load_examples(file, config, task, part=part)
        for text in found.notices:
            notice(text)
        parts[part] = found.examples
        rejected += found.rejected
    examples = tuple(example for examples in parts.values() for example in _some(examples))
    return Examined(examples, diagnose(parts, task, rejected))


def _some(examples: Sequence[Example]) -> Sequence[Example]:
    step = len(examples) // SHOWN
    if not isinstance(examples, Stored) or step < 2:
        return examples
    notice(f"lengths in tokens, if asked for, are those of every {step:,}th row of {len(examples):,}")
    return examples[::step]
