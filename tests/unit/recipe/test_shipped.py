"""The recipes that come with the repository."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from adaptune.recipe import read_recipe

RECIPES = sorted((Path(__file__).resolve().parents[3] / "recipes").glob("*.yaml"))


def test_recipes_are_shipped() -> None:
    written = {"crosswoz-chat", "e2e-nlg", "multi30k-de-en", "tatoeba-zh-en", "scitldr", "csl-zh"}
    pairs = {f"stsb-{language}-{task}" for language in ("en", "zh") for task in ("match", "regress")}
    others = {"banking77", "chnsenticorp", "resume-ner-zh", "wnut17", "xquad-en", "cmrc2018"}
    assert written | pairs | others <= {file.stem for file in RECIPES}


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_shipped_recipe_loads_to_itself(
    file: Path, data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ADAPTUNE_DATA", str(data("banking77").parent))
    recipe = read_recipe(file)
    (tmp_path / file.name).write_text(recipe.as_yaml(), encoding="utf-8")
    assert read_recipe(tmp_path / file.name) == recipe


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_shipped_recipe_is_headed_by_the_command_that_runs_it(file: Path) -> None:
    head = re.split(r"\ntasks?:", file.read_text(encoding="utf-8"))[0]
    assert f"adaptune train recipes/{file.name}" in head
    assert all(line.startswith("#") for line in head.splitlines())
