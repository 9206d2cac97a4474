"""Scores of the plain models that a task knows, beside which a trained model is reported. Knows no such model."""

from __future__ import annotations

from collections.abc import Sequence

from adaptune.core.task import Task
from adaptune.core.types import Example, Scores


def baselines(task: Task, train: Sequence[Example], test: Sequence[Example]) -> dict[str, Scores]:
    """Every plain model's scores on labelled test rows, by name; empty for a task that knows none."""
    expected = [example.expected for example in test]
    return {name: task.score(answers, expected) for name, answers in task.baselines(train, test).items()}
