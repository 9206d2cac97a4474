"""What the plain models that a task knows answer, beside which a trained model is reported. Knows no such model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from adaptune.core.task import Task
from adaptune.core.types import Example, Scores


class Plain(NamedTuple):
    """One plain model on labelled test rows."""

    answers: Sequence[Any]
    """Values, one a row."""
    scores: Scores


def baselines(task: Task, train: Sequence[Example], test: Sequence[Example]) -> dict[str, Plain]:
    """Every plain model's answers and scores on labelled test rows, by name; empty for a task that knows none."""
    expected = [example.expected for example in test]
    return {
        name: Plain(answers, task.score(answers, expected)) for name, answers in task.baselines(train, test).items()
    }
