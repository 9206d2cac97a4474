"""The section of docs/bench.md on techniques of speed, each measured alone, from bench/techniques.py. Runs nothing."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

from tables import table

PARTS = ("masks", "steps", "evaluation", "start", "cache", "depth", "precision")


def techniques(results: Path) -> str:
    """Markdown; nothing where nothing was measured."""
    files = [results / "techniques" / f"{part}.json" for part in PARTS]
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
    if not found:
        return ""
    first, load = found[0], max(one["load"] for one in found)
    about = (
        f"By `ADAPTUNE_DATA=FOLDER make bench-techniques`: lora of rank 8 on rows of BANKING77 and {first['model']}, "
        "500 other rows for validation, one thread. Short work took turns, and medians of times and of each round's "
        "ratio are shown; a training of five passes was made once each way, so that its seconds and score are those of "
        f"one run. Seconds are those on the processor ({first['machine']['processor']}), warm start and evaluations "
        f"included; the load average was {load:.1f} on {first['machine']['cores']} cores, so that ratios are worth "
        "more than seconds. A ratio below 1 is time saved."
    )
    names = ["technique", "unit", "without", "with", "ratio", "validation accuracy, without and with"]
    rows = [_row(figure) for one in found for figure in one["figures"]]
    return f"## Techniques, each alone\n\n{about}\n\n{table(names, rows)}"


def _row(figure: dict[str, Any]) -> list[str]:
    scores = " and ".join(f"{100 * score:.1f}" for score in figure["scores"]) if "scores" in figure else "-"
    times = [f"{median(figure[side]):.3g}" for side in ("without", "with")]
    return [figure["name"], figure["unit"], *times, f"{figure['ratio']:.2f}", scores]
