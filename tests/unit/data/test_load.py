"""The three parts of a run's data."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from adaptune.core.types import Example
from adaptune.data.config import DataConfig
from adaptune.data.load import load_splits
from adaptune.tasks import TASKS


@pytest.fixture
def reviews(tmp_path: Path) -> str:
    """300 rows, two good ones to each bad one."""
    lines = [f"review number {number},{'bad' if number % 3 == 0 else 'good'}" for number in range(300)]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    return str(tmp_path / "reviews.csv")


def load(reviews: str, seed: int = 1, **settings: int) -> dict[str, tuple[Example, ...]]:
    """The parts, cut by the shares of the defaults."""
    return load_splits(
        DataConfig.model_validate({"train": reviews} | settings), TASKS.get("classify")(), seed=seed
    ).parts


def test_a_part_of_fewer_rows_keeps_the_shares_of_classes(reviews: str) -> None:
    parts = load(reviews, train_rows=60, valid_rows=12, test_rows=9)
    counts = {name: Counter(example.expected for example in part) for name, part in parts.items()}
    assert counts == {
        "train": {"good": 40, "bad": 20},
        "valid": {"good": 8, "bad": 4},
        "test": {"good": 6, "bad": 3},
    }


def test_fewer_rows_are_drawn_from_the_same_part_as_all_rows(reviews: str) -> None:
    whole, few = load(reviews), load(reviews, train_rows=60, test_rows=9)
    for name in ("train", "test"):
        numbers = [example.row.number for example in few[name]]
        assert numbers == sorted(numbers)
        assert set(numbers) < {example.row.number for example in whole[name]}
    assert few["valid"] == whole["valid"]


def test_the_seed_decides_which_rows_are_drawn(reviews: str) -> None:
    first, again, other = (load(reviews, seed=seed, train_rows=60)["train"] for seed in (1, 1, 2))
    assert first == again != other


def test_fewer_rows_than_classes_are_as_few_as_asked_for(reviews: str) -> None:
    assert len(load(reviews, train_rows=1)["train"]) == 1


def test_more_rows_than_there_are_is_all_of_them(reviews: str) -> None:
    assert load(reviews, train_rows=5000) == load(reviews)
