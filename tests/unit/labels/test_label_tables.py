"""The table of bench/ on wrong labels, from the figures of runs."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module("label_table")


def test_what_is_found_of_planted_labels_is_a_mean_over_seeds(tables: Any) -> None:
    run = {
        "set": "trec",
        "model": "minilm",
        "seed": 1,
        "folds": 5,
        "rows": 3000,
        "labels": 6,
        "accuracy": 0.81,
        "planted": 150,
        "listed": 200,
        "hits": 120,
        "hits_of_first": 90,
        "contradicted": 400,
        "contradicted_hits": 140,
    }
    runs = [run, run | {"seed": 2, "accuracy": 0.83, "listed": 300, "hits": 120}]
    assert list(tables.mistrusted_rows(runs)) == [
        ["trec, minilm", "3,000", "6", "82.0", "150", "250", "50 %", "80 %", "60 %", "400", "35 %", "93 %"]
    ]
    assert "means over seeds 1, 2, frozen features, 5 folds" in tables.about_mistrusted(runs)


def test_what_rows_without_labels_add_is_said_draw_by_draw(tables: Any) -> None:
    about = {
        "shots": 8,
        "pool": 500,
        "method": "head_only",
        "valid": 100,
        "test": 500,
        "rounds": 3,
        "teacher": "a teacher",
    }
    alone, taught = "labelled rows alone", "distil, T = 2"
    runs = [
        {"way": way, "draw": draw, "accuracy": accuracy, "teacher_accuracy": 0.9, **about, **said}
        for way, draw, accuracy, said in (
            (alone, 1, 0.70, {}),
            (alone, 2, 0.60, {}),
            (taught, 2, 0.75, {"learned": 500, "right": 0.88}),
            (taught, 1, 0.80, {"learned": 500, "right": 0.88}),
        )
    ]
    assert list(tables.unlabelled_rows(runs)) == [
        [alone, "none; none", "70.0, 60.0", "**65.0**", ""],
        [taught, "500, 88 % right; 500, 88 % right", "80.0, 75.0", "**77.5**", "+12.5 (+10.0 to +15.0)"],
    ]
    assert "test accuracy 90.0" in tables.about_unlabelled(runs)
