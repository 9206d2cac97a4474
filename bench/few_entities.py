"""Entities of WNUT17 from few rows: nearest means, under one covariance and by cosine, beside LoRA on the same rows.

    ADAPTUNE_DATA=FOLDER python bench/few_entities.py --model FOLDER

`data.shots` and `data.draw` choose the rows; the first validation rows choose thresholds and the best epoch. Prints,
and keeps one JSON in results/entities.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from adaptune.core.backbone import Backbone
from adaptune.core.log import silence
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.recipe import load_recipe
from adaptune.run import cook

ROOT = Path(__file__).resolve().parent.parent
SHOTS, DRAWS = (5, 10), (1, 2, 3)
ROWS = {"valid_rows": 40, "test_rows": 400}
FILES = {"train": "wnut17train.conll", "valid": "emerging.dev.conll", "test": "emerging.test.annotated"}
SYSTEMS: dict[str, dict[str, Any]] = {
    "prototype": {"approach": {"name": "prototype"}},
    "prototype-cosine": {"approach": {"name": "prototype", "distance": "cosine"}},
    "lora": {"method": "lora", "train": {"epochs": 15}},
}
"""Where time runs out, the last are missing."""


def settings() -> Iterator[tuple[str, int, int]]:
    """System, shots, draw."""
    for system in SYSTEMS:
        for draw in DRAWS:
            for shots in SHOTS:
                yield system, shots, draw


def run(data: Path, base: Backbone, system: str, shots: int, draw: int) -> dict[str, Any]:
    """One run of a recipe on the loaded base."""
    files = {part: str(data / "wnut17" / file) for part, file in FILES.items()}
    with tempfile.TemporaryDirectory() as name:
        recipe = Path(name) / "recipe.yaml"
        content = {
            "task": "tag",
            "data": {**files, **ROWS, "shots": shots, "draw": draw},
            "model": base.name,
            "evaluate": {"baselines": False, "samples": 200},
            "out": str(Path(name) / "run"),
            **SYSTEMS[system],
        }
        recipe.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
        started = time.monotonic()
        report = cook(load_recipe(recipe), backbone=base).report
    scores = {metric: report["test"][metric] for metric in ("f1", "precision", "recall")}
    about = {"system": system, "shots": shots, "draw": draw, "rows": report["examples"]["train"]}
    return about | scores | {"valid_f1": report["valid"]["f1"], "seconds": time.monotonic() - started}


def table(runs: list[dict[str, Any]]) -> Iterator[str]:
    """Means over draws."""
    for shots in sorted({one["shots"] for one in runs}):
        for system in dict.fromkeys(one["system"] for one in runs if one["shots"] == shots):
            found = [one["f1"] for one in runs if (one["system"], one["shots"]) == (system, shots)]
            spread = f" +- {100 * stdev(found):.1f}" if len(found) > 1 else ""
            yield f"{shots:>3} shots  {system:<12} F1 {100 * fmean(found):5.1f}{spread} over {len(found)} draws"


def main() -> None:
    """Every run, one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--budget", type=float, default=60, help="minutes after which no run is started")
    options = parser.parse_args()
    silence()
    base = load_backbone(ModelConfig(name=options.model))
    out = ROOT / "results" / "entities" / "wnut17.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    runs: list[dict[str, Any]] = []
    deadline = time.monotonic() + 60 * options.budget
    for system, shots, draw in settings():
        if time.monotonic() > deadline:
            break
        runs.append(run(Path(os.environ["ADAPTUNE_DATA"]), base, system, shots, draw))
        print(json.dumps(runs[-1]), flush=True)
        out.write_text(json.dumps({"set": "wnut17", "rows": ROWS, "runs": runs}) + "\n", encoding="utf-8")
    print("\n".join(table(runs)))


if __name__ == "__main__":
    main()
