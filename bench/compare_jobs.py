"""What the group `compare` of bench/evidence.py runs: a comparison a data set, a plain run beside it, and the truth.

Planned for an hour of two cores, in this order: every plain run, every comparison within 2.6 times the seconds of that,
then all candidates run fully, one seed after another, as far as the time goes. WNUT17's full runs are those of
`make results-methods`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CANDIDATES = ("lora", "adapter", "prefix", "bitfit", "full", "head_only", "ia3", "top_layers")
SEEDS = 3


@dataclass(frozen=True, slots=True)
class Compared:
    """A data set that candidates are compared on."""

    recipe: str
    model: str
    """The folder of the base beside the others, `e5`."""
    shrunk_by: tuple[str, ...]

    @property
    def overrides(self) -> tuple[str, ...]:
        """Of every run: seeds change no split."""
        return (*self.shrunk_by, "data.split_seed=1")

    def command(self, verb: str, models: Path | None) -> list[str]:
        """Of adaptune, with the recipe and its settings."""
        model = (f"model.name={models / self.model}",) if models else ()
        recipe = str(ROOT / "recipes" / f"{self.recipe}.yaml")
        return [sys.executable, "-m", "adaptune", verb, recipe, *self.overrides, *model]


SHORT = ("data.train_rows=600", "data.valid_rows=200", "data.test_rows=400", "model.max_length=64", "train.epochs=3")
SETS = (
    Compared("banking77", "minilm", ("data.train_rows=2000",)),
    Compared("wnut17", "minilm", ()),
    Compared("chnsenticorp", "e5", SHORT),
)
TIMES = 2.6
"""The budget of a comparison in plain runs: it may last three, and ends what it is at when its budget is spent."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of all candidates."""

    of: Compared
    recipe: str

    def file(self, results: Path) -> Path:
        """Where it is kept."""
        return results / self.recipe / "comparison.json"

    def run(self, out: Path, models: Path | None) -> None:
        """In a process and a folder of its own; the whole comparison.json is kept, on one line."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "comparison"
            command = [*self.of.command("compare", models), "--candidates", ",".join(CANDIDATES)]
            plain = json.loads(out.with_name("plain.json").read_bytes())["seconds"]
            command += ["--seeds", str(SEEDS), "--budget", f"{TIMES * plain:.0f}s", "--out", str(folder)]
            if not subprocess.run(command, cwd=ROOT, check=False).returncode:
                found = json.loads((folder / "comparison.json").read_bytes())
                found["model"] = self.of.model  # wherever its folder lies
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_text(json.dumps(found, ensure_ascii=False) + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Plain:
    """Five epochs of transformers' Trainer with peft, bench/plain_lora.py, on the same rows."""

    of: Compared
    recipe: str

    def file(self, results: Path) -> Path:
        """Where its seconds are kept."""
        return results / self.recipe / "plain.json"

    def run(self, out: Path, models: Path | None) -> None:
        """In a process of its own."""
        hub = {"minilm": "sentence-transformers/all-MiniLM-L6-v2", "e5": "intfloat/multilingual-e5-small"}
        model = str(models / self.of.model) if models else hub[self.of.model]
        command = [sys.executable, str(ROOT / "bench" / "plain_lora.py"), f"recipes/{self.recipe}.yaml"]
        subprocess.run([*command, *self.of.overrides, "--model", model, "--out", str(out)], cwd=ROOT, check=False)


def races() -> Iterator[Comparison | Plain]:
    """What comparisons are held against in time, then these."""
    yield from (Plain(one, one.recipe) for one in SETS)
    yield from (Comparison(one, one.recipe) for one in SETS)


def truths() -> Iterator[tuple[Compared, str, int]]:
    """Every candidate with every seed, all candidates with one seed first."""
    for seed in range(1, SEEDS + 1):
        for one in (SETS[0], SETS[2]):
            for method in CANDIDATES:
                yield one, method, seed


def shrunk() -> str:
    """What the group leaves out, for people."""
    lines = [f"{one.recipe}: {', '.join(one.shrunk_by) or 'all rows'}" for one in SETS]
    runs = len(CANDIDATES) * SEEDS * 2
    return "\n".join([*lines, f"of {runs} full runs as many as the budget lets, one seed of all candidates first"])
