"""Writes docs/results.md from the JSON of finished runs; runs nothing.

python bench/tables.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from active_table import section as active
from adaptune.core.task import Task
from adaptune.evaluate.intervals import difference_interval
from adaptune.methods import METHODS
from adaptune.tasks import TASKS
from compare_jobs import CANDIDATES
from compare_table import RACE_NAMES, RACES, STATISTICS_NAMES, about_statistics, race_rows, statistics_rows, verdicts
from few_table import beside as few_beside
from few_table import entities, relations
from few_table import section as few
from label_table import (
    MISTRUSTED_NAMES,
    UNLABELLED_NAMES,
    about_mistrusted,
    about_unlabelled,
    mistrusted_rows,
    unlabelled_rows,
)
from serving_table import faults_section
from serving_table import section as serving
from task_table import ABOUT, NAMES, below_baseline, task_rows
from zero_table import ABOUT as ZERO
from zero_table import NAMES as ZERO_NAMES
from zero_table import zero_rows

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
HEAD = """# Results

Figures of finished runs, one JSON each under `results/`; this page is made from them by `python bench/tables.py`.
To make them again: `ADAPTUNE_DATA=FOLDER make results-main results-methods results-tasks` (finished runs are skipped).
Test rows were scored once a run, with the weights that were best on validation rows. Scores are percent. Seconds are of
training (warm start and evaluations included), peak memory of the whole process, on 2 cores of a server processor that
other work shared: compare them within a table only.
"""

Run = dict[str, Any]


def main() -> None:
    """Every table whose runs are there."""
    text = HEAD + "".join(f"\n{section}" for section in sections())
    (ROOT / "docs" / "results.md").write_text(text, encoding="utf-8")


def sections() -> Iterator[str]:
    """Markdown, a section a data set."""
    main = RESULTS / "main"
    yield banking(load(main / "banking77"))
    yield wnut(load(main / "wnut17"))
    yield chinese(load(main / "resume-ner-zh") | load(main / "chnsenticorp"))
    if runs := tasks():
        yield f"{ABOUT}\n{table(NAMES, task_rows(runs))}{below_baseline(runs)}"
    for name, task, metric, title in METHOD_SETS:
        if runs := load(RESULTS / "methods" / name):
            yield methods(runs, TASKS.get(task)(), metric, title)
    if runs := load(RESULTS / "places" / "wnut17"):
        yield places(runs)
    if runs := load(RESULTS / "rates" / "wnut17"):
        yield rates(runs)
    yield from few_and_none()
    yield from labels()
    served = load(RESULTS / "serving")
    if "serving/bundles" in served:
        yield serving(served["serving/bundles"])
    if "serving/faults" in served:
        yield faults_section(served["serving/faults"])
    if folders := {
        folder.name: load(folder) | full_runs(folder.name) for folder in sorted((RESULTS / "compare").glob("*"))
    }:
        yield f"{RACES}\n{table(RACE_NAMES, list(race_rows(folders)))}{verdicts(folders)}"
    if runs := load(RESULTS / "statistics"):
        [found] = runs.values()
        yield f"{about_statistics(found)}\n{table(STATISTICS_NAMES, list(statistics_rows(found)))}"


def few_and_none() -> Iterator[str]:
    """What few labels give, and none."""
    if runs := zero():
        yield f"{ZERO}\n{table(ZERO_NAMES, zero_rows(runs))}"
    if runs := {name: run for folder in sorted((RESULTS / "few").glob("*")) for name, run in load(folder).items()}:
        about, names, rows = few(list(runs.values()))
        yield f"{about}\n{table(names, rows)}"
        about, names, rows, after = few_beside(list(runs.values()))
        yield f"{about}\n{table(names, rows)}{after}"
    if runs := {name: run for folder in sorted((RESULTS / "active").glob("*")) for name, run in load(folder).items()}:
        about, names, rows, after = active(list(runs.values()))
        yield f"{about}\n{table(names, rows)}{after}"
    if runs := load(RESULTS / "episodes"):
        about, names, rows = relations(runs["episodes/fewrel-pubmed"])
        yield f"{about}\n{table(names, rows)}"
    if runs := load(RESULTS / "entities"):
        about, names, rows = entities(runs["entities/wnut17"])
        yield f"{about}\n{table(names, rows)}"


def full_runs(recipe: str) -> dict[str, Run]:
    """Those of WNUT17 were made for another table."""
    runs = load(RESULTS / "methods" / recipe) if recipe == "wnut17" else {}
    return {f"{recipe}/truth-{name.split('/')[1]}": run for name, run in runs.items() if run["method"] in CANDIDATES}


def labels() -> Iterator[str]:
    """Wrong labels that are found, and what rows without labels add."""
    if runs := every("mistrusted"):
        yield f"{about_mistrusted(runs)}\n{table(MISTRUSTED_NAMES, list(mistrusted_rows(runs)))}"
    if runs := every("unlabelled"):
        yield f"{about_unlabelled(runs)}\n{table(UNLABELLED_NAMES, list(unlabelled_rows(runs)))}"


def every(group: str) -> list[Run]:
    """The runs of all folders of a group."""
    return [run for folder in sorted((RESULTS / group).glob("*")) for run in load(folder).values()]


def tasks() -> dict[str, Run]:
    """One run of every task; tagging was run in the group `main`, and is shown where others stand beside it."""
    found = {name: run for folder in sorted((RESULTS / "tasks").glob("*")) for name, run in load(folder).items()}
    tagged = {f"{name}/lora-seed1": load(RESULTS / "main" / name) for name in ("resume-ner-zh", "wnut17")}
    return found and found | {name: runs[name] for name, runs in tagged.items() if name in runs}


def zero() -> dict[str, Run]:
    """Runs of prompts and few rows, whatever they learn from."""
    return {name: run for folder in sorted((RESULTS / "zero").glob("*")) for name, run in load(folder).items()}


def load(folder: Path) -> dict[str, Run]:
    """Runs by name."""
    return {f"{folder.name}/{file.stem}": json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}


def banking(runs: dict[str, Run]) -> str:
    """BANKING77: head_only, lora, lora without the warm start."""
    by_setting = {name: seeds(runs, f"banking77/{name}-seed") for name in ("head_only", "lora", "lora-cold")}
    lines = ["## BANKING77, 77 intents, all-MiniLM-L6-v2, at most 3 epochs (`recipes/banking77.yaml`)\n\n"]
    rows = []
    for name, found in by_setting.items():
        if found:
            rows.append([name, *adaptune_figures(found, "accuracy")])
    lines.append(table(["method", "test accuracy, seed by seed", "mean", *FIGURES], rows))
    task = TASKS.get("classify")()
    for ours, beside in (("lora", "head_only"), ("lora-cold", "head_only"), ("lora", "lora-cold")):
        lines.append(difference(task, f"{ours} - {beside}", by_setting[ours], by_setting[beside], "accuracy"))
    if by_setting["lora"]:
        best = by_setting["lora"][0]["baseline"]["tfidf_logistic_regression"]["accuracy"]
        lines.append(f"\nTF-IDF with logistic regression: {100 * best:.1f}.\n")
    return "".join(lines)


def wnut(runs: dict[str, Run]) -> str:
    """WNUT17: lora beside the plain loop of transformers + peft."""
    ours = seeds(runs, "wnut17/lora-seed")
    peers = [run for name, run in runs.items() if "transformers-peft" in name]
    lines = ["## WNUT17, named entities, all-MiniLM-L6-v2, LoRA rank 8, at most 5 epochs (`recipes/wnut17.yaml`)\n\n"]
    rows = [["adaptune", *adaptune_figures(ours, "f1")]] if ours else []
    best: list[Run] = []
    for rate in sorted({run["learning_rate"] for run in peers}):
        found = [run for run in peers if run["learning_rate"] == rate]
        rows.append([f"transformers + peft, learning rate {rate:g}", *peer_figures(found)])
        best = max(
            best, found, key=lambda group: (len(group), mean(run["valid_f1"] for run in group)) if group else (0, 0)
        )
    lines.append(table(["system", "test entity F1, seed by seed", "mean", *FIGURES], rows))
    theirs = [run | {"test": {"f1": run["test_f1"]}} for run in best]
    lines.append(difference(TASKS.get("tag")(), "adaptune - transformers + peft at its best rate", ours, theirs, "f1"))
    return "".join(lines)


def chinese(runs: dict[str, Run]) -> str:
    """The two Chinese recipes."""
    lines = ["## Chinese, multilingual-e5-small, LoRA rank 8, one seed\n\n"]
    rows = []
    for name, run in runs.items():
        low, high = run["interval"]["low"], run["interval"]["high"]
        score = f"{100 * run['test'][run['metric']]:.1f} ({100 * low:.1f} to {100 * high:.1f})"
        beside = max((scores[run["metric"]], name) for name, scores in run["baseline"].items())
        rows.append(
            [
                name.split("/")[0],
                run["metric"],
                score,
                f"{100 * beside[0]:.1f} {beside[1]}",
                f"{run['seconds']['train']:.0f}",
                str(run["training"]["steps"]),
                ", ".join(override for override in run["overrides"] if not override.startswith("seed")) or "nothing",
            ]
        )
    names = ["recipe", "metric", "test, 95 % interval", "best simple baseline", "seconds", "steps after the warm start"]
    lines.append(table([*names, "shrunk by"], rows))
    return "".join(lines)


PLACES = """## What holds adapters and AdaLoRA back on WNUT17

Entity F1 on validation rows after each of two epochs, from the warm start's 40.2, one seed. At this budget `full`,
which trains every weight, reaches 56.3 and 58.3, `lora` 53.8 and 55.3 and `adalora` 51.5 and 52.9 there. Wherever
adapters of the usual width stand they end near 53, and eight times the width brings them to where `lora` is: a good
half of what they lack is width; what is left was not looked into. AdaLoRA's pruning costs about a point; what it lacks
is where it stands: in every matrix of the layers (`method.targets=all`, as in its paper) it passes `lora`, with twice
its own parameters.
"""


def places(runs: dict[str, Run]) -> str:
    """How adapters and AdaLoRA did by place and width."""
    rows = [
        [f"`{name.split('/')[1]}`", f"{run['parameters']['trained']:,}", ", ".join(epochs_of(run))]
        for name, run in sorted(runs.items())
    ]
    return f"{PLACES}\n{table(['variant and width', 'trained parameters', 'F1 after one epoch, two'], rows)}"


RATES = """## Usual learning rates

Entity F1 on 400 validation rows of WNUT17 after each of two epochs over 600 training rows in small batches, from the
warm start's 32, for rates around the usual one (which is for a hidden size of 768, doubled here, at 384). With
about 340 entities, differences under 5 points are noise: the rates tell what is far too low or too high. No test row
was used.
"""


def rates(runs: dict[str, Run]) -> str:
    """How each method learned at several rates."""
    by_method: dict[str, dict[float, Run]] = {}
    for run in runs.values():
        rate = next(o.split("=")[1] for o in run["overrides"] if o.startswith("train.learning_rate"))
        by_method.setdefault(run["method"], {})[float(rate)] = run
    rows = []
    for name, found in sorted(by_method.items()):
        usual = f"{2 * METHODS.get(name).learning_rate:g}"
        tried = [f"{rate:g}: {', '.join(epochs_of(run))}" for rate, run in sorted(found.items())]
        rows.append([f"`{name}`", usual, "; ".join(tried)])
    return f"{RATES}\n{table(['method', 'usual rate here', 'rate: F1 after one epoch, two'], rows)}"


def epochs_of(run: Run) -> list[str]:
    """F1 after each epoch."""
    return [f"{100 * line['f1']:.1f}" for line in run["curve"] if line["step"]]


COLD = """BANKING77 with every method, all-MiniLM-L6-v2, three epochs over 3,000 rows

All begin with a cold head, which learns at one rate, but `head_only`, which is the warm start alone: from there every
method would keep it within so few steps, which tells nothing."""
WARM = """WNUT17 with every method, all-MiniLM-L6-v2, two epochs

All begin with the same warm-started head."""
METHOD_SETS = (("banking77", "classify", "accuracy", COLD), ("wnut17", "tag", "f1", WARM))


def methods(runs: dict[str, Run], task: Task, metric: str, title: str) -> str:
    """Every method at an equal budget, the best first; then the differences of three of them to `full`."""
    by_method: dict[str, list[Run]] = {}
    for run in runs.values():
        by_method.setdefault(run["method"], []).append(run)
    found = sorted(by_method.items(), key=lambda pair: -mean(run["test"][metric] for run in pair[1]))
    rows = [[f"`{name}`", *method_figures(of, metric)] for name, of in found]
    names = [
        "method",
        f"test {metric}, 95 % interval",
        "seeds",
        "trained parameters",
        "seconds to best",
        "peak memory, MB",
    ]
    about = (
        "Each learns at its usual rate, one thread a run, two runs at once beside other work. "
        "The interval is of the first seed's test rows."
    )
    lines = [
        f"## {title} {about}\n\n",
        table(names, rows),
    ]
    for name in ("lora", "adapter", "adalora"):
        if name in by_method and "full" in by_method:
            lines.append(difference(task, f"{name} - full", by_method[name], by_method["full"], metric))
    return "".join(lines)


def method_figures(runs: Sequence[Run], metric: str) -> list[str]:
    """The columns of one method."""
    low, high = runs[0]["interval"]["low"], runs[0]["interval"]["high"]
    score = f"{100 * mean(run['test'][metric] for run in runs):.2f} ({100 * low:.1f} to {100 * high:.1f})"
    best = mean(seconds_to_best(run) for run in runs)
    memory = max(run["peak_memory_mb"] for run in runs)
    return [score, str(len(runs)), f"{runs[0]['parameters']['trained']:,}", f"{best:.0f}", f"{memory:.0f}"]


def seconds_to_best(run: Run) -> float:
    """Of training, warm start included, until the weights that were kept."""
    return next(float(line["seconds"]) for line in run["curve"] if line["step"] == run["training"]["best_step"])


FIGURES = ["trained parameters", "seconds", "peak memory, MB"]


def seeds(runs: dict[str, Run], prefix: str) -> list[Run]:
    """The runs of one setting, by seed."""
    return [run for name, run in runs.items() if name.startswith(prefix)]


def adaptune_figures(runs: Sequence[Run], metric: str) -> list[str]:
    """The columns of one setting of ours."""
    scores = [run["test"][metric] for run in runs]
    parameters = runs[0]["parameters"]["trained"]
    return columns(
        scores, parameters, [run["seconds"]["train"] for run in runs], [run["peak_memory_mb"] for run in runs]
    )


def peer_figures(runs: Sequence[Run]) -> list[str]:
    """The columns of one setting of the plain loop."""
    scores = [run["test_f1"] for run in runs]
    return columns(
        scores, runs[0]["parameters"], [run["seconds"] for run in runs], [run["peak_memory_mb"] for run in runs]
    )


def columns(scores: Sequence[float], parameters: int, seconds: Sequence[float], memory: Sequence[float]) -> list[str]:
    """Score by seed, mean, parameters, mean seconds, largest memory."""
    each = ", ".join(f"{100 * score:.2f}" for score in scores)
    return [each, f"{100 * mean(scores):.2f}", f"{parameters:,}", f"{mean(seconds):.0f}", f"{max(memory):.0f}"]


def difference(task: Task, name: str, ours: Sequence[Run], theirs: Sequence[Run], metric: str) -> str:
    """One line: the mean difference and its paired interval over rows and seeds."""
    pairs = list(zip(ours, theirs, strict=False))
    if not pairs:
        return ""
    counts = [[np.array(run["counts"]) for run in side] for side in zip(*pairs, strict=True)]
    low, high = difference_interval(task, counts[0], counts[1], samples=2000)
    gain = mean(a["test"][metric] - b["test"][metric] for a, b in pairs)
    ends = f"paired 95 % interval {100 * low:+.2f} to {100 * high:+.2f}"
    return f"\n{name}: {100 * gain:+.2f} points, {ends} ({len(pairs)} seeds).\n"


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in (names, ["---"] * len(names), *rows)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
