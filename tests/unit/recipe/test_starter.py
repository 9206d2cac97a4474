"""The first recipe: it loads, it is commented, and it replaces nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptune.core.errors import AdaptuneError
from adaptune.data.guess import Guess
from adaptune.recipe import load_recipe, write_starter

REVIEWS = Guess(
    task="classify",
    format="csv",
    columns={"text": "the review: all of it", "label": "no"},
    reasons=("120 rows; 'the review: all of it' holds text.", "'no' holds 3 labels."),
)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my reviews.csv").touch()


def test_a_starter_loads_as_it_is() -> None:
    write_starter(REVIEWS, "my reviews.csv", Path("reviews.yaml"))
    recipe = load_recipe("reviews.yaml")
    assert recipe.task.name == "classify"
    assert recipe.data.train == "my reviews.csv"
    assert recipe.data.format == "csv"
    assert recipe.data.columns == {"text": "the review: all of it", "label": "no"}
    assert recipe.data.header
    assert recipe.model.name == "sentence-transformers/all-MiniLM-L6-v2"
    assert recipe.out == Path("runs/reviews")


def test_a_starter_for_columns_without_names_says_so() -> None:
    write_starter(
        Guess("classify", "tsv", {"text": "2", "label": "1"}, (), header=False), "my reviews.csv", Path("a.yaml")
    )
    assert load_recipe("a.yaml").data.header is False


def test_what_is_commented_out_may_be_put_in() -> None:
    write_starter(REVIEWS, "my reviews.csv", Path("reviews.yaml"), model="some/model")
    lines = Path("reviews.yaml").read_text(encoding="utf-8").replace("# max_seconds", "max_seconds")
    for part in ("valid", "test"):
        lines = lines.replace(f"# {part}: {part}.csv", f"{part}: 'my reviews.csv'")
    Path("reviews.yaml").write_text(lines, encoding="utf-8")
    recipe = load_recipe("reviews.yaml")
    assert (recipe.data.valid, recipe.data.test) == ("my reviews.csv", "my reviews.csv")
    assert recipe.train.max_seconds == 600
    assert recipe.model.name == "some/model"


def test_a_starter_says_why_and_how_to_run_it() -> None:
    write_starter(REVIEWS, "my reviews.csv", Path("reviews.yaml"))
    head = Path("reviews.yaml").read_text(encoding="utf-8").splitlines()[:6]
    assert head[:3] == [
        "# Written by `adaptune init my reviews.csv`.",
        "# 120 rows; 'the review: all of it' holds text.",
        "# 'no' holds 3 labels.",
    ]
    assert head[5] == "#   adaptune train reviews.yaml"


def test_no_file_is_overwritten() -> None:
    Path("reviews.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(AdaptuneError, match=r"reviews\.yaml exists and is not overwritten"):
        write_starter(REVIEWS, "my reviews.csv", Path("reviews.yaml"))
    assert Path("reviews.yaml").read_text(encoding="utf-8") == "mine"
