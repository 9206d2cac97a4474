"""Few-shot relations in a new domain: 5-way 1-shot and 5-shot episodes of FewRel 2.0's PubMed rows, by nearest means.

    ADAPTUNE_DATA=FOLDER python bench/episodes.py --model FOLDER

Nothing is trained: vectors are those that head `relate` reads of marked entities, from the model as it comes. Prints,
and keeps one JSON in results/episodes.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import torch

from adaptune.bundle.answers import encoder_of
from adaptune.core.types import Example, Row
from adaptune.data.batches import Budget, by_rows, collate
from adaptune.evaluate.episodes import episodes
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
WAYS, QUERIES, COUNT, SEEDS = 5, 5, 1000, (1, 2, 3)
READS: dict[str, dict[str, Any]] = {
    "entities": {"context": False},
    "entities and text": {"context": True},
}


def rows(data: Path) -> list[Example]:
    """Every row with its relation."""
    found = json.loads((data / "fewrel-pubmed" / "val_pubmed.json").read_text(encoding="utf-8"))
    task = TASKS.make({"name": "relate"})
    values = [
        {"tokens": one["tokens"], "head": one["h"], "tail": one["t"], "relation": relation}
        for relation, of in found.items()
        for one in of
    ]
    return [task.example(Row("val_pubmed.json", number, value)) for number, value in enumerate(values, start=1)]


def vectors(model: str, examples: list[Example], settings: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, F), (N,)"""
    labels = TASKS.make({"name": "relate"}).labels(examples)
    head = HEADS.make({"name": "relate", **settings})
    backbone = load_backbone(ModelConfig(name=model))
    assembly = Assembly(backbone, METHODS.make({"name": "none"}), head, labels, seed=1).eval()
    encoded = encoder_of(assembly)(examples)
    features: dict[int, torch.Tensor] = {}
    targets: dict[int, int] = {}
    for indices in by_rows(encoded, Budget(tokens=4096, rows=256)):
        batch = collate([encoded[index] for index in indices], backbone.tokenizer.pad_token_id)
        found = assembly.features(batch)
        assert found is not None
        assert batch.labels is not None
        features |= dict(zip(batch.rows.tolist(), found, strict=True))
        targets |= dict(zip(batch.rows.tolist(), batch.labels.tolist(), strict=True))
    order = sorted(features)
    return torch.stack([features[row] for row in order]), torch.tensor([targets[row] for row in order])


def main() -> None:
    """Both numbers of shots, by what is read, with three seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2", help="a hub id or a folder")
    model, examples = parser.parse_args().model, rows(Path(os.environ["ADAPTUNE_DATA"]))
    results = []
    for name, settings in READS.items():
        found, targets = vectors(model, examples, settings)
        for shots in (1, 5):
            for seed in SEEDS:
                of = {"ways": WAYS, "shots": shots, "queries": QUERIES, "count": COUNT, "seed": seed}
                done = episodes(found.numpy(), targets.numpy(), **of)
                low, high = done.interval()
                print(f"{name}, {WAYS}-way {shots}-shot, seed {seed}: {done.accuracy:.4f} ({low:.4f} to {high:.4f})")
                results.append({"reads": name, **of, "accuracy": done.accuracy, "low": low, "high": high})
    out = ROOT / "results" / "episodes" / "fewrel-pubmed.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
