"""How many wrong labels `adaptune doctor --labels` finds: planted ones, among real rows.

    ADAPTUNE_DATA=FOLDER python bench/mistrusted.py --models FOLDER

Of each set one label in twenty becomes another one, drawn at random by a seed. Found are the planted labels among those
that are listed; beside it all labels that are not the most probable one, which is what one would list without confident
learning. Keeps one JSON a run in results/mistrusted; those that are there are left as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adaptune.core.types import Example, Labels, Row
from adaptune.data.load import draw
from adaptune.data.split import same_text
from adaptune.labels.folds import deal, out_of_fold
from adaptune.labels.frozen import Items, frozen, read_items
from adaptune.labels.mistrust import FOLDS, doubted
from adaptune.recipe import load_recipe
from adaptune.tasks import TASKS
from peers.rows import TASKS as SETS

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "mistrusted"
SHARE, SEEDS = 0.05, (1, 2, 3)
MOST = 3000
"""Rows of a set, drawn with every label in its share."""

Pairs = list[tuple[str, str]]


def main() -> None:
    """Every run that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="folder with minilm/ and e5/; else the models' names are looked up")
    options = parser.parse_args()
    for name, planted in PLANTED.items():
        files = {seed: RESULTS / name / f"seed{seed}.json" for seed in SEEDS}
        if missing := [seed for seed in SEEDS if not files[seed].exists()]:
            for seed, found in runs(name, planted, missing, options.models):
                files[seed].parent.mkdir(parents=True, exist_ok=True)
                files[seed].write_text(json.dumps(found) + "\n", encoding="utf-8")
                print(json.dumps(found), flush=True)


@dataclass(frozen=True, slots=True)
class Planted:
    """A data set, and the model that reads it."""

    rows: Callable[[Path], Pairs]
    """Texts and labels."""
    model: str
    hub: str


def runs(name: str, of: Planted, seeds: Sequence[int], models: Path | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """One run a seed; the texts are read once."""
    task = TASKS.make({"name": "classify"})
    rows = [
        task.example(Row(name, number, {"text": text, "label": label}))
        for number, (text, label) in enumerate(of.rows(Path(os.environ["ADAPTUNE_DATA"])), start=1)
    ]
    examples = list(draw(rows, task, MOST, 1))
    labels = task.labels(examples)
    started = time.monotonic()
    items = read_items(frozen(_recipe(str(models / of.model) if models else of.hub), task, labels), examples)
    reading = time.monotonic() - started
    for seed in seeds:
        head = {"set": name, "model": of.model, "seed": seed, "folds": FOLDS, "share": SHARE}
        yield seed, head | run(examples, items, labels, seed) | {"reading_seconds": round(reading, 1)}


def run(examples: Sequence[Example], items: Items, labels: Labels, seed: int) -> dict[str, Any]:
    """What is found of wrong labels that one seed plants."""
    true = items.targets.numpy()
    rng = np.random.default_rng(seed)
    wrong = np.sort(rng.choice(len(true), size=round(SHARE * len(true)), replace=False))
    given = true.copy()
    given[wrong] = (true[wrong] + rng.integers(1, len(labels), size=len(wrong))) % len(labels)
    started = time.monotonic()
    fold_of = deal([labels.names[label] for label in given], [same_text(one) for one in examples], FOLDS, seed)
    shares = out_of_fold(replace(items, targets=torch.from_numpy(given)), fold_of, len(labels), FOLDS)
    listed = doubted(replace(items, targets=torch.from_numpy(given)), shares)
    seconds = time.monotonic() - started
    naive = np.flatnonzero(shares.argmax(axis=1) != given)
    return {
        "rows": len(true),
        "labels": len(labels),
        "accuracy": round(float((shares.argmax(axis=1) == true).mean()), 4),
        "planted": len(wrong),
        "listed": len(listed),
        "hits": len(set(listed) & set(wrong.tolist())),
        "hits_of_first": len(set(listed[: len(wrong)]) & set(wrong.tolist())),
        "contradicted": len(naive),
        "contradicted_hits": len(set(naive.tolist()) & set(wrong.tolist())),
        "seconds": round(seconds, 1),
    }


def _recipe(model: str) -> Any:
    """A recipe that names the model; its data are not read."""
    file = RESULTS / "recipe.yaml"
    RESULTS.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"task": "classify", "model": model, "data": {"train": str(file)}}), encoding="utf-8")
    try:
        return load_recipe(file)
    finally:
        file.unlink()


def _trec(data: Path) -> Pairs:
    lines = (data / "trec-questions" / "TREC.train.all").read_text(encoding="latin-1").splitlines()
    return [(line[2:], line[0]) for line in lines if line]


def _of(name: str) -> Callable[[Path], Pairs]:
    return lambda data: [(row.text, row.label) for row in SETS[name].read(data)["train"]]


def _tnews(data: Path) -> Pairs:
    names = ("train_few_all", "dev_few_all", "test_public")
    files = [(data / "fewclue" / "tnews" / f"{name}.json").read_text(encoding="utf-8") for name in names]
    rows = [json.loads(line) for file in files for line in file.splitlines()]
    return [(row["sentence"], row["label_desc"]) for row in rows]


MINILM, E5 = "sentence-transformers/all-MiniLM-L6-v2", "intfloat/multilingual-e5-small"
PLANTED = {
    "trec": Planted(_trec, "minilm", MINILM),
    "sst2": Planted(_of("sst2"), "minilm", MINILM),
    "banking77": Planted(_of("banking77"), "minilm", MINILM),
    "tnews": Planted(_tnews, "e5", E5),
}


if __name__ == "__main__":
    main()
