"""The section of bench/ on techniques of speed, from what was measured."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_techniques_are_told_by_medians_ratios_and_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    techniques = importlib.import_module("technique_table").techniques
    assert techniques(tmp_path) == ""
    (tmp_path / "techniques").mkdir()
    of = {"machine": {"processor": "One", "cores": 2}, "model": "minilm", "rows": 300, "load": 9.5}
    figures = {
        "masks": {"name": "a mask", "unit": "ns", "without": [30.0, 20.0, 90.0], "with": [3.0], "ratio": 0.1},
        "depth": {
            "name": "settle",
            "unit": "seconds",
            "without": [40.0],
            "with": [30.0],
            "ratio": 0.75,
            "scores": [0.8, 0.79],
        },
    }
    for part, figure in figures.items():
        (tmp_path / "techniques" / f"{part}.json").write_text(json.dumps(of | {"figures": [figure]}))
    text = techniques(tmp_path)
    assert "load average was 9.5 on 2 cores" in text
    assert "| a mask | ns | 30 | 3 | 0.10 | - |\n| settle | seconds | 40 | 30 | 0.75 | 80.0 and 79.0 |\n" in text
