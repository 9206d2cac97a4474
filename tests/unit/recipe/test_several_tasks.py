"""Recipes of several tasks: what is accepted, what is refused, and where in the recipe that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adaptune.core.errors import RecipeError
from adaptune.data.mixing import Mixing
from adaptune.recipe import MultiTask, Recipe, load_recipe, read_recipe

from .test_describe import SCHEMA, accepts

TWO = """\
tasks:
  intent: {task: classify, data: {train: train.csv}}
  entities:
    task: tag
    data:
      train: train.csv
adapters: shared
model: some/model
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text("text,label\ngood,yes\nbad,no\n", encoding="utf-8")


def _read(text: str, *overrides: str) -> MultiTask:
    Path("recipe.yaml").write_text(text, encoding="utf-8")
    recipe = read_recipe("recipe.yaml", overrides)
    assert isinstance(recipe, MultiTask)
    return recipe


def _problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        _read(text, *overrides)
    return list(caught.value.problems)


def test_each_task_has_its_own_head_and_data_and_the_rest_stands_once() -> None:
    recipe = _read(TWO)
    assert list(recipe.tasks) == ["intent", "entities"]
    assert [entry.head.name for entry in recipe.tasks.values()] == ["classify", "tag"]
    assert (recipe.adapters, recipe.mixing, recipe.method.name) == ("shared", Mixing(), "lora")
    assert recipe.out == Path("runs/recipe")


def test_a_task_alone_is_a_recipe_of_its_own_below_the_run_folder() -> None:
    alone = load_recipe(_written(TWO), ["train.epochs=2"], task="entities")
    assert isinstance(alone, Recipe)
    assert (alone.task.name, alone.train.epochs, alone.out) == ("tag", 2, Path("runs/recipe/entities"))


def test_a_command_for_one_task_asks_which() -> None:
    for task, told in ((None, r"several tasks \(intent, entities\); say which: --task NAME"), ("intents", "'intent'")):
        with pytest.raises(RecipeError, match=told):
            load_recipe(_written(TWO), task=task)
    single = "task: classify\ndata: {train: train.csv}\nmodel: some/model\n"
    with pytest.raises(RecipeError, match="the recipe has one task alone"):
        load_recipe(_written(single), task="intent")


def test_values_of_a_task_are_set_by_their_path() -> None:
    recipe = _read(TWO, "tasks.intent.data.train_rows=100", "tasks.intent.head=as_transformers", "mixing.by=equal")
    assert recipe.tasks["intent"].data.train_rows == 100
    assert recipe.tasks["intent"].head.name == "as_transformers"
    assert recipe.mixing == Mixing(by="equal")


@pytest.mark.parametrize("change", ["adapters=shared", "adapters=separate", "mixing={by: temperature, temperature: 4}"])
def test_a_recipe_written_out_loads_to_an_equal_one(change: str) -> None:
    recipe = _read(TWO, change)
    assert _read(recipe.as_yaml()) == recipe


def test_every_problem_is_told_at_once_with_its_path_and_line() -> None:
    text = """\
tasks:
  intent: {task: clasify, data: {train: train.csv}}
  entities:
    task: tag
    head: classify
    data: {train: tain.csv, colums: {}}
    trian: 3
  third: 5
adapters: share
mixing: {by: equal, temperature: 2}
task: classify
model: some/model
train: {metric: accuracy}
"""
    found = _problems(text)
    assert [problem.partition(" ")[2].split(": ")[0] for problem in found] == [
        f"{line}" for line in (2, 5, 6, 6, 7, 8, 9, 10, 11, 13)
    ]
    told = "\n".join(found)
    assert "tasks.intent.task: 'clasify' is no task; did you mean 'classify'?" in told
    assert "tasks.entities.head: 'classify' does not learn what task 'tag' asks; heads that do: crf, tag" in told
    assert "tasks.entities.data.train: there is no 'tain.csv'; did you mean 'train.csv'?" in told
    assert "'tasks.entities.data.colums' is not known; did you mean 'columns'?" in told
    assert "'tasks.entities.trian' is not known" in told
    assert "tasks.third: expected a mapping with task and data, got 5" in told
    assert "adapters: expected 'shared' or 'separate', got 'share'; did you mean 'shared'?" in told
    assert "mixing: a temperature is for by=temperature, and by is 'equal'" in told
    assert "'task' stands beside 'tasks': it belongs to one of them, as 'tasks.NAME.task'" in told
    assert "train.metric: task 'tag' has no 'accuracy'" in told


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("adapters=null", "'adapters' is missing: 'shared' or 'separate'"),
        ("tasks=[a, b]", "tasks: expected a mapping of names to tasks, got ['a', 'b']"),
        ("tasks={intent: {task: classify, data: {train: train.csv}}}", "tasks: expected two or more"),
        ("tasks.bundle={task: classify, data: {train: train.csv}}", "tasks: 'bundle' cannot be a task's name"),
        ('tasks={"a/b": {}, c: {task: tag, data: {train: train.csv}}}', "tasks: 'a/b' cannot be a task's name"),
        ("method.start=.", "method.start: tasks with shared adapters start from the model itself"),
    ],
)
def test_what_cannot_be_is_refused(change: str, problem: str) -> None:
    [found] = _problems(TWO, change)
    assert problem in found


def test_mixing_that_would_be_ignored_is_refused() -> None:
    [found] = _problems(TWO + "mixing: {by: equal}\n", "adapters=separate")
    assert "mixing is for shared adapters" in found


def test_a_single_recipe_has_no_keys_of_several() -> None:
    found = _problems("task: classify\ndata: {train: train.csv}\nmodel: a/b\nadapters: shared\nmixing: {}\n")
    assert found == [
        "line 4: 'adapters' is for several tasks, and the recipe has no 'tasks'",
        "line 5: 'mixing' is for several tasks, and the recipe has no 'tasks'",
    ]


def test_the_schema_knows_several_tasks() -> None:
    entry = {"task": "classify", "data": {"train": "a.csv"}}
    right: dict[str, Any] = {"tasks": {"a": entry, "b": entry}, "adapters": "shared", "model": "some/model"}
    assert accepts(SCHEMA, right)
    assert accepts(SCHEMA, right | {"mixing": {"by": "temperature", "temperature": 2}})
    assert not accepts(SCHEMA, right | {"mixing": {"by": "chance"}})
    assert not accepts(SCHEMA, right | {"tasks": {"a": {"task": "classify"}}})
    assert not accepts(SCHEMA, {key: value for key, value in right.items() if key != "adapters"})


def _written(text: str) -> str:
    Path("recipe.yaml").write_text(text, encoding="utf-8")
    return "recipe.yaml"
