"""The house rules that a machine can check: lint, types, imports between rooms, and the size of files and functions."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = sorted((REPOSITORY / "src").rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef


def _must_pass(*command: str) -> None:
    done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(done.stdout + done.stderr, pytrace=False)


def _functions() -> Iterator[tuple[str, Function]]:
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                yield f"{file.relative_to(REPOSITORY)}:{node.lineno} {node.name}", node


def test_ruff_finds_nothing() -> None:
    _must_pass("-m", "ruff", "check", "--output-format", "concise", ".")


def test_ruff_would_format_nothing_anew() -> None:
    _must_pass("-m", "ruff", "format", "--check", ".")


def test_mypy_strict_finds_nothing() -> None:
    _must_pass("-m", "mypy")


def test_rooms_import_only_from_rows_below() -> None:
    _must_pass("-c", "import sys; from importlinter.cli import lint_imports_command as lint; sys.exit(lint())")


def test_no_source_file_is_longer_than_400_lines() -> None:
    assert [str(file) for file in SOURCES if len(file.read_text(encoding="utf-8").splitlines()) > 400] == []


def test_every_module_says_in_one_line_what_it_is() -> None:
    assert [str(file) for file in SOURCES if not ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))] == []


def test_no_function_is_longer_than_40_lines_beside_its_docstring() -> None:
    def lines(node: Function) -> int:
        docstring = (ast.get_docstring(node, clean=False) or "").splitlines()
        return (node.end_lineno or 0) - node.lineno + 1 - len(docstring)

    assert [where for where, node in _functions() if lines(node) > 40] == []


def test_no_function_takes_more_than_5_positional_parameters() -> None:
    def positional(node: Function) -> int:
        names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
        return len([name for name in names if name not in ("self", "cls")])

    # Functions of the command line are called by typer, by name.
    functions = [(where, node) for where, node in _functions() if not where.startswith("src/adaptune/cli/")]
    assert [where for where, node in functions if positional(node) > 5] == []


@pytest.mark.parametrize("forbidden", [r"(?<![\w.}~])/(work|tmp|home|root)/\w"], ids=["a path of one machine"])
def test_no_committed_file_names(forbidden: str) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True).stdout.decode()
    texts = [name for name in listed.split("\0") if name.endswith((".py", ".toml", ".yaml", ".md", ".txt", "Makefile"))]
    found = {name for name in texts if re.search(forbidden, (REPOSITORY / name).read_text(encoding="utf-8"))}
    assert found - {"tests/unit/test_house.py"} == set()
