"""The JSON schema: it knows every field, and accepts and refuses what loading does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from adaptune.approaches import APPROACHES
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.recipe import schema
from adaptune.tasks import TASKS

REPOSITORY = Path(__file__).resolve().parents[3]
SCHEMA = schema()
TYPES: dict[str, Any] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
    "object": dict,
    "string": str,
}
MINIMUM = {"task": "classify", "data": {"train": "train.csv"}, "model": "some/model"}


def accepts(rule: Any, value: Any) -> bool:
    """As much of JSON schema as recipes need."""
    if "$ref" in rule:
        return accepts(SCHEMA["$defs"][rule["$ref"].rpartition("/")[2]], value)
    kind = rule.get("type", "anything")
    if kind != "anything" and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return False
    bounds = (
        ("const", lambda limit: value == limit),
        ("enum", lambda limit: value in limit),
        ("anyOf", lambda limit: any(accepts(one, value) for one in limit)),
        ("minimum", lambda limit: value >= limit),
        ("exclusiveMinimum", lambda limit: value > limit),
        ("maximum", lambda limit: value <= limit),
        ("exclusiveMaximum", lambda limit: value < limit),
        ("minLength", lambda limit: len(value) >= limit),
        ("required", lambda limit: set(limit) <= set(value)),
        ("items", lambda limit: all(accepts(limit, one) for one in value)),
    )
    return all(holds(rule[key]) for key, holds in bounds if key in rule) and (kind != "object" or _object(rule, value))


def _object(rule: Any, value: Any) -> bool:
    known, others = rule.get("properties", {}), rule.get("additionalProperties", True)
    return all(
        accepts(known[key], inner) if key in known else others is True or (others and accepts(others, inner))
        for key, inner in value.items()
    )


def test_the_shipped_recipes_are_accepted() -> None:
    files = sorted((REPOSITORY / "recipes").glob("*.yaml"))
    assert files
    assert [file.name for file in files if not accepts(SCHEMA, yaml.safe_load(file.read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"method": "bitfit"},
        {"method": {"rank": 4}},
        {"method": {"name": "top_layers", "layers": 3}},
        {"model": {"name": "some/model", "max_length": 64}},
        {"head": {"class_weights": {"a": 2}}},
        {"train": {"clip": None}},
        {"out": "runs/a", "seed": 3},
    ],
    ids=str,
)
def test_right_recipes_are_accepted(change: dict[str, Any]) -> None:
    assert accepts(SCHEMA, MINIMUM | change)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "lorra"},
        {"method": {"name": "lora", "layers": 3}},
        {"method": {"layers": 3}},
        {"method": {"name": "lora", "rank": 0}},
        {"task": {"metric": "accuracy"}},
        {"train": {"epoch": 3}},
        {"train": {"warm_start": "yes please"}},
        {"model": {"max_length": 64}},
        {"evaluat": {}},
        {"seed": -1},
    ],
    ids=str,
)
def test_wrong_recipes_are_refused(change: dict[str, Any]) -> None:
    assert not accepts(SCHEMA, MINIMUM | change)


def test_every_name_of_every_catalogue_is_offered() -> None:
    for key, catalogue in (("task", TASKS), ("head", HEADS), ("approach", APPROACHES), ("method", METHODS)):
        names, *parts = SCHEMA["properties"][key]["anyOf"]
        assert names == {"type": "string", "enum": catalogue.names()}
        found = [SCHEMA["$defs"][part["$ref"].rpartition("/")[2]]["properties"]["name"]["const"] for part in parts]
        assert found == catalogue.names()


def test_every_field_has_its_help() -> None:
    silent = [
        f"{name}.{field}"
        for name, definition in SCHEMA["$defs"].items()
        for field, rule in definition["properties"].items()
        if field != "name" and "description" not in rule
    ]
    assert silent == []
    assert [key for key, rule in SCHEMA["properties"].items() if not rule["description"]] == []


def test_the_schema_is_plain_json() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
