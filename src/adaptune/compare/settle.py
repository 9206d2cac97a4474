"""The recipe as a comparison carries it out. Loads no model and no torch."""

from __future__ import annotations

from pathlib import Path

from adaptune.core.errors import Unsupported
from adaptune.recipe import Recipe


def settled(recipe: Recipe, out: Path | None) -> Recipe:
    """The recipe as a comparison carries it out: its own folder, splits that no seed of a run changes, and baselines
    that are measured once. Raises Unsupported."""
    data = recipe.data
    if data.test is None and data.test_share == 0:
        raise Unsupported(
            "a comparison is decided on test rows, and the recipe has none; set data.test or data.test_share"
        )
    split_seed = recipe.seed if data.split_seed is None else data.split_seed
    return recipe.model_copy(
        update={
            "out": out or recipe.out.with_name(f"{recipe.out.name}-compare"),
            "data": data.model_copy(update={"split_seed": split_seed}),
            "evaluate": recipe.evaluate.model_copy(update={"baselines": False}),
        }
    )
