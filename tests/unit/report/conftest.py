"""Folders of runs and of a comparison, as they are written, with figures that a test can count by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from adaptune.core.run_folder import RunDir

HTML = "<script>window.hit=1</script><img src=x onerror=window.hit=2>"
"""What a text may hold."""
Folder = Callable[..., Path]

INTERVAL = {"metric": "accuracy", "level": 0.95, "low": 0.8, "high": 0.95}
RELIABILITY = [{"items": 10, "probability": 0.6, "right": 0.5}, {"items": 30, "probability": 0.9, "right": 0.95}]
MEASURED = {"ece": 0.03, "ece_before": 0.08, "brier": 0.2, "brier_before": 0.25}
REPORT: Mapping[str, Any] = {
    "task": "classify",
    "approach": "finetune",
    "method": "lora",
    "model": "org/tiny",
    "metric": "accuracy",
    "valid": {"accuracy": 0.925, "macro_f1": 0.9},
    "test": {"accuracy": 0.9, "macro_f1": 0.88},
    "interval": INTERVAL,
    "gain": None,
    "gains": {
        "majority": {**INTERVAL, "low": 0.2, "high": 0.5},
        "tfidf_logistic_regression": {**INTERVAL, "low": 0.02, "high": 0.18},
    },
    "reliability": {"before": RELIABILITY, "after": RELIABILITY},
    "calibration": {"temperature": 1.25, "abstain": None, "scope": None, "measured": {"test": MEASURED}},
    "baseline": {"majority": {"accuracy": 0.55}, "tfidf_logistic_regression": {"accuracy": 0.8}},
    "per_class": {
        "good": {"precision": 0.9, "recall": 0.9, "f1": 0.9, "support": 20},
        HTML: {"precision": 0.9, "recall": 0.9, "f1": 0.9, "support": 20},
    },
    "confusion": {"classes": ["good", HTML], "counts": [[18, 2], [2, 18]]},
    "parameters": {"trained": 1234, "total": 100_000},
    "training": {"best_step": 4, "steps": 6, "tokens": 600, "ended": "all steps done"},
    "examples": {"train": 100, "valid": 40, "test": 40},
    "seed": 1,
    "seconds": {"data": 1.0, "train": 90.0, "evaluate": 2.0, "total": 93.0},
    "peak_memory_mb": 512.0,
}
FINDINGS = {
    "rows": {"train": 100, "valid": 40, "test": 40},
    "counts": {"train": {"good": 60, HTML: 40}, "test": {"good": 20, HTML: 20}},
    "findings": [{"level": "warning", "text": f"something odd {HTML}", "rows": ["rows.csv, row 3"]}],
}
RECIPE = "task:\n  name: classify\nmodel:\n  name: org/tiny\nmethod:\n  name: lora\n  rank: 4\nseed: 1\n"


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    """run(test={}): the folder of a finished run; what is given replaces parts of its report."""

    def make(name: str = "reviews", *, recipe: str = RECIPE, errors: Sequence[Any] = (), **changes: Any) -> Path:
        folder = RunDir(tmp_path / name)
        environment = {"python": "3.11", "libraries": {"torch": "2"}, "run": "f", "data": {}, "findings": FINDINGS}
        folder.begin(recipe, environment, overwrite=True)
        folder.write_rejected([])
        for step in range(1, 7):
            record = {"step": step, "epoch": step / 3, "loss": 1 / step, "learning_rate": 0.1, "norm": 1.0}
            folder.log_step(record | {"tokens": 100, "seconds": 15.0})
            if step % 2 == 0:
                score = {"accuracy": 0.8 + step / 100, "macro_f1": 0.8}
                folder.log_scores({"step": step, "epoch": step / 3, "seconds": 15.0 * step, "gained": True} | score)
        rows = [("good" if row % 2 else HTML, row % 10 != 0, row) for row in range(40)]
        folder.write_predictions(
            {
                "row": row,
                "source": "t.csv",
                "characters": 10 + row,
                "expected": label,
                "predicted": label if ok else "x",
            }
            for label, ok, row in rows
        )
        folder.write_counts([[int(ok), 1] for _, ok, _ in rows])
        error = {"row": 7, "source": "/srv/someone/t.csv", "given": {"text": f"a text {HTML}"}}
        default = [error | {"expected": "good", "predicted": HTML, "probability": 0.99}]
        folder.write_errors(errors or default)
        with folder.new_bundle() as bundle:
            (bundle / "manifest.json").write_text(json.dumps({"created": "2026-01-01T00:00:00+00:00"}))
        folder.write_report({**REPORT, **changes})
        return folder.path

    return make


def _row(name: str, status: str, score: float | None, **more: Any) -> dict[str, Any]:
    curve = [{"step": step, "epoch": 1.0, "seconds": 9.0 * step, "score": 0.8 + step / 100} for step in (0, 2, 4)]
    ran = {"seed": 1, "folder": f"runs/{name}/seed-1", "finished": score is not None, "steps": 4, "seconds": 40.0}
    interval = None if score is None else {"low": score - 0.05, "high": score + 0.05}
    return {
        "name": name,
        "sections": {"method": {"name": name, "rank": 4}},
        "status": status,
        "error": None,
        "rounds": 1,
        "valid": 0.84,
        "score": score,
        "interval": interval,
        "best_in": None if score is None else 0.5,
        "spread": None,
        "trained": 1000,
        "total": 100_000,
        "bytes": 50_000,
        "seconds": 40.0,
        "runs": [{**ran, "valid": 0.84, "test": {} if score is None else {"accuracy": score}, "curve": curve}],
    } | more


@pytest.fixture
def comparison(tmp_path: Path, run: Folder) -> Folder:
    """comparison(): the folder of a finished comparison; what is given replaces parts of it."""

    def make(**changes: Any) -> Path:
        folder = tmp_path / "reviews-compare"
        for name in ("lora", "bitfit", "adapter"):
            run(f"reviews-compare/runs/{name}/seed-1", baseline={}, gains={})
        plan = {"steps": 4, "of_steps": 8, "every": 2, "rounds": [2], "finalists": 2, "seeds": 1}
        ends = {"low": -0.02, "high": 0.06}
        found = {
            "format": 1,
            "adaptune": "0.1.0",
            "task": "classify",
            "model": "org/tiny",
            "metric": "accuracy",
            "watched": "accuracy",
            "level": 0.95,
            "rows": {"train": 100, "valid": 40, "test": 40},
            "budget": 600.0,
            "seconds": 300.0,
            "plan": plan,
            "notes": ["2 seeds became 1"],
            "candidates": [
                _row("lora", "compared", 0.9),
                _row("bitfit", "compared", 0.88, trained=90),
                _row("adapter", "stopped", None),
                _row(
                    "prefix", "refused", None, error=f"does not fit {HTML}\nat all", runs=[], valid=None, trained=None
                ),
            ],
            "baselines": [
                {
                    "name": "majority",
                    "score": 0.5,
                    "scores": {"accuracy": 0.5},
                    "interval": {"low": 0.4, "high": 0.6},
                    "best_in": 0.0,
                }
            ],
            "differences": [
                {"first": "lora", "second": "bitfit", "difference": 0.02, "interval": ends, "distinct": False},
                {
                    "first": "majority",
                    "second": "lora",
                    "difference": -0.4,
                    "interval": {"low": -0.5, "high": -0.3},
                    "distinct": True,
                },
            ],
            "verdict": {
                "use": "bitfit",
                "best": "lora",
                "alike": ["bitfit", "lora"],
                "worth_it": True,
                "english": ["Use bitfit.", "It is cheapest."],
                "chinese": ["使用 bitfit。", "它最便宜。"],
            },
            "bundle": "bundle",
            "fingerprint": "f",
        }
        folder.mkdir(exist_ok=True)
        (folder / "plan.json").write_text(json.dumps({"fingerprint": "f", "seeds": 1, "plan": plan, "notes": []}))
        (folder / "comparison.json").write_text(json.dumps(found | changes))
        return folder

    return make
