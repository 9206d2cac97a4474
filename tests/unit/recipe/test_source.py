"""Recipes as text: which YAML is read how."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptune.core.errors import RecipeError
from adaptune.recipe.source import read_plain, read_source, write_plain, write_text


def _read(tmp_path: Path, text: str) -> dict[str, object]:
    file = tmp_path / "recipe.yaml"
    file.write_bytes(text.encode())
    source = read_source(file)
    assert source.problems == []
    return source.sections


def _refusal(tmp_path: Path, text: str) -> str:
    file = tmp_path / "recipe.yaml"
    file.write_bytes(text.encode())
    with pytest.raises(RecipeError) as caught:
        read_source(file)
    [problem] = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("2e-3", 0.002),
        ("1_000", "1_000"),
        ("010", 10),
        ("0x10", 16),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("12:30", "12:30"),
        ("2024-05-01", "2024-05-01"),
        ("yes", "yes"),
        ("no", "no"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("'3'", "3"),
        ("hub:sst2", "hub:sst2"),
        ("[a, 1]", ["a", 1]),
    ],
)
def test_plain_values_are_those_of_yaml_1_2(tmp_path: Path, written: str, value: object) -> None:
    found = _read(tmp_path, f"key: {written}\n")["key"]
    assert (found, type(found)) == (value, type(value))


def test_keys_are_text(tmp_path: Path) -> None:
    assert _read(tmp_path, "labels: {0: a, true: b, null: c, on: d}\n") == {
        "labels": {"0": "a", "true": "b", "null": "c", "on": "d"}
    }


def test_a_byte_order_mark_is_not_part_of_the_first_key(tmp_path: Path) -> None:
    assert _read(tmp_path, "\ufeffseed: 1\r\ntask: tag\r\n") == {"seed": 1, "task": "tag"}


def test_values_may_be_shared_and_merged(tmp_path: Path) -> None:
    text = "train: &base {epochs: 3, clip: 1}\nevaluate:\n  <<: *base\n  clip: 2\nbundle: *base\n"
    sections = _read(tmp_path, text)
    assert sections["evaluate"] == {"epochs": 3, "clip": 2}
    assert sections["bundle"] == sections["train"]
    assert sections["bundle"] is not sections["train"]


def test_duplicate_keys_are_refused_each_with_both_lines(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("seed: 1\ntrain:\n  epochs: 1\n  epochs: 2\nseed: 2\n", encoding="utf-8")
    assert read_source(file).problems == [
        "line 4: 'train.epochs' stands here and in line 3; keep one of them",
        "line 5: 'seed' stands here and in line 1; keep one of them",
    ]


def test_broken_yaml_is_refused_with_line_and_column(tmp_path: Path) -> None:
    assert (
        _refusal(tmp_path, "task: classify\ndata: train: x\n")
        == "line 2, column 12: mapping values are not allowed here"
    )
    assert _refusal(tmp_path, "train:\n\tepochs: 3\n").startswith("line 2, column 1: found character '\\t'")
    assert _refusal(tmp_path, "data: {train: ${X}/a.csv}\n").endswith("but got '{'; put text with ${...} in quotes")
    assert _refusal(tmp_path, "seed: !!python/object:os.system x\n").startswith("line 1, column 7: could not determine")


def test_a_value_that_holds_itself_is_refused(tmp_path: Path) -> None:
    assert _refusal(tmp_path, "train: &me\n  epochs: *me\n") == "line 1, column 8: this value holds itself"


@pytest.mark.parametrize("text", ["", "- task\n", "classify\n"])
def test_a_recipe_is_a_mapping(tmp_path: Path, text: str) -> None:
    assert _refusal(tmp_path, text) == "a recipe is a mapping with at least the sections task, data and model"


def test_a_recipe_that_is_not_there_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "banking77.yaml").touch()
    with pytest.raises(RecipeError, match="no such file; did you mean 'banking77"):
        read_source(tmp_path / "banking.yaml")


def test_a_recipe_in_another_encoding_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_bytes("task: größe\n".encode("latin-1"))
    with pytest.raises(RecipeError, match="cannot be read: 'utf-8' codec"):
        read_source(file)


def test_written_text_is_read_back_also_by_readers_of_yaml_1_1(tmp_path: Path) -> None:
    values = {
        "a": "no",
        "b": "2e-3",
        "c": "12:30",
        "d": "${X} $${X} $",
        "e": 1e-05,
        "f": None,
        "g": {"0": "", "null": "x"},
    }
    text = write_text(values)
    assert _read(tmp_path, text) == values
    assert "'no'" in text


def test_plain_values_keep_the_names_of_variables_and_are_written_back_as_they_stood() -> None:
    text = "model: ${MODELS}/minilm\nseed: 3\n"
    assert read_plain(text) == {"model": "${MODELS}/minilm", "seed": 3}
    assert write_plain(read_plain(text)) == text
    with pytest.raises(RecipeError, match="a recipe is a mapping"):
        read_plain("- lora")
