"""Recipes: what is accepted, what is refused, and in which words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adaptune.approaches import APPROACHES
from adaptune.core.errors import RecipeError
from adaptune.methods.bitfit import Bitfit
from adaptune.methods.lora import Lora
from adaptune.recipe import Recipe, load_recipe, recipe_in


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in a folder with one data file."""
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text("text,label\ngood,yes\nbad,no\n", encoding="utf-8")


def _load(text: str, *overrides: str) -> Recipe:
    Path("recipe.yaml").write_text(text, encoding="utf-8")
    return load_recipe("recipe.yaml", overrides)


def _problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        _load(text, *overrides)
    return list(caught.value.problems)


SHORT = """\
task: classify
data:
  train: train.csv
model: some/model
"""


def test_three_sections_make_a_recipe_and_everything_else_has_a_default() -> None:
    recipe = _load(SHORT)
    assert recipe.task.name == "classify"
    assert recipe.head.name == "classify"
    assert recipe.method == Lora()
    assert recipe.model.name == "some/model"
    assert recipe.train.epochs == 5
    assert recipe.out == Path("runs/recipe")
    assert recipe.seed == 1


def test_a_part_is_a_name_or_a_mapping_with_a_name() -> None:
    assert _load(SHORT + "method: bitfit\n").method == Bitfit()
    assert _load(SHORT + "method: {name: lora, rank: 4}\n").method == Lora(rank=4)


def test_overrides_set_values_by_path_with_the_types_of_yaml() -> None:
    recipe = _load(SHORT, "train.epochs=3", "method.rank=16", "train.dropout=true", "data.columns.text=it", "seed=7")
    assert recipe.train.epochs == 3
    assert recipe.method == Lora(rank=16)
    assert recipe.train.dropout is True
    assert recipe.data.columns == {"text": "it"}
    assert recipe.seed == 7


def test_an_override_may_replace_a_whole_section_and_go_on_within_it() -> None:
    recipe = _load(
        SHORT + "method: {name: lora, rank: 4}\n", "method=top_layers", "method.layers=3", "model=other/model"
    )
    assert recipe.method.name == "top_layers"
    assert recipe.method.model_dump()["layers"] == 3
    assert recipe.model.name == "other/model"


def test_the_last_of_two_equal_overrides_wins() -> None:
    assert _load(SHORT, "seed=2", "seed=3").seed == 3


def test_every_problem_is_named_at_once_with_its_line() -> None:
    text = """\
task: clasify
data: {train: tain.csv, colums: {text: a}}
model:
  max_length: 0
method:
  name: lora
  rankk: 3
  targets: 3
train:
  epoch: 3
  clip: hello
  optimizer: adagard
  dropout: 0.1
evaluat: {}
head: {name: classify, class_weights: {a: heavy}}
seed: -1
"""
    Path("recipe.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe("recipe.yaml", ["bundle.licence=mit"])
    tasks = ", ".join(sorted(file.stem for file in Path(sys.modules["adaptune.tasks"].__path__[0]).glob("[a-z]*.py")))
    assert (
        str(caught.value)
        == f"""\
recipe.yaml: 15 problems
  - line 1: task: 'clasify' is no task; did you mean 'classify'? (there are: {tasks})
  - line 2: 'data.colums' is not known; did you mean 'columns'?
  - line 2: data.train: there is no 'tain.csv'; did you mean 'train.csv'?
  - line 3: 'model.name' is missing: A hub id (`sentence-transformers/all-MiniLM-L6-v2`), a folder, a GGUF file, or \
`modelscope:NAME`.
  - line 4: model.max_length: expected 8 or more, got 0
  - line 7: 'method.rankk' is not known; did you mean 'rank'?
  - line 8: method.targets: expected text or a list, got 3; if 3 is a name, put it in quotes
  - line 10: 'train.epoch' is not known; did you mean 'epochs'?
  - line 11: train.clip: expected a number, got 'hello'
  - line 12: train.optimizer: expected 'adamw', 'adam', 'nadam', 'radam', 'adamax', 'rmsprop', 'adagrad' or 'sgd', \
got 'adagard'; did you mean 'adagrad'?
  - line 13: train.dropout: expected true or false, got 0.1
  - line 14: 'evaluat' is not known; did you mean 'evaluate'?
  - line 15: head.class_weights.a: expected a number, got 'heavy'
  - line 16: seed: expected 0 or more, got -1
  - bundle.licence=mit: 'bundle.licence' is not known; did you mean 'license'?"""
    )


def test_sections_that_every_recipe_needs_are_missed_by_name() -> None:
    problems = _problems("seed: 2\n")
    assert problems[0].startswith("'task.name' is missing; there are: answer, chat, choose, ")
    assert problems[1].startswith("'data.train' is missing: The training rows")
    assert problems[2].startswith("'model.name' is missing: A hub id")
    assert len(problems) == 3


def test_a_key_with_no_near_name_lists_the_known_ones() -> None:
    [problem] = _problems(SHORT + "evaluate: {zzz: 1}\n")
    assert problem.startswith(
        "line 5: 'evaluate.zzz' is not known; known here: abstain, baselines, batch_tokens, calibrate"
    )


def test_what_is_said_of_rows_out_of_scope_fits_together() -> None:
    assert _problems(SHORT, "data.out_of_scope_label=oos", "data.out_of_scope=train.csv") == [
        f"data.{key}={value}: data.{key}: nothing would read it; set evaluate.out_of_scope to probability, energy or "
        "mahalanobis, or leave it out"
        for key, value in (("out_of_scope", "train.csv"), ("out_of_scope_label", "oos"))
    ]
    [problem] = _problems(SHORT, "evaluate.in_scope_kept=0.9")
    assert problem.endswith("nothing would use it; set evaluate.out_of_scope")
    recipe = _load(SHORT, "evaluate.out_of_scope=energy", "data.out_of_scope=train.csv", "evaluate.in_scope_kept=0.9")
    assert recipe.evaluate.out_of_scope == "energy"


def test_thresholds_are_refused_for_heads_without_logits() -> None:
    regress = SHORT.replace("classify", "regress")
    [problem] = _problems(regress, "evaluate.abstain=0.9")
    assert "no head of this recipe can do that; heads that can: as_transformers, choose, classify, " in problem
    [problem] = _problems(SHORT.replace("classify", "multilabel"), "evaluate.out_of_scope=energy")
    assert "heads that can: as_transformers, classify, relate; leave it out" in problem


def test_true_is_no_number() -> None:
    assert _problems(SHORT, "train.epochs=true") == ["train.epochs=true: train.epochs: expected a number, got true"]


def test_a_metric_that_the_task_does_not_have_is_refused() -> None:
    [problem] = _problems(SHORT, "train.metric=acuracy")
    assert problem.startswith(
        "train.metric=acuracy: train.metric: task 'classify' has no 'acuracy'; did you mean 'accuracy'?"
    )
    assert "(it has: accuracy, macro_f1," in problem


def test_a_head_that_does_not_learn_what_the_task_asks_is_refused() -> None:
    assert _problems(SHORT, "task=tag", "head=classify") == [
        "head=classify: head: 'classify' does not learn what task 'tag' asks; heads that do: crf, tag"
    ]
    assert _problems(SHORT, "head=tag") == [
        "head=tag: head: 'tag' does not learn what task 'classify' asks; heads that do: as_transformers, classify"
    ]


def test_a_head_takes_over_the_signs_of_its_task_and_refuses_others() -> None:
    signs = ("task={name: relate, markers: [$, '%']}", "head.markers=tokens")
    recipe = _load(SHORT, *signs)
    assert recipe.head.model_dump()["signs"] == ("$", "%")
    assert _load(recipe.as_yaml()) == recipe
    [problem] = _problems(SHORT, *signs, "head.signs=['<', '>']")
    assert "head.signs is ('<', '>'), and the task writes ('$', '%') (task.markers); leave head.signs out" in problem


def test_a_column_that_the_task_does_not_read_is_refused() -> None:
    assert _problems(SHORT, "data.columns.txt=review") == [
        "data.columns.txt=review: 'data.columns.txt' is not known; did you mean 'text'?"
    ]


def test_a_missing_file_is_refused_with_the_nearest_name_of_its_folder() -> None:
    assert _problems(SHORT, "data.valid=trian.csv") == [
        "data.valid=trian.csv: data.valid: there is no 'trian.csv'; did you mean 'train.csv'?"
    ]
    assert _problems(SHORT, "data.test=no/where.csv") == [
        "data.test=no/where.csv: data.test: there is no 'no/where.csv'; nor is there a folder 'no'"
    ]


def test_a_path_meant_from_the_recipes_folder_is_refused_with_the_right_one() -> None:
    Path("recipes").mkdir()
    Path("recipes/mine.csv").write_text("text,label\n", encoding="utf-8")
    Path("recipes/mine.yaml").write_text(SHORT.replace("train.csv", "mine.csv"), encoding="utf-8")
    with pytest.raises(
        RecipeError, match=r"there is no 'mine.csv'; paths are relative to where the command runs: write "
    ):
        load_recipe("recipes/mine.yaml")
    load_recipe("recipes/mine.yaml", ["data.train=recipes/mine.csv"])


def test_data_of_a_hub_are_no_files() -> None:
    assert _load(SHORT, "data.train=hub:stanfordnlp/sst2").data.train == "hub:stanfordnlp/sst2"


def test_a_bundle_to_start_from_must_be_there() -> None:
    assert _problems(SHORT, "method.start=runs/old/bundle") == [
        "method.start=runs/old/bundle: method.start: there is no 'runs/old/bundle'; nor is there a folder 'runs/old'"
    ]


@pytest.mark.parametrize("override", ["train.epochs", "=3", "train.=3", ".epochs=3"])
def test_an_override_without_path_or_value_is_refused(override: str) -> None:
    assert _problems(SHORT, override) == [
        f"the override {override!r} is not of the form path=value, as train.epochs=3 is"
    ]


def test_an_override_below_a_plain_value_is_refused() -> None:
    assert _problems(SHORT + "seed: 3\n", "seed.x=3") == [
        "seed.x=3: seed is 3 and has no keys; give seed as a whole instead"
    ]


def test_an_override_whose_value_is_no_yaml_is_refused() -> None:
    [problem] = _problems(SHORT, "bundle.examples=[a, b")
    assert problem.startswith("bundle.examples=[a, b: the value is no YAML: line 1, column 6: expected ',' or ']'")


def test_environment_variables_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORPUS", str(Path.cwd()))
    monkeypatch.setenv("SEED", "11")
    recipe = _load(
        SHORT.replace("train.csv", "${CORPUS}/train.csv"), "seed=${SEED}", "bundle.examples=['costs $${5}', $9]"
    )
    assert recipe.data.train == f"{Path.cwd()}/train.csv"
    assert recipe.seed == 11
    assert recipe.bundle.examples == ("costs ${5}", "$9")


def test_an_environment_variable_that_is_not_set_is_named_with_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_CORPUS", raising=False)
    problems = _problems(SHORT.replace("train.csv", "${NO_CORPUS}/train.csv"))
    assert problems == [
        "line 3: data.train names the environment variable ${NO_CORPUS}, which is not set; set it: export NO_CORPUS=..."
    ]


def test_a_resolved_recipe_loads_to_an_equal_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRICE", "${5}")
    overrides = (
        "head.class_weights={no: 1e-1, yes: 2}",
        "data.labels={0: no, 1: yes, true: 2e3}",
        "train.learning_rate=2e-3",
        "train.clip=null",
        "bundle.examples=['${PRICE}', '', '1e3', 'null', '买 ¥5', \"two\\nlines\"]",
        "method.targets=[query, value]",
        "out=elsewhere",
    )
    recipe = _load(SHORT, *overrides)
    assert recipe.bundle.examples == ("${5}", "", "1e3", "null", "买 ¥5", "two\nlines")
    assert _load(recipe.as_yaml()) == recipe
    assert "examples: [" not in recipe.as_yaml()


def test_reading_a_recipe_waits_for_no_torch() -> None:
    Path("recipe.yaml").write_text(SHORT, encoding="utf-8")
    code = (
        "import sys; from adaptune.recipe import load_recipe, schema; load_recipe('recipe.yaml'); schema();"
        "sys.exit(sorted({'torch', 'transformers', 'peft', 'sklearn'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_method_that_takes_no_step_is_refused_with_epochs() -> None:
    [problem] = _problems(SHORT + "method: none\n")
    assert "train.epochs is 5, and method 'none' takes no step; set train.epochs=0, or method=head_only" in problem
    assert _load(SHORT + "method: none\n", "train.epochs=0").method.name == "none"


def test_an_approach_is_named_as_other_parts_are_and_finetune_is_the_default() -> None:
    assert _load(SHORT).approach.name == "finetune"
    assert _load(SHORT, "approach=finetune").approach == _load(SHORT, "approach={name: finetune}").approach
    [problem] = _problems(SHORT, "approach=finetun")
    known = ", ".join(APPROACHES.names())
    assert problem == (
        f"approach=finetun: approach: 'finetun' is no approach; did you mean 'finetune'? (there are: {known})"
    )


def test_a_text_is_a_recipe_too_and_its_problems_say_of_which_value_they_are() -> None:
    found = recipe_in(SHORT, Path("runs/new"))
    assert (found.out, found.seed) == (Path("runs/new"), 1)
    with pytest.raises(RecipeError) as caught:
        recipe_in(SHORT.replace("train.csv", "trian.csv") + "train:\n  epochs: many\nmethod: lorra\n", Path("runs/new"))
    told = dict(zip(caught.value.paths, caught.value.problems, strict=True))
    assert sorted(told) == ["data.train", "method.name", "train.epochs"]
    assert told["train.epochs"] == "line 6: train.epochs: expected a number, got 'many'"
