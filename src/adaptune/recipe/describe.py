"""The JSON schema of a recipe, by which editors complete and check it: every field with its help."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from adaptune.core.catalogue import Catalogue
from adaptune.core.config import Config
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.recipe.load import DEFAULT_METHOD, ORDER, SECTIONS, Recipe, RunSettings
from adaptune.tasks import TASKS

_CATALOGUES: dict[str, Catalogue[Any]] = {"task": TASKS, "head": HEADS, "method": METHODS}


def schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a recipe."""
    parts = {key: {name: kind.get(name) for name in kind.names()} for key, kind in _CATALOGUES.items()}
    models = [model for kinds in parts.values() for model in kinds.values()] + [*SECTIONS.values(), RunSettings]
    references, whole = models_json_schema([(model, "validation") for model in models])
    definitions = whole["$defs"]

    def definition(model: type[Config]) -> dict[str, Any]:
        found: dict[str, Any] = definitions[references[model, "validation"]["$ref"].rpartition("/")[2]]
        return found

    properties: dict[str, Any] = dict(definition(RunSettings)["properties"])
    for key, model in SECTIONS.items():
        properties[key] = dict(references[model, "validation"])
    for key, kinds in parts.items():
        for name, model in kinds.items():
            _name(definition(model), name, required=key == "task" or (key == "method" and name != DEFAULT_METHOD))
        choices = [references[model, "validation"] for model in kinds.values()]
        properties[key] = {"anyOf": [{"type": "string", "enum": list(kinds)}, *choices]}
    properties["model"] = {"anyOf": [{"type": "string"}, properties["model"]]}
    for key, value in properties.items():
        value["description"] = Recipe.model_fields[key].description
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "adaptune recipe",
        "type": "object",
        "additionalProperties": False,
        "required": ["task", "data", "model"],
        "properties": {key: properties[key] for key in ORDER},
        "$defs": definitions,
    }


def _name(definition: dict[str, Any], name: str, *, required: bool) -> None:
    """Let a part's settings stand beside the part's name."""
    definition["properties"] = {"name": {"const": name}, **definition.get("properties", {})}
    if required:
        definition["required"] = ["name", *definition.get("required", [])]
