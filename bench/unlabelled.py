"""What rows without labels add to few with labels: self-training and distillation on TREC, by `head_only`.

    ADAPTUNE_DATA=FOLDER python bench/unlabelled.py --models FOLDER

Each draw takes a few rows of each label to learn from. The others are the same for all draws: those that decide on
validation, others without labels, and those that a teacher of the same base has learned from. Keeps one JSON a
run in results/unlabelled; those that are there are left as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import adaptune
from adaptune.bundle.load import Bundle, load_bundle
from adaptune.core.log import silence
from adaptune.core.run_folder import read_json_lines
from adaptune.labels.distil import distil
from adaptune.labels.selftrain import Asked, selftrain
from adaptune.prepare import prepare
from adaptune.recipe import Recipe, load_recipe

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "unlabelled" / "trec"
DRAWS, SHOTS, VALID, POOL, TAUGHT, ROUNDS = (1, 2, 3), 8, 100, 500, 2000, 3
METHOD = "head_only"
HUB = "sentence-transformers/all-MiniLM-L6-v2"
WAYS = ("labelled rows alone", "selftrain, confidence 0.9", "distil, T = 2", "selftrain, confidence 0.5")

PARTS = ("train", "valid", "test")

Rows = list[dict[str, str]]


def main() -> None:
    """Every run that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="folder with minilm/; else the model's name is looked up")
    models: Path | None = parser.parse_args().models
    silence()
    files = {(draw, way): RESULTS / f"draw{draw}-{place}.json" for draw in DRAWS for place, way in enumerate(WAYS)}
    missing = [key for key, file in files.items() if not file.exists()]
    with tempfile.TemporaryDirectory() as name:
        for key, found in runs(missing, Path(name), models) if missing else ():
            files[key].parent.mkdir(parents=True, exist_ok=True)
            files[key].write_text(json.dumps(found) + "\n", encoding="utf-8")
            print(json.dumps(found), flush=True)


def parts(draws: Sequence[int]) -> dict[str, Rows]:
    """Rows by what they are for; those to learn from by their draw. No text stands in two parts, draws aside."""
    folder = Path(os.environ["ADAPTUNE_DATA"]) / "trec-questions"
    read = {}
    for name in ("train", "test"):
        lines = (folder / f"TREC.{name}.all").read_text(encoding="iso-8859-1").splitlines()
        read[name] = [{"text": line[2:], "label": line[0]} for line in lines if line]
    tested = {row["text"] for row in read["test"]}
    rows = [row for row in {row["text"]: row for row in read["train"]}.values() if row["text"] not in tested]
    random.Random(0).shuffle(rows)
    ends = (0, VALID, VALID + POOL, VALID + POOL + TAUGHT, len(rows))
    valid, pool, teacher, rest = (rows[start:stop] for start, stop in pairwise(ends))
    few = {str(draw): _few(rest, draw) for draw in draws}
    return {"valid": valid, "pool": pool, "teacher": teacher, "test": read["test"], **few}


def _few(rows: Rows, draw: int) -> Rows:
    """So many shots of each label."""
    seen: Counter[str] = Counter()
    found = []
    for row in random.Random(draw).sample(rows, len(rows)):
        seen[row["label"]] += 1
        if seen[row["label"]] <= SHOTS:
            found.append(row)
    return found


def runs(
    keys: Sequence[tuple[int, str]], folder: Path, models: Path | None
) -> Iterator[tuple[tuple[int, str], dict[str, Any]]]:
    """The runs of some draws in some ways."""
    rows = parts(sorted({draw for draw, _ in keys}))
    for name, some in rows.items():
        lines = [{"text": row["text"]} if name == "pool" else row for row in some]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    model = str(models / "minilm") if models else HUB
    teacher = adaptune.train(_recipe(folder, "teacher", model))
    about = {
        "shots": SHOTS,
        "pool": POOL,
        "method": METHOD,
        "valid": VALID,
        "test": len(rows["test"]),
        "rounds": ROUNDS,
        "teacher": f"the same on {TAUGHT:,} other labelled rows",
        "teacher_accuracy": teacher.report["test"]["accuracy"],
    }
    for draw, way in keys:
        student = load_recipe(_recipe(folder, str(draw), model))
        own = student.model_copy(update={"out": folder / f"{draw}-{way.replace(' ', '-')}"})
        yield (draw, way), {"way": way, "draw": draw, **about, **_run(way, own, folder, teacher.bundle, rows["pool"])}


def _run(way: str, recipe: Recipe, folder: Path, teacher: Path, pool: Rows) -> dict[str, Any]:
    """One way's figures."""
    kind, _, number = way.partition(", ")
    file, prepared, true = str(folder / "pool.jsonl"), prepare(recipe), [row["label"] for row in pool]
    if kind == "selftrain":
        asked = Asked(unlabelled=file, rounds=ROUNDS, confidence=float(number.split()[-1]))
        found, run = selftrain(recipe, prepared, asked)
        best = found.best.number
        added = list(read_json_lines(recipe.out / f"round-{best}.jsonl")) if best else []
        right = [one["label"] == true[one["place"]] for one in added]
        said = {
            "best": best,
            "learned": len(added),
            "right": sum(right) / len(right) if right else None,
            "valid_by_round": [one.score for one in found.rounds],
        }
    elif kind == "distil":

        def teach() -> Bundle:
            return load_bundle(teacher)

        for answered in folder.glob("*-teacher-*.jsonl"):  # of another draw: the same answers
            shutil.copy(answered, recipe.out.with_name(f"{recipe.out.name}-teacher-{answered.stem[-8:]}.jsonl"))
            break
        run = distil(teach, recipe, prepared, file, temperature=float(number.split()[-1]))
        [answers] = folder.glob(f"{recipe.out.name}-teacher-*.jsonl")
        best_of = [max(one["probabilities"], key=one["probabilities"].get) for one in read_json_lines(answers)]
        right = [given == wanted for given, wanted in zip(best_of, true, strict=True)]
        said = {"learned": len(right), "right": sum(right) / len(right)}
    else:
        run, said = adaptune.train(_saved(recipe, folder)), {}
    return said | {"accuracy": run.report["test"]["accuracy"], "valid_accuracy": run.report["valid"]["accuracy"]}


def _saved(recipe: Recipe, folder: Path) -> Path:
    file = folder / "alone.yaml"
    file.write_text(recipe.as_yaml(), encoding="utf-8")
    return file


def _recipe(folder: Path, train: str, model: str) -> Path:
    """A recipe in the folder; the head ends with its warm start, which no step of it improves."""
    content = {
        "task": "classify",
        "data": {part: str(folder / f"{name}.jsonl") for part, name in zip(PARTS, (train, *PARTS[1:]), strict=True)},
        "model": model,
        "method": METHOD,
        "train": {"epochs": 0},
        "evaluate": {"baselines": False},
        "out": str(folder / f"run-{train}"),
    }
    file = folder / f"{train}.yaml"
    file.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    return file


if __name__ == "__main__":
    main()
