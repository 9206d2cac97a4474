"""The evidence of bench/: which recipes it runs, and the row that a run becomes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adaptune.approaches import APPROACHES
from adaptune.recipe import load_recipe

SIZES = {"sst2": [6920, 872, 1821], "trec": [4906, 546, 500], "fewclue-eprstmt": [32, 32, 610]}
"""Rows of train, valid and test."""
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """bench("task_jobs"): a module of that folder."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module


def test_what_shrinks_a_recipe_are_settings_that_it_has(
    bench: Callable[[str], Any], data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAPTUNE_DATA", str(data("banking77").parent))
    jobs = list(bench("evidence").task_jobs())
    assert len({job.recipe for job in jobs}) == len(jobs) >= 12
    for job in jobs:
        recipe = load_recipe(ROOT / "recipes" / f"{job.recipe}.yaml", job.overrides)
        assert recipe.seed == 1
        assert recipe.data.test_rows in (None, 200, 300)


def test_a_run_is_a_row_with_its_score_its_baseline_and_the_model_before(bench: Callable[[str], Any]) -> None:
    run = {
        "task": "translate",
        "recipe": "multi30k-de-en",
        "overrides": ["method=lora", "seed=1", "data.train_rows=500"],
        "metric": "bleu",
        "interval": {"metric": "bleu", "level": 0.95, "low": 0.081, "high": 0.122},
        "test": {"bleu": 0.1},
        "baseline": {"copied_source": {"bleu": 0.013}, "unadapted": {"bleu": 0.02}},
        "gain": {"over": "unadapted", "metric": "bleu", "level": 0.95, "low": 0.06, "high": 0.1},
        "examples": {"train": 500, "valid": 40, "test": 200},
        "seconds": {"train": 239.6},
    }
    assert bench("task_table").task_rows({"multi30k-de-en/lora-seed1": run}) == [
        [
            "translate",
            "`multi30k-de-en`",
            "SmolLM2-135M",
            "bleu **10.0** (8.1 to 12.2)",
            "1.3 copied_source",
            "2.0; +8.0 (+6.0 to +10.0)",
            "500",
            "240",
            "data.train_rows=500",
        ]
    ]


def test_raw_text_is_told_with_its_perplexity_before_and_after(bench: Callable[[str], Any]) -> None:
    run = {
        "task": "pretrain",
        "recipe": "pretrain-stock",
        "overrides": [],
        "metric": "token_probability",
        "interval": {"low": 0.1, "high": 0.2},
        "test": {"token_probability": 0.15, "perplexity": 6.67},
        "baseline": {"unadapted": {"token_probability": 0.1, "perplexity": 10.0}},
        "gain": {"low": 0.04, "high": 0.06},
        "examples": {"train": 8000},
        "seconds": {"train": 100.0},
    }
    [row] = bench("task_table").task_rows({"pretrain-stock/lora-seed1": run})
    assert row[4:6] == ["-", "10.0; +5.0 (+4.0 to +6.0); perplexity 10.0, then 6.7"]
    assert row[-1] == "nothing"


def test_the_recipes_of_the_group_zero_load(
    bench: Callable[[str], Any], data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ADAPTUNE_DATA", str(data("clinc150").parent))
    runs = list(bench("zero_jobs").zero_runs())
    assert len({(run.recipe, run.name) for run in runs}) == len(runs) >= 19
    for run in runs:
        file = run.write(tmp_path, str(tmp_path))
        if run.approach["name"] in APPROACHES.names():
            recipe = load_recipe(file)
            assert (recipe.approach.name, recipe.method.name) == (run.approach["name"], run.method)
        parts = (tmp_path / f"{run.recipe}-{part}.jsonl" for part in ("train", "valid", "test"))
        sizes = [len(part.read_text(encoding="utf-8").splitlines()) for part in parts]
        assert sizes == SIZES.get(run.recipe, sizes)


def test_a_run_of_the_group_zero_is_a_row_with_what_it_learned_from(bench: Callable[[str], Any]) -> None:
    run = {
        "recipe": "sst2",
        "approach": "score",
        "method": "none",
        "metric": "accuracy",
        "overrides": ["data.test_rows=300"],
        "interval": {"low": 0.7, "high": 0.8},
        "test": {"accuracy": 0.75},
        "baseline": {"majority": {"accuracy": 0.5}},
        "examples": {"train": 64},
        "training": {"steps": 0},
        "put": {"template": "Review: {text}\nSentiment: {answer}"},
        "seconds": {"total": 61.2},
    }
    assert bench("zero_table").zero_rows({"sst2/score": run}) == [
        [
            "`sst2`",
            "SmolLM2-135M",
            "`score`",
            "`none`",
            "0",
            "**75.0** (70.0 to 80.0)",
            "50.0",
            "`Review: {text} / Sentiment: {answer}`",
            "61",
            "test_rows=300",
        ]
    ]


def _few(system: str, shots: int, right: str, seconds: float, draw: int = 1) -> dict[str, Any]:
    return {
        "set": "banking77",
        "system": system,
        "shots": shots,
        "draw": draw,
        "accuracy": right.count("1") / len(right),
        "right": right,
        "busy_seconds": seconds,
        "shrunk": "test rows",
    }


def test_few_rows_are_a_line_a_system(bench: Callable[[str], Any]) -> None:
    table = bench("few_table")
    ours = [_few("contrast", shots, "1" * shots + "0" * (20 - shots), 10) for shots in table.SHOTS]
    runs = [*ours, _few("contrast", 1, "1110" * 5, 20, draw=2), _few("setfit", 4, "10" * 10, 60)]
    _, names, rows = table.section(runs)
    assert names[2:7] == ("1 shot", "2 shots", "4 shots", "8 shots", "16 shots")
    assert rows == [
        ["banking77", "`contrast`", "40.0", "10.0", "20.0", "40.0", "80.0", "**38.0**", "12", "2"],
        ["banking77", "`setfit`", "-", "-", "50.0", "-", "-", "-", "60", "1"],
    ]


def test_few_rows_are_compared_on_rows_of_both_systems(bench: Callable[[str], Any]) -> None:
    table = bench("few_table")
    ours = [_few("contrast", 1, "1100", 10), _few("contrast", 1, "1111", 20, draw=2), _few("contrast", 4, "1111", 30)]
    theirs = [_few("setfit", 1, "1000", 60), _few("setfit", 4, "1000", 50), _few("setfit-1e-4", 4, "1110", 60)]
    _, names, rows, after = table.beside([*ours, *theirs])
    assert names[4:] == ("ours, %", "SetFit, %", "rates of SetFit", "difference", "seconds", "SetFit's", "share")
    # One row of four differs: the standard error is sqrt((1/4 x 3/4) x 4/3 / 4) = 0.25, half an interval 0.49.
    one = "+25.0 [-24.0, +74.0]"
    # Of both points together the rows' mean differences are 0, 1/2, 0, 1/2: sqrt(1/16 x 4/3 / 4) = 0.1443.
    assert rows == [
        ["banking77", "1", "1", "`contrast`", "50.0", "25.0", "2e-05", one, "10", "60", "0.17"],
        ["banking77", "4", "1", "`contrast`", "100.0", "75.0", "0.0001", one, "30", "60", "0.50"],
        ["all", "all", "1", "`contrast`", "75.0", "50.0", "0.0001, 2e-05", "+25.0 [-3.3, +53.3]", "20", "60", "0.33"],
    ]
    assert after.endswith("Shrunk: test rows.\n")


def test_entities_from_few_rows_are_a_line_a_system(bench: Callable[[str], Any]) -> None:
    runs = [
        {"system": system, "shots": 5, "rows": 28, "f1": f1, "seconds": seconds}
        for system, f1, seconds in (("prototype", 0.1, 8.0), ("prototype", 0.2, 10.0), ("lora", 0.12, 40.0))
    ]
    about, _, rows = bench("few_table").entities({"rows": {"valid_rows": 40, "test_rows": 400}, "runs": runs})
    assert "on 400\ntest rows" in about
    assert rows == [
        ["5", "`lora`", "28", "12.0", "**12.0**", "40"],
        ["5", "`prototype`", "28", "10.0, 20.0", "**15.0**", "9"],
    ]


def test_runs_with_few_rows_are_of_recipes_that_load(
    bench: Callable[[str], Any], data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ADAPTUNE_DATA", str(data("clinc150").parent))
    jobs = bench("few_jobs")
    files = jobs.write_sets("clinc150", tmp_path)
    assert '"oos"' not in Path(files["train"]).read_text()
    whole = list(jobs.few_jobs(tmp_path))
    assert len({job.file(tmp_path) for job in whole}) == len(whole) == 90
    for name, overrides in jobs.OURS.items():
        run = next(job for job in whole if job.system == name)
        content = {"task": "classify", "model": "a/model", "data": run.settings(files)}
        (tmp_path / "recipe.yaml").write_text(json.dumps(content))
        assert load_recipe(tmp_path / "recipe.yaml", overrides).data.shots == 1
