"""One run: recipe -> data -> backbone + method + head -> train -> evaluate -> bundle. Here all rooms meet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from adaptune.bundle.made import Made
from adaptune.bundle.save import Taught, save_bundle, save_tasks
from adaptune.core.backbone import Backbone
from adaptune.core.environment import environment, main_process
from adaptune.core.errors import AdaptuneError
from adaptune.core.run_folder import RunDir
from adaptune.engine.fit import Fit
from adaptune.models.load import load_backbone
from adaptune.prepare import Prepared, naming, prepare, prepare_tasks
from adaptune.recipe import MultiTask, Recipe, read_recipe
from adaptune.run.finished import Clock, Run, finished_report
from adaptune.run.following import tracking
from adaptune.run.in_brief import about, came_to
from adaptune.run.kitchen import Kitchen, set_up
from adaptune.run.measuring import made_of, measure, report_of
from adaptune.run.referring import reference
from adaptune.run.together import (
    Kitchens,
    learn_together,
    record_of_tasks,
    rejected_of_tasks,
    report_of_tasks,
    rows_of_tasks,
    set_up_tasks,
)
from adaptune.run.training import learn


def train(recipe: str | Path, *overrides: str, resume: bool = False, overwrite: bool = False) -> Run:
    """Carry out a recipe file with values set by path: `train("recipe.yaml", "train.epochs=3")`."""
    found = read_recipe(recipe, overrides)
    if isinstance(found, Recipe):
        return cook(found, resume=resume, overwrite=overwrite)
    return cook_tasks(found, resume=resume, overwrite=overwrite)


def cook(
    recipe: Recipe,
    *,
    prepared: Prepared | None = None,
    backbone: Backbone | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Run:
    """Carry out a recipe. `prepared` saves reading its data again, and `backbone` loading its model.

    Raises AdaptuneError for what the user can mend.
    """
    clock, folder = Clock(), RunDir(recipe.out, main=main_process())
    with clock.stage("data"):
        prepared = prepared or prepare(recipe)
        if resume:
            folder.go_on()
        else:
            folder.begin(recipe.as_yaml(), environment() | prepared.record(), overwrite=overwrite)
    with folder.under_way(about(recipe)), tracking(recipe, folder):
        with clock.stage("data"):
            folder.write_rejected({"row": row.where, "reason": row.reason} for row in prepared.splits.rejected)
            kitchen = set_up(recipe, prepared, backbone)
        with clock.stage("train"):
            fit = learn(kitchen, folder, resume=resume)
        return finish(kitchen, fit, folder, clock)


def finish(kitchen: Kitchen, fit: Fit, folder: RunDir, clock: Clock) -> Run:
    """The end of a run whose training is over: its best weights are scored and saved, by the main process alone.

    Of the others the report is empty.
    """
    recipe = kitchen.recipe
    if not folder.main:
        return Run(recipe.out, {})
    clock.seconds["train"] = fit.seconds  # with those of the run that this one resumes
    with clock.stage("evaluate"):
        results = measure(kitchen, folder)
        save_bundle(
            folder.bundle,
            kitchen.assembly,
            recipe.task,
            columns=kitchen.prepared.columns,
            max_length=kitchen.assembly.max_length,
            config=recipe.bundle,
            scores=results.scores,
            gguf_file=recipe.model.gguf_file,
            lineage=kitchen.lineage,
            reference=reference(kitchen),
            made=made_of(kitchen, results),
        )
    report = report_of(kitchen, fit, results) | clock.record()
    folder.write_report(report, came_to(report))
    return Run(recipe.out, report)


def cook_tasks(
    recipe: MultiTask,
    *,
    prepared: Mapping[str, Prepared] | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Run:
    """Carry out a recipe of several tasks: one run with shared adapters, else one for each task.

    Raises AdaptuneError; where one task is at fault, its name stands in front.
    """
    prepared = prepared or prepare_tasks(recipe)
    if recipe.adapters == "shared":
        return cook_shared(recipe, prepared, resume=resume, overwrite=overwrite)
    return cook_separate(recipe, prepared, resume=resume, overwrite=overwrite)


def cook_shared(
    recipe: MultiTask, prepared: Mapping[str, Prepared], *, resume: bool = False, overwrite: bool = False
) -> Run:
    """One training of all tasks, and one bundle: read beside `cook`, whose steps these are."""
    clock, folder = Clock(), RunDir(recipe.out, main=main_process())
    with clock.stage("data"):
        if resume:
            folder.go_on()
        else:
            folder.begin(recipe.as_yaml(), environment() | record_of_tasks(recipe, prepared), overwrite=overwrite)
    with folder.under_way(about(recipe)), tracking(recipe, folder):
        with clock.stage("data"):
            folder.write_rejected(rejected_of_tasks(prepared))
            kitchens = set_up_tasks(recipe, prepared)
        with clock.stage("train"):
            fit = learn_together(kitchens, folder, resume=resume)
        return _finish_shared(kitchens, prepared, fit, folder, clock)


def _finish_shared(kitchens: Kitchens, prepared: Mapping[str, Prepared], fit: Fit, folder: RunDir, clock: Clock) -> Run:
    recipe = kitchens.recipe
    clock.seconds["train"] = fit.seconds
    with clock.stage("evaluate"):
        results = {name: measure(kitchen, folder, name) for name, kitchen in kitchens.of.items()}
        save_tasks(
            folder.bundle,
            kitchens.joint,
            {
                name: Taught(kitchen.recipe.task, prepared[name].columns, results[name].scores, reference(kitchen))
                for name, kitchen in kitchens.of.items()
            },
            max_length=kitchens.joint.max_length,
            config=recipe.bundle,
            gguf_file=recipe.model.gguf_file,
            made=Made(recipe.as_yaml(), rows_of_tasks(kitchens)),
        )
    report = report_of_tasks(kitchens, fit, results) | clock.record()
    folder.write_report(report, came_to(report))
    return Run(recipe.out, report)


def cook_separate(
    recipe: MultiTask, prepared: Mapping[str, Prepared], *, resume: bool = False, overwrite: bool = False
) -> Run:
    """Each task's own recipe, one after another on one loaded base; resumed, finished ones are left as they are."""
    clock, folder = Clock(), RunDir(recipe.out, main=main_process())
    runs = {name: RunDir(recipe.out / name) for name in recipe.tasks}
    _open(folder, runs, recipe, prepared, resume=resume, overwrite=overwrite)
    backbones: dict[bool, Backbone] = {}
    reports = {}
    with folder.under_way(about(recipe)), clock.stage("tasks"):
        for name, run in runs.items():
            alone = recipe.alone(name)
            with naming(name):
                if resume and run.state == "finished":
                    reports[name] = finished_report(run, prepared[name].fingerprint)
                    continue
                words = alone.head.reads_words
                backbones[words] = backbone = backbones.get(words) or load_backbone(recipe.model, words=words)
                done = cook(
                    alone,
                    prepared=prepared[name],
                    backbone=backbone,
                    resume=resume and run.state == "unfinished",
                    overwrite=overwrite,
                )
                reports[name] = dict(done.report)
    report = {"adapters": "separate", "model": recipe.model.name, "tasks": reports} | clock.record()
    if folder.main:
        folder.write_report(report, came_to(report))
    return Run(recipe.out, report)


def _open(
    folder: RunDir,
    runs: Mapping[str, RunDir],
    recipe: MultiTask,
    prepared: Mapping[str, Prepared],
    *,
    resume: bool,
    overwrite: bool,
) -> None:
    """The folder above those of the tasks. Raises AdaptuneError where runs are there and nobody said what of them."""
    begun = [name for name, run in runs.items() if run.state != "empty"]
    if folder.state == "finished" and resume:
        raise AdaptuneError(f"the run in {folder.path} is finished ({folder.report.name} is there): nothing to resume")
    if resume and not begun:
        raise AdaptuneError(f"{folder.path} holds no run of a task to resume from; start it without --resume")
    if begun and not resume and not overwrite and folder.state != "finished":
        raise AdaptuneError(
            f"{folder.path} holds a run of several tasks that was not finished ({', '.join(begun)}); continue it with "
            "--resume, or start anew with --overwrite"
        )
    if not resume:
        folder.begin(recipe.as_yaml(), environment() | record_of_tasks(recipe, prepared), overwrite=overwrite)
