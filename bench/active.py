"""Active choice of rows to label beside random choice: test accuracy over labels on frozen features, one JSON a run.

    ADAPTUNE_DATA=FOLDER python bench/active.py --model FOLDER

Every run begins with the same random rows of its seed and labels a batch more at a time, chosen by
`adaptune.labels.choosing` from the answers of the head fitted so far. The trunk is passed once over each set; then only
heads are fitted, as `head_only` fits them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adaptune.bundle.answers import encoder_of
from adaptune.core.types import Row
from adaptune.engine.warm_start import fit
from adaptune.evaluate.vectors import looked_at
from adaptune.heads import HEADS
from adaptune.labels.choosing import choose, margins
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.tasks import TASKS
from peers.rows import TASKS as SETS

ROOT = Path(__file__).resolve().parent.parent
HUB = "sentence-transformers/all-MiniLM-L6-v2"
SEEDS = (1, 2, 3, 4, 5)
CHOICES = ("random", "uncertainty", "coverage", "both")
STRENGTH = 1e-4
"""L2 of the head, as approach contrast has it for few rows: no validation row is looked at."""
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Set:
    """A data set, and how many of its rows are labelled."""

    name: str
    labels: tuple[int, ...]
    """Those that the run begins with, then after each batch."""


ACTIVE_SETS = (
    Set("trec", (20, 40, 60, 80, 120, 160, 240)),
    Set("banking77", (77, 154, 231, 308, 385)),
    Set("clinc150", (150, 225, 300, 450, 600)),
)
MOST = {"train": 2000, "test": 800}
"""Rows that are looked at, drawn once for all runs."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A set as the trunk sees it."""

    pool: Floats
    """(R, D) of length 1."""
    labels: Integers
    """(R,)"""
    test: Floats
    expected: Integers
    classes: int


def read_set(name: str, data: Path) -> dict[str, list[tuple[str, str]]]:
    """Texts and labels of train and test, each training text once."""
    if name == "trec":
        folder = data / "trec-questions"
        files = {"train": "TREC.train.all", "test": "TREC.test.all"}
        lines = {part: (folder / file).read_text(encoding="latin-1").splitlines() for part, file in files.items()}
        found = {part: [(line[2:], line[0]) for line in of if line] for part, of in lines.items()}
    else:
        parts = SETS[name].read(data)
        found = {
            part: [(row.text, row.label) for row in parts[part] if row.label != "oos"] for part in ("train", "test")
        }
    found["train"] = list({text: (text, label) for text, label in found["train"]}.values())
    draw = np.random.default_rng(0)
    return {part: [of[place] for place in draw.permutation(len(of))[: MOST[part]]] for part, of in found.items()}


def see(name: str, data: Path, model: str) -> Seen:
    """One pass of the trunk over every row."""
    parts = read_set(name, data)
    task = TASKS.make({"name": "classify"})
    examples = {
        part: [
            task.example(Row(part, number, {"text": text, "label": label})) for number, (text, label) in enumerate(of)
        ]
        for part, of in parts.items()
    }
    labels = task.labels(examples["train"])
    backbone = load_backbone(ModelConfig(name=model))
    head = HEADS.make({"name": "classify"})
    assembly = Assembly(backbone, METHODS.make({"name": "none"}), head, labels, seed=1)
    vectors = {}
    for part, of in examples.items():
        print(f"  {name}: {len(of):,} rows of {part}", flush=True)
        found = np.zeros((len(of), backbone.hidden_size), dtype=np.float32)
        for looked in looked_at(assembly, encoder_of(assembly)(of), batch_tokens=None, answers=False):
            found[looked.rows] = looked.vectors.cpu().numpy()
        vectors[part] = found
    index = {part: np.array([labels.index(one.expected) for one in of]) for part, of in examples.items()}
    return Seen(vectors["train"], index["train"], vectors["test"], index["test"], len(labels))


def kept(name: str, data: Path, model: str, folder: Path | None) -> Seen:
    """The same, from a folder where an earlier run kept it."""
    file = None if folder is None else folder / f"{name}.npz"
    if file is not None and file.exists():
        with np.load(file) as found:
            return Seen(found["pool"], found["labels"], found["test"], found["expected"], int(found["classes"]))
    seen = see(name, data, model)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, **asdict(seen))
    return seen


def answers(seen: Seen, labelled: Integers, rows: Floats) -> Floats:
    """(R, C) probabilities by the head that the labelled rows give; a label that none of them has gets none."""
    known, targets = np.unique(seen.labels[labelled], return_inverse=True)
    found = np.zeros((len(rows), seen.classes), dtype=np.float32)
    if len(known) == 1:
        found[:, known] = 1.0
        return found
    features = torch.from_numpy(seen.pool[labelled])
    [(weight, bias)] = fit(features, torch.from_numpy(targets), len(known), strengths=(STRENGTH,), iterations=100)
    found[:, known] = torch.nn.functional.linear(torch.from_numpy(rows), weight, bias).softmax(dim=1).numpy()
    return found


def chosen(seen: Seen, choice: str, labelled: Integers, given: Floats, seed: int, *, count: int) -> Integers:
    """The next rows to label; `given`: the answers for the pool, and more."""
    free = np.setdiff1d(np.arange(len(seen.pool)), labelled)
    if choice == "random":
        return np.random.default_rng((seed, len(labelled))).permutation(free)[:count]
    unsure = None if choice == "coverage" else margins(given[free].astype(np.float64))
    vectors, known = seen.pool[free], seen.pool[labelled]
    picked = choose(count, by=choice, uncertainty=unsure, vectors=vectors, known=known, seed=seed)  # type: ignore[arg-type]
    return free[picked]


def measure(seen: Seen, of: Set, choice: str, seed: int) -> dict[str, Any]:
    """Test accuracy after every batch, and the area under it: its mean over the labels from first to last."""
    started = time.monotonic()
    labelled = np.random.default_rng(seed).permutation(len(seen.pool))[: of.labels[0]]
    accuracies = []
    for total, after in zip(of.labels, (*of.labels[1:], of.labels[-1]), strict=True):
        assert len(labelled) == total
        given = answers(seen, labelled, np.concatenate([seen.pool, seen.test]))
        right = given[len(seen.pool) :].argmax(axis=1) == seen.expected
        accuracies.append(round(float(right.mean()), 5))
        if after > total:
            labelled = np.concatenate([labelled, chosen(seen, choice, labelled, given, seed, count=after - total)])
    area = float(np.trapezoid(accuracies, of.labels)) / (of.labels[-1] - of.labels[0])
    return {
        "set": of.name,
        "choice": choice,
        "seed": seed,
        "labels": list(of.labels),
        "accuracy": accuracies,
        "area": area,
        "classes_labelled": len(np.unique(seen.labels[labelled])),
        "pool": len(seen.pool),
        "test": len(seen.test),
        "seconds": time.monotonic() - started,
    }


def jobs(results: Path) -> Iterator[tuple[Set, str, int, Path]]:
    """Every run that is not there yet: all choices of a seed together, so that what is cut short is still paired."""
    for of in ACTIVE_SETS:
        for seed in SEEDS:
            for choice in CHOICES:
                if not (file := results / of.name / f"{choice}-seed{seed}.json").exists():
                    yield of, choice, seed, file


def main() -> None:
    """The runs that are missing, within the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=HUB, help="all-MiniLM-L6-v2, or its folder")
    parser.add_argument("--only", metavar="SET", choices=[of.name for of in ACTIVE_SETS], help="the runs of one set")
    parser.add_argument("--features", type=Path, help="a folder that keeps what the trunk gives, for later runs")
    parser.add_argument("--budget", type=float, default=10, help="minutes (default: 10)")
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * options.budget
    data, seen, left = Path(os.environ["ADAPTUNE_DATA"]), dict[str, Seen](), 0
    for of, choice, seed, file in jobs(ROOT / "results" / "active"):
        if options.only not in (None, of.name):
            continue
        if time.monotonic() > deadline:
            left += 1
            continue
        if of.name not in seen:
            seen = {of.name: kept(of.name, data, options.model, options.features)}
        found = measure(seen[of.name], of, choice, seed)
        print(f"{of.name} {choice} seed {seed}: area {found['area']:.4f}, {found['seconds']:.0f} s", flush=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found) + "\n", encoding="utf-8")
    print(f"{left} runs left for another time" if left else "every run is there")


if __name__ == "__main__":
    main()
