"""Recipes: one YAML file is one run. Every error is named at once, each with its path, before any model is loaded."""

from __future__ import annotations

from adaptune.recipe.describe import schema
from adaptune.recipe.load import load_data_settings, load_recipe, read_recipe, recipe_in
from adaptune.recipe.starter import write_starter
from adaptune.recipe.values import MultiTask, Recipe

__all__ = [
    "MultiTask",
    "Recipe",
    "load_data_settings",
    "load_recipe",
    "read_recipe",
    "recipe_in",
    "schema",
    "write_starter",
]
