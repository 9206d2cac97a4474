"""Every command of both READMEs and of the guide does what it says, on a file of reviews and a tiny model."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import peft
import pytest
from transformers import AutoModel
from typer.testing import CliRunner

from adaptune.cli import app

GUIDE = ("guide.md", "tasks.md", "runs.md", "few-labels.md")
"""In the order in which they are read: later pages go on with what earlier ones made."""
Run = Callable[[list[str], Path], subprocess.CompletedProcess[str]]
ROOT = Path(__file__).resolve().parents[2]
THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river")


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with the files that the READMEs speak of."""
    for name, words in (("reviews", ("good", "bad", "great", "poor")), ("more", ("fast", "slow"))):
        rows = [
            f"the {thing} was {word} {end},{'positive' if place % 2 == 0 else 'negative'}"
            for thing in THINGS
            for place, word in enumerate(words)
            for end in ("today", "again", "to me")
        ]
        (tmp_path / f"{name}.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    return tmp_path


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_commands_for_your_own_data_work_as_written(readme: str, desk: Path, tiny_bert: Path) -> None:
    commands = _commands((ROOT / readme).read_text(encoding="utf-8"))
    assert [command[1] for command in commands] == ["init", "doctor", "train", "predict", "evaluate"]
    _run_all(commands, desk, tiny_bert)
    assert (desk / "runs" / "recipe" / "bundle" / "manifest.json").exists()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_the_commands_of_the_guide_work_as_written(
    desk: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapted = peft.get_peft_model(AutoModel.from_pretrained(tiny_bert), peft.LoraConfig(target_modules=["query"]))
    adapted.save_pretrained(desk / "my-adapter")
    monkeypatch.chdir(desk)
    for page in GUIDE:
        _run_all(_commands((ROOT / "docs" / page).read_text(encoding="utf-8")), desk, tiny_bert, run=_run_here)
    assert len((desk / "answers.jsonl").read_text().splitlines()) == 48
    assert (desk / "merged" / "config.json").exists()
    assert (desk / "runs" / "imported" / "bundle" / "manifest.json").exists()


def test_both_readmes_give_the_same_commands() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))
    assert [command[1:3] for command in _commands(english)] == [command[1:3] for command in _commands(chinese)]


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    targets = re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text())
    assert {"demo", "test"} <= set(targets)


def test_the_support_matrix_is_that_of_the_catalogues() -> None:
    done = _run([sys.executable, "bench/matrix.py", "--check"], ROOT)
    assert done.returncode == 0, done.stderr


def _run_all(commands: list[list[str]], desk: Path, model: Path, run: Run | None = None) -> None:
    """One command after another; the recipe that `init` writes gets the tiny model."""
    for command in commands:
        done = (run or _run)([sys.executable, "-m", *command], desk)
        assert done.returncode == 0, (command, done.stderr)
        if command[1] == "init":
            recipe = desk / "recipe.yaml"
            recipe.write_text(re.sub(r"(?m)^model:.*\n(?: .*\n)*", f"model: {model}\n", recipe.read_text()))


def _run_here(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """In this process, which has its libraries imported: the guide has dozens of commands."""
    done = CliRunner().invoke(app, command[3:])
    shown = "".join(traceback.format_exception(done.exception)) if done.exception else ""
    return subprocess.CompletedProcess(command, done.exit_code, done.stdout, done.output + shown)


def _commands(text: str) -> list[list[str]]:
    """The lines of code blocks that start with `adaptune`, the demo left out: it has a test of its own."""
    blocks = re.findall(r"(?ms)^```(\w*)\n(.*?)^```", text)
    lines = [line for language, block in blocks if not language for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("adaptune ")]
    return [command for command in commands if command[1] != "demo"]


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
