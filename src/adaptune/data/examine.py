"""Every file of a data section, read past what is wrong with it, for a report of all that is. Trains nothing on it."""

from __future__ import annotations

from dataclasses import dataclass

from adaptune.core.log import notice
from adaptune.core.task import Task
from adaptune.core.types import Example
from adaptune.data.config import DataConfig
from adaptune.data.doctor import Findings, diagnose
from adaptune.data.read import examples_of, read


@dataclass(frozen=True, slots=True)
class Examined:
    """The usable rows of a data section's files, and what is to be said of all rows."""

    examples: tuple[Example, ...]
    findings: Findings


def examine(config: DataConfig, task: Task) -> Examined:
    """Every check of the files that are given; nothing is cut. Raises DataError for a file with no usable row."""
    config = config.model_copy(update={"on_bad_row": "skip"})
    parts, rejected = {}, []
    for part in ("train", "valid", "test"):
        file = getattr(config, part)
        if file is None:
            continue
        table = read(file, config, task.columns, part=part)
        for text in table.notices:
            notice(text)
        understood = examples_of(table.rows, task, config)
        parts[part] = understood.examples
        rejected += [*table.rejected, *understood.rejected]
    examples = tuple(example for examples in parts.values() for example in examples)
    return Examined(examples, diagnose(parts, task, rejected))
