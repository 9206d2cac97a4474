"""The test score of a system's answers, its interval, and the counts behind them: the same for all. Runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adaptune.core.task import Task as Scorer
from adaptune.evaluate.intervals import interval
from adaptune.tasks import TASKS
from peers.rows import Row, Task

SCORERS = {"classify": "classify", "tag": "tag", "regress": "regress", "write": "pretrain"}
"""adaptune's tasks that have the metrics of peers.rows; of texts the probability of a token is scored."""


def scorer(kind: str) -> Scorer:
    """The task that knows the metric, its counts and how they make it."""
    return TASKS.get(SCORERS[kind])()


def scored(task: Task, rows: Sequence[Row], predicted: Sequence[Any]) -> dict[str, Any]:
    """`test`, `interval` and `counts` as the JSON of bench/evidence.py has them."""
    found = scorer(task.kind)
    given = [begun(answer) for answer in predicted] if task.kind == "tag" else predicted
    expected = [tuple(row.label) if isinstance(row.label, list) else row.label for row in rows]
    low, high = interval(found, given, expected)
    return {
        "test": {task.metric: found.score(given, expected).values[task.metric]},
        "interval": {"metric": task.metric, "level": 0.95, "low": low, "high": high},
        "counts": [[round(float(count), 4) for count in row] for row in found.counts(given, expected).tolist()],
    }


def begun(tags: Sequence[str]) -> tuple[str, ...]:
    """An inside tag that continues no entity of its type begins one, as seqeval reads tags by default."""
    before = ["O", *tags]
    return tuple(
        f"B-{tag[2:]}" if tag.startswith("I-") and last[2:] != tag[2:] else tag
        for last, tag in zip(before, tags, strict=False)
    )
