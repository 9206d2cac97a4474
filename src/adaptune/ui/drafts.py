"""Recipes while they are written: text and values, what is wrong with them, in what some differ. Reads no data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptune.core.errors import RecipeError
from adaptune.core.tracker import flat
from adaptune.recipe import MultiTask, Recipe, recipe_in
from adaptune.recipe.source import read_plain


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong."""

    path: str
    """Where in the recipe: `train.epochs`; empty where it is of the whole."""
    line: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A text as far as it can be understood."""

    values: Mapping[str, Any] | None
    """As they were written; None where the text is no YAML mapping."""
    faults: Sequence[Fault]
    recipe: Recipe | MultiTask | None
    """None where anything is wrong."""


def draft_of(text: str, out: Path) -> Draft:
    """Read a text; `out` is the run folder of one that names none."""
    try:
        values = read_plain(text)
    except RecipeError as error:
        return Draft(None, faults_of(error), None)
    try:
        return Draft(values, (), recipe_in(text, out))
    except RecipeError as error:
        return Draft(values, faults_of(error), None)


def faults_of(error: RecipeError) -> list[Fault]:
    """Every problem with its place."""
    return [_fault(path, problem) for path, problem in zip(error.paths, error.problems, strict=True)]


def differences(recipes: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """Every value in which some recipes are not all alike, by its path, and what each has; None: nothing."""
    each = [flat(recipe) for recipe in recipes]
    sections = list(dict.fromkeys(path.partition(".")[0] for one in each for path in one))
    found = dict.fromkeys(path for one in each for path in one)
    paths = sorted(found, key=lambda path: sections.index(path.partition(".")[0]))
    rows = [(path, [one.get(path) for one in each]) for path in paths if path != "out"]
    return [(path, values) for path, values in rows if any(value != values[0] for value in values)]


def _fault(path: str, problem: str) -> Fault:
    problem = problem.replace("\n", " ")  # help that is quoted in it has lines
    found = re.match(r"line (\d+)(?:, column \d+)?: ", problem)
    if found is None:
        return Fault(path, None, problem)
    return Fault(path, int(found[1]), problem[found.end() :])
