"""Trackers hear what a run's folder is told, and whatever one of them does, the run goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from adaptune.compare.candidates import Candidate
from adaptune.compare.running import Track
from adaptune.compare.values import Plan
from adaptune.core.errors import Interrupted, RecipeError
from adaptune.core.run_folder import RunDir
from adaptune.core.tracker import Ending, Log, Tracked, Tracker
from adaptune.recipe import Recipe, load_recipe
from adaptune.run import following
from adaptune.run.following import tracking

TOLD: list[object] = []
STEP = {"step": 3, "epoch": 0.5, "loss": 0.25, "learning_rate": 0.1, "norm": 1.0, "tokens": 64, "seconds": 0.1}
REPORT = {"valid": {"accuracy": 0.8}, "test": {"accuracy": 0.7}}


class Telling(Tracker):
    """Says what it was told."""

    extra = "nothing"
    fails: bool = False

    def open(self, tracked: Tracked) -> Log:
        TOLD.append((tracked.name, tracked.group, tracked.known, tracked.step))
        return Notes(self.fails)


class Notes(Log):
    key = "id-1"

    def __init__(self, fails: bool) -> None:
        self.fails = fails

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if self.fails:
            raise OSError("no space left on device")
        TOLD.append((step, dict(values)))

    def end(self, how: Ending) -> None:
        TOLD.append(how)


class Stuck(Telling):
    """Never comes back before the test is over."""

    def open(self, tracked: Tracked) -> Log:
        OVER.wait(30)
        return Notes(False)


Telling.name, Stuck.name = "telling", "stuck"
OVER = threading.Event()


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    TOLD.clear()
    OVER.clear()
    yield
    OVER.set()


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "rows.csv").write_text("text,label\na,b\n")
    file = tmp_path / "recipe.yaml"
    file.write_text(f"task: classify\ndata: {{train: {tmp_path}/rows.csv}}\nmodel: some/model\nout: {tmp_path}/run\n")
    return load_recipe(file)


def _folder(recipe: Recipe) -> RunDir:
    folder = RunDir(recipe.out)
    if not folder.path.exists():
        folder.begin(recipe.as_yaml(), {})
    return folder


def _run(recipe: Recipe, *trackers: Tracker) -> RunDir:
    folder = _folder(recipe)
    with tracking(recipe.model_copy(update={"track": trackers}), folder):
        folder.log_step({"step": 0, "approach": "contrast", "number": 2, "total": 9, "loss": 0.5, "tokens": 7})
        folder.log_step(STEP)
        folder.log_scores({"step": 3, "epoch": 0.5, "seconds": 1.0, "gained": True, "accuracy": 0.8})
        folder.write_report(REPORT)
    return folder


def test_a_tracker_is_told_steps_scores_and_the_report(recipe: Recipe) -> None:
    _run(recipe, Telling())
    assert [
        ("run", None, None, 0),
        (2, {"approach/loss": 0.5}),
        (3, {f"train/{name}": STEP[name] for name in ("epoch", "loss", "learning_rate", "norm", "tokens")}),
        (3, {"valid/accuracy": 0.8}),
        (3, {"best/accuracy": 0.8, "test/accuracy": 0.7}),
        "finished",
    ] == TOLD


def test_what_a_step_has_no_value_of_is_left_out(recipe: Recipe) -> None:
    folder = _folder(recipe)
    with tracking(recipe.model_copy(update={"track": (Telling(),)}), folder):
        folder.log_step(STEP | {"norm": None})
    assert (3, {f"train/{name}": STEP[name] for name in ("epoch", "loss", "learning_rate", "tokens")}) in TOLD


def test_a_tracker_that_fails_is_one_warning_and_the_folder_is_complete(
    recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _run(recipe, Telling(fails=True))
    assert capsys.readouterr().err.count("warning: track: telling is told nothing more: no space left on device") == 1
    assert (folder.state, len(folder.steps.read_text().splitlines())) == ("finished", 2)


def test_a_tracker_that_hangs_is_left_alone_in_the_end(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(following, "PATIENCE", 0.05)
    assert _run(recipe, Stuck()).state == "finished"
    assert "stuck has not taken everything after 0.05 s and is left alone" in capsys.readouterr().err


def test_a_run_that_goes_on_is_the_same_one_to_its_tracker(recipe: Recipe) -> None:
    folder = _folder(recipe)
    with pytest.raises(Interrupted), tracking(recipe.model_copy(update={"track": (Telling(),)}), folder):
        folder.log_step(STEP)
        raise Interrupted("stopped", 15)
    assert TOLD[-1] == "interrupted"
    TOLD.clear()
    _run(recipe, Telling())
    assert TOLD[0] == ("run", None, "id-1", 0)
    assert TOLD[-1] == "finished"


def test_a_run_that_goes_on_tells_from_which_step(recipe: Recipe) -> None:
    """That of its checkpoint, whatever was logged after it."""
    folder, tracked = _folder(recipe), recipe.model_copy(update={"track": (Telling(),)})
    for step in (3, 2):
        with tracking(tracked, folder):
            folder.log_step(STEP | {"step": step})
    assert [one for one in TOLD if isinstance(one, tuple) and len(one) == 4] == [
        ("run", None, None, 2),
        ("run", None, "id-1", 1),
    ]


def test_runs_of_a_comparison_are_grouped_by_its_folder(recipe: Recipe) -> None:
    whole = recipe.model_copy(update={"track": (Telling(),)})
    plan = Plan(steps=1, of_steps=1, every=1, rounds=(), finalists=1, seeds=1)
    track = Track(whole, None, None)  # type: ignore[arg-type]  # neither is looked at
    [tracker] = track.run(Candidate("lora(rank=2)", recipe.method), 2, plan).track
    assert (tracker.run, tracker.group) == ("lora(rank=2) seed 2", "run")


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("tensorboard", [{"name": "tensorboard"}]),
        ({"name": "wandb", "project": "x"}, [{"name": "wandb", "project": "x"}]),
        (["tensorboard", {"name": "mlflow"}], [{"name": "tensorboard"}, {"name": "mlflow"}]),
    ],
)
def test_a_recipe_names_one_tracker_or_several(written: object, found: list[object], tmp_path: Path) -> None:
    recipe = load_recipe(_written(tmp_path, written))
    assert [{"name": one.name, **one.model_dump(exclude_unset=True)} for one in recipe.track] == found
    (tmp_path / "again.yaml").write_text(recipe.as_yaml())
    assert load_recipe(tmp_path / "again.yaml") == recipe


def test_what_is_wrong_with_a_tracker_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(_written(tmp_path, ["tensorbord", {"name": "wandb", "projct": "x"}, "mlflow", "mlflow"]))
    found = "\n".join(error.value.problems)
    assert "track.0: 'tensorbord' is no tracker; did you mean 'tensorboard'?" in found
    assert "'track.1.projct' is not known; did you mean 'project'?" in found
    assert "track.3: 'mlflow' stands there twice" in found


def _written(folder: Path, track: object) -> Path:
    (folder / "rows.csv").write_text("text,label\na,b\n")
    content = {"task": "classify", "data": {"train": f"{folder}/rows.csv"}, "model": "some/model", "track": track}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    return folder / "recipe.yaml"
