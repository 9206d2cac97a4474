"""What a run comes to, as a notebook shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adaptune.run.finished import Run

OF_TASK: dict[str, Any] = {
    "metric": "accuracy",
    "baseline": {"majority": {"accuracy": 0.5}},
    "valid": {"accuracy": 0.75},
    "test": {"accuracy": 0.8},
    "interval": {"low": 0.7, "high": 0.9},
}


def test_a_run_is_a_table_of_its_scores_beside_baselines() -> None:
    table = Run(Path("runs/a<b"), OF_TASK)._repr_html_()
    assert "<tr><td>baseline: majority</td><td>accuracy</td><td>0.5</td><td></td></tr>" in table
    assert "<tr><td>test</td><td>accuracy</td><td>0.8</td><td>0.7000 to 0.9000</td></tr>" in table
    assert "<p>runs/a&lt;b</p>" in table


def test_a_run_of_several_tasks_names_them() -> None:
    table = Run(
        Path("run"), {"tasks": {"mood": OF_TASK, "names": OF_TASK | {"test": {}, "interval": None}}}
    )._repr_html_()
    assert "<th>task</th>" in table
    assert "<tr><td>mood</td><td>test</td><td>accuracy</td><td>0.8</td><td>0.7000 to 0.9000</td></tr>" in table
    assert "<tr><td>names</td><td>test</td>" not in table
