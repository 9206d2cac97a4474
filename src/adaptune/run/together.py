"""Several tasks that share an adapter: their kitchens on one trunk, trained in mixed batches, and one report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from adaptune.core.errors import Unsupported
from adaptune.core.run_folder import RunDir
from adaptune.data.batches import Batches
from adaptune.data.mixing import Mixed, Mixing
from adaptune.data.stored import Stored
from adaptune.engine.fit import Fit
from adaptune.engine.pruning import Pruned
from adaptune.engine.signals import stopping
from adaptune.models.joint import Joint, Output
from adaptune.models.load import load_backbone
from adaptune.prepare import Prepared, fingerprint_of_tasks, labels_of, naming
from adaptune.recipe import MultiTask
from adaptune.run.beginning import begin
from adaptune.run.choosing import choose
from adaptune.run.kitchen import Kitchen, kitchen_on
from adaptune.run.measuring import Results, examples_of, parameters_of, scores_of, training_of
from adaptune.run.training import above_frozen_layers, checkpoint_in, follow

MEAN = "mean"
"""What is watched: the mean over tasks of each one's own metric."""


@dataclass(frozen=True, slots=True)
class Kitchens:
    """What one run of several tasks works with."""

    recipe: MultiTask
    joint: Joint
    of: Mapping[str, Kitchen]
    """By the names of the tasks, each on its part of the joint model."""
    fingerprint: str
    """Of recipe and all data."""

    def watch(self) -> dict[str, float]:
        """The mean of the tasks' own metrics, then each task's validation scores as `NAME.METRIC`."""
        found = {name: kitchen.watch() for name, kitchen in self.of.items()}
        own = [found[name][kitchen.metric] for name, kitchen in self.of.items()]
        each = {f"{name}.{metric}": value for name, scores in found.items() for metric, value in scores.items()}
        return {MEAN: sum(own) / len(own)} | each

    @property
    def mixing(self) -> Mixing:
        """How often each task is seen."""
        return self.recipe.mixing or Mixing()

    @property
    def rows(self) -> dict[str, int]:
        """Training rows of each task."""
        return {name: len(kitchen.examples("train")) for name, kitchen in self.of.items()}

    def batches(self) -> Mixed:
        """The tasks' batches, mixed; each task's rows are in an order of their own."""
        recipe = self.recipe
        return Mixed(
            {name: _in_memory(kitchen, recipe.seed + place) for place, (name, kitchen) in enumerate(self.of.items())},
            self.rows,
            self.mixing,
            seed=recipe.seed,
            together=recipe.train.accumulate,
        )


def set_up_tasks(recipe: MultiTask, prepared: Mapping[str, Prepared]) -> Kitchens:
    """Load the model, put the adapter and every task's head on it, and encode the rows."""
    for name, one in prepared.items():
        if isinstance(one.splits.train, Stored):
            raise Unsupported(
                f"task {name}: its rows are streamed, and tasks that share adapters hold theirs in memory; set "
                f"tasks.{name}.data.stream=never where they fit, or adapters=separate"
            )
    words = any(entry.head.reads_words for entry in recipe.tasks.values())
    backbone = load_backbone(recipe.model, words=words)
    outputs = {}
    for name, entry in recipe.tasks.items():
        with naming(name):
            train = prepared[name].splits.train
            labels = labels_of(recipe.alone(name), prepared[name].splits)
            outputs[name] = Output(entry.head, labels, entry.approach.settled(train, labels, seed=recipe.seed))
    joint = Joint(backbone, recipe.method, outputs, seed=recipe.seed, dropout=recipe.train.dropout)
    kitchens = {}
    for name, part in joint.of.items():
        with naming(name):
            alone = recipe.alone(name)
            choose(part, alone, prepared[name])
            kitchens[name] = kitchen_on(part, alone, prepared[name])
    return Kitchens(recipe, joint, kitchens, fingerprint_of_tasks(recipe, prepared))


def _in_memory(kitchen: Kitchen, seed: int) -> Batches:
    batches = kitchen.batches(seed)
    if isinstance(batches, Pruned):
        raise Unsupported(
            f"train.prune is {kitchen.recipe.train.prune:g}, and tasks that share adapters are mixed by their numbers "
            "of rows; set train.prune=0 or adapters=separate"
        )
    assert isinstance(batches, Batches), "streamed rows were refused"
    return batches


def learn_together(kitchens: Kitchens, folder: RunDir, *, resume: bool) -> Fit:
    """Train all tasks with progress, evaluations and checkpoints; the best weights stand at the end."""
    recipe, run = kitchens.recipe, kitchens.fingerprint
    fit = Fit(
        kitchens.joint,
        kitchens.batches(),
        recipe.train,
        seed=recipe.seed,
        metric=MEAN,
        evaluate=kitchens.watch,
        run=run,
        resumed=checkpoint_in(folder, run) if resume else None,
    )
    rows = chain.from_iterable(kitchen.in_order("train") for kitchen in kitchens.of.values())
    recipe.method.prepare(kitchens.joint.trunk, rows, fit.loop.total)
    with stopping() as stop, above_frozen_layers(kitchens.of, fit) as keep_more:
        for kitchen in kitchens.of.values():
            if not resume:
                begin(kitchen, folder, stop)
            if kitchen.assembly.approach.fits_head:
                continue
            fit.warm_start(
                kitchen.in_order("train"),
                kitchen.in_order("valid"),
                part=kitchen.assembly,
                evaluate=kitchen.watch,
                metric=kitchen.metric,
            )
        follow(kitchens.of, folder, fit, stop, keep_more)
    return fit


def record_of_tasks(recipe: MultiTask, prepared: Mapping[str, Prepared]) -> dict[str, Any]:
    """What environment.json says of the data."""
    tasks = {name: one.record() for name, one in prepared.items()}
    return {"tasks": tasks, "run": fingerprint_of_tasks(recipe, prepared)}


def rejected_of_tasks(prepared: Mapping[str, Prepared]) -> Iterator[dict[str, Any]]:
    """The rows that were left out, each with its task."""
    for name, one in prepared.items():
        for row in one.splits.rejected:
            yield {"task": name, "row": row.where, "reason": row.reason}


def rows_of_tasks(kitchens: Kitchens) -> dict[str, int]:
    """How many rows each part of each task has, by `TASK, PART`."""
    return {f"{name}, {part}": count for name, of in kitchens.of.items() for part, count in examples_of(of).items()}


def report_of_tasks(kitchens: Kitchens, fit: Fit, results: Mapping[str, Results]) -> dict[str, Any]:
    """The run in numbers, as report.json holds it; `valid` and `test` above the tasks are means over them."""
    recipe, mixing = kitchens.recipe, kitchens.mixing
    tasks = {
        name: {
            "task": kitchen.recipe.task.name,
            **scores_of(kitchen, results[name]),
            "examples": examples_of(kitchen),
        }
        for name, kitchen in kitchens.of.items()
    }
    valid = [results[name].scores["valid"].values[kitchen.metric] for name, kitchen in kitchens.of.items()]
    test = [one["test"].get(one["metric"]) for one in tasks.values()]
    return {
        "adapters": "shared",
        "method": recipe.method.name,
        "model": recipe.model.name,
        "base": kitchens.joint.backbone.fingerprint,
        "metric": MEAN,
        "valid": {MEAN: sum(valid) / len(valid)},
        "test": {} if None in test else {MEAN: sum(test) / len(test)},
        "tasks": tasks,
        "mixing": {"shares": mixing.shares(kitchens.rows), "passes": mixing.passes(kitchens.rows)},
        "parameters": parameters_of(kitchens.joint),
        "training": training_of(fit),
        "seed": recipe.seed,
    }
