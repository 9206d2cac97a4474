"""What results/compare and results/statistics hold becomes rows of docs/results.md."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adaptune.compare.candidates import parse_candidates
from adaptune.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """bench("compare_jobs"): a module of that folder."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module


def _rate(share: float) -> dict[str, float]:
    return {"rate": share, "low": share - 0.01, "high": share + 0.01}


def test_a_scenario_is_a_row_with_the_intervals_of_its_shares(bench: Callable[[str], Any]) -> None:
    scenario = {"task": "tag", "rows": 200, "systems": 2, "seeds": 3, "comparisons": 2000}
    scenario |= {"spread_of_seeds": 0.022, "spread_of_others": 0.0}
    scenario |= {"score": 0.85, "score_of_the_better": 0.91, "false_better": _rate(0.02), "coverage": _rate(0.98)}
    scenario |= {"plain_bootstrap_false_better": _rate(0.11), "found": _rate(0.2)}
    table = bench("compare_table")
    assert list(table.statistics_rows({"scenarios": [scenario]})) == [
        [
            "tag",
            "200",
            "2",
            "3",
            "2.2, of others 0.0",
            "2.0 % (1.0 to 3.0)",
            "11.0 % (10.0 to 12.0)",
            "98.0 % (97.0 to 99.0)",
            "6.0",
            "20 %",
        ]
    ]
    assert "drawn from a known truth, 2,000 of each kind" in table.about_statistics({"scenarios": [scenario]})


def test_a_comparison_stands_beside_its_plain_run_and_the_full_ones(bench: Callable[[str], Any]) -> None:
    verdict = {"use": "lora", "worth_it": True, "alike": ["lora", "full"], "english": ["Use lora."]}
    folders = {
        "wnut17": {
            "wnut17/comparison": {"verdict": verdict, "seconds": 600.0, "metric": "f1", "notes": ["shrunk"]},
            "wnut17/plain": {"seconds": 300.0},
            "wnut17/truth-lora-seed1": {"method": "lora", "test": {"f1": 0.42}},
            "wnut17/truth-full-seed1": {
                "method": "full",
                "test": {"f1": 0.44},
                "interval": {"low": 0.42, "high": 0.465},
            },
            "wnut17/truth-full-seed2": {"method": "full", "test": {"f1": 0.46}},
        }
    }
    table = bench("compare_table")
    assert list(table.race_rows(folders)) == [
        ["wnut17", "lora", "600", "300", "2.0", "full, 45.0 (42.0 to 46.5)", "42.0", "3.0", "3"]
    ]
    assert table.verdicts(folders) == "\n`wnut17`: Use lora. shrunk.\n"


def test_what_is_compared_are_settings_and_candidates_that_there_are(
    bench: Callable[[str], Any], data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAPTUNE_DATA", str(data("banking77").parent))
    jobs = bench("compare_jobs")
    for one in jobs.SETS:
        recipe = load_recipe(ROOT / "recipes" / f"{one.recipe}.yaml", one.overrides)
        assert recipe.data.split_seed == 1
        assert len(parse_candidates(",".join(jobs.CANDIDATES), recipe)) == 8
    assert len(list(jobs.truths())) == 48, "WNUT17 is run fully elsewhere"
