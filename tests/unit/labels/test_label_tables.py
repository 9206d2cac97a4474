"""The tables of bench/ on labels, from the figures of runs."""

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


def test_what_a_pool_adds_is_a_difference_draw_by_draw(tables: Any) -> None:
    about = {
        "shots": 8,
        "pool": 1000,
        "method": "head_only",
        "valid": 100,
        "test": 500,
        "rounds": 3,
        "teacher": "a large one",
        "teacher_accuracy": 0.9,
    }
    runs = [
        about | {"way": "labelled rows alone", "draw": 1, "accuracy": 0.6},
        about | {"way": "labelled rows alone", "draw": 2, "accuracy": 0.7},
        about | {"way": "selftrain", "draw": 1, "accuracy": 0.64, "best": 2, "learned": 300, "right": 0.75},
        about | {"way": "selftrain", "draw": 2, "accuracy": 0.7, "best": 0, "learned": 0, "right": None},
    ]
    assert list(tables.unlabelled_rows(runs)) == [
        ["labelled rows alone", "none; none", "60.0, 70.0", "**65.0**", ""],
        ["selftrain", "300, 75 % right, round 2; none", "64.0, 70.0", "**67.0**", "+2.0 (+0.0 to +4.0)"],
    ]
    assert "draws 1, 2" in tables.about_unlabelled(runs)
    assert "(a large one; test accuracy 90.0)" in tables.about_unlabelled(runs)
