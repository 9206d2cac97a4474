"""What runs on one base leave for each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adaptune.methods import METHODS
from adaptune.models.load import load_backbone
from adaptune.prepare import prepare, prepared_for
from adaptune.recipe import Recipe, load_recipe
from adaptune.run import Kitchen, Pantry, warmed


@pytest.fixture
def recipe(tmp_path: Path, tiny_bert: Path) -> Recipe:
    texts = [(thing, word, end) for thing in ("film", "book") for word in ("good", "bad") for end in "123456"]
    rows = [f"the {thing} was {word} {end},{word}" for thing, word, end in texts]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    file = tmp_path / "recipe.yaml"
    data = f"{{train: {tmp_path}/rows.csv}}"
    file.write_text(f"task: classify\ndata: {data}\nmodel: {tiny_bert}\ntrain: {{device: cpu}}\n")
    return load_recipe(file)


@pytest.fixture
def pantry(recipe: Recipe) -> Pantry:
    return Pantry(load_backbone(recipe.model))


def _kitchen(pantry: Pantry, recipe: Recipe, method: dict[str, Any], seed: int = 1) -> Kitchen:
    one = recipe.model_copy(update={"method": METHODS.make(method), "seed": seed})
    return pantry.kitchen(one, prepared_for(one, prepare(recipe)))


def test_rows_become_tokens_once(pantry: Pantry, recipe: Recipe) -> None:
    first, other = (_kitchen(pantry, recipe, {"name": name}) for name in ("lora", "bitfit"))
    assert first.encoded is other.encoded
    assert first.prepared.fingerprint != other.prepared.fingerprint
    shorter = _kitchen(pantry, recipe, {"name": "prompt", "length": 5})
    assert shorter.encoded is not first.encoded


def test_a_warm_start_is_for_those_that_begin_with_the_same_features(pantry: Pantry, recipe: Recipe) -> None:
    first = _kitchen(pantry, recipe, {"name": "lora"})
    assert pantry.warm_for(first) is None
    warm = warmed(first)
    assert warm is not None
    pantry.keep_warm(first, warm)
    assert pantry.warm_for(_kitchen(pantry, recipe, {"name": "adapter"}, seed=2)) is warm
    assert pantry.warm_for(_kitchen(pantry, recipe, {"name": "prefix"})) is None
    assert pantry.warm_for(_kitchen(pantry, recipe, {"name": "prompt"})) is None


def test_it_is_the_warm_start_that_each_would_have_found(pantry: Pantry, recipe: Recipe) -> None:
    first, other = (warmed(_kitchen(pantry, recipe, {"name": name}, seed)) for name, seed in (("lora", 1), ("full", 2)))
    assert first is not None
    assert other is not None
    assert first.scores == other.scores
    assert all(torch.allclose(tensor, other.layer[name], atol=1e-4) for name, tensor in first.layer.items())


def test_the_seed_of_the_splits_keeps_rows_whatever_the_seed_of_a_run(recipe: Recipe) -> None:
    def rows(seed: int, split_seed: int | None) -> list[int]:
        data = recipe.data.model_copy(update={"split_seed": split_seed})
        splits = prepare(recipe.model_copy(update={"seed": seed, "data": data})).splits
        return [example.row.number for example in splits.test]

    assert rows(1, None) == rows(2, 1)
    assert rows(1, None) != rows(2, None)
