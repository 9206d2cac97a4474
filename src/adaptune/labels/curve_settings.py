"""The recipe as a curve of labels carries it out, and the numbers of shots as people write them. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from adaptune.core.errors import AdaptuneError, Unsupported
from adaptune.labels.curve_values import Part
from adaptune.recipe import Recipe

ALL = "all"
"""As many shots as there are."""


def parse_shots(text: str) -> tuple[int | None, ...]:
    """`1,2,4,all` -> rising numbers, None for all. Raises AdaptuneError."""
    found: set[int] = set()
    whole = False
    for piece in (piece.strip() for piece in text.split(",")):
        if piece == ALL:
            whole = True
        elif piece.isdecimal():
            found.add(int(piece))
        else:
            raise AdaptuneError(
                f"--shots: {piece!r} is no number of labelled rows; write numbers with commas between, and all for "
                "every row: 1,4,16,all"
            )
    return (*sorted(found), *([None] if whole else []))


def named(shots: int | None) -> str:
    """A number of shots as it is written."""
    return ALL if shots is None else str(shots)


def settled(recipe: Recipe, out: Path | None, part: Part, shots: tuple[int | None, ...]) -> Recipe:
    """The recipe as a curve carries it out: its own folder, validation rows that no seed of a run changes, and test
    rows that are read only where they are scored. Raises Unsupported."""
    data = recipe.data
    if data.train is None:
        raise Unsupported("a curve is over numbers of labelled training rows, and the recipe has none; set data.train")
    if data.shots is not None or data.train_rows is not None:
        key = "train_rows" if data.shots is None else "shots"
        raise Unsupported(
            f"data.{key} is {getattr(data, key)} in the recipe, and a curve sets the number of labelled rows itself; "
            f"leave it out: data.{key}=null"
        )
    if 0 in shots and recipe.approach.needs_rows:
        raise Unsupported(
            f"--shots: 0 is no labelled row, and approach {recipe.approach.name!r} learns from some; begin with 1"
        )
    given = data.test is not None
    if part == "test" and not given and data.test_share == 0:
        raise Unsupported("--on test: the recipe has no test rows; set data.test or data.test_share")
    split_seed = recipe.seed if data.split_seed is None else data.split_seed
    # A share that is cut off for tests stays off; a file is not even read.
    unread = {"test": None, "test_share": 0.0} if part == "valid" and given else {}
    return recipe.model_copy(
        update={
            "out": out or recipe.out.with_name(f"{recipe.out.name}-curve"),
            "data": data.model_copy(update={"split_seed": split_seed, **unread}),
            "evaluate": recipe.evaluate.model_copy(update={"baselines": False}),
        }
    )
