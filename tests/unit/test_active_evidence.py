"""The evidence for active choice: which rows a run labels, and what its table says."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_rel

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """bench("active"): a module of that folder."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module


def test_every_choice_begins_with_the_same_rows_and_labels_as_many(bench: Callable[[str], Any]) -> None:
    active, draw = bench("active"), np.random.default_rng(0)
    labels = draw.integers(0, 3, 200)
    rows = (np.eye(3)[labels] + 0.3 * draw.normal(size=(200, 3))).astype(np.float32)
    seen = active.Seen(rows[:150], labels[:150], rows[150:], labels[150:], 3)
    of = active.Set("made", (6, 10, 20))
    found = {choice: active.measure(seen, of, choice, 1) for choice in active.CHOICES}
    assert {run["accuracy"][0] for run in found.values()} == {found["random"]["accuracy"][0]}
    assert all(len(run["accuracy"]) == 3 and run["accuracy"][-1] > 0.8 for run in found.values())
    first, second, third = found["both"]["accuracy"]
    assert found["both"]["area"] == pytest.approx((4 * (first + second) / 2 + 10 * (second + third) / 2) / 14, abs=1e-6)


def test_a_row_shows_the_difference_to_random_choice_paired_by_seed(bench: Callable[[str], Any]) -> None:
    table = bench("active_table")
    areas = {"random": (0.70, 0.72, 0.71), "both": (0.73, 0.74, 0.76)}
    runs = [
        {"set": "trec", "choice": choice, "seed": seed, "labels": [10, 20, 40], "accuracy": [0.5, 0.6, 0.7]}
        | {"area": area, "pool": 5000, "test": 500}
        for choice, of in areas.items()
        for seed, area in enumerate(of, start=1)
    ]
    _, names, rows, after = table.section(runs)
    assert len(names) == len(rows[0])
    interval = ttest_rel(areas["both"], areas["random"]).confidence_interval(0.95)
    expected = f"+3.33 ({100 * interval.low:+.2f} to {100 * interval.high:+.2f})"
    assert rows[1] == ["trec", "`both`", "60.0 (20)", "60.0 (20)", "70.0 (40)", "**74.33**", expected, "3"]
    assert "10, 20, 40 labels of a pool of 5,000 rows; 500 test rows" in after
