"""The JSON schema of a recipe, by which editors complete and check it: every field with its help."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from adaptune.approaches import APPROACHES
from adaptune.core.catalogue import Catalogue
from adaptune.core.config import Config
from adaptune.data.mixing import Mixing
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.recipe.values import (
    DEFAULT_APPROACH,
    DEFAULT_METHOD,
    OF_A_TASK,
    ORDER,
    ORDER_OF_SEVERAL,
    SECTIONS,
    MultiTask,
    Recipe,
    RunSettings,
)
from adaptune.tasks import TASKS
from adaptune.track import TRACKERS

_CATALOGUES: dict[str, Catalogue[Any]] = {
    "task": TASKS,
    "head": HEADS,
    "approach": APPROACHES,
    "method": METHODS,
}
_DEFAULTS = {"approach": DEFAULT_APPROACH, "method": DEFAULT_METHOD}


def schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a recipe, of one task or of several."""
    parts = {key: {name: kind.get(name) for name in kind.names()} for key, kind in _CATALOGUES.items()}
    sections: dict[str, type[Config]] = {**SECTIONS, "mixing": Mixing}
    trackers = {name: TRACKERS.get(name) for name in TRACKERS.names()}
    models = [model for kinds in (*parts.values(), trackers) for model in kinds.values()]
    models += [*sections.values(), RunSettings]
    references, whole = models_json_schema([(model, "validation") for model in models])
    definitions = whole["$defs"]

    def definition(model: type[Config]) -> dict[str, Any]:
        found: dict[str, Any] = definitions[references[model, "validation"]["$ref"].rpartition("/")[2]]
        return found

    properties: dict[str, Any] = dict(definition(RunSettings)["properties"])
    for key, model in sections.items():
        properties[key] = dict(references[model, "validation"])
    for key, kinds in parts.items():
        for name, model in kinds.items():
            _name(definition(model), name, required=key != "head" and name != _DEFAULTS.get(key))
        choices = [references[model, "validation"] for model in kinds.values()]
        properties[key] = {"anyOf": [{"type": "string", "enum": list(kinds)}, *choices]}
    for name, tracker in trackers.items():
        _name(definition(tracker), name, required=True)
    one = [{"type": "string", "enum": list(trackers)}, *(references[kind, "validation"] for kind in trackers.values())]
    properties["track"] = {"anyOf": [*one, {"type": "array", "items": {"anyOf": one}}]}
    properties["model"] = {"anyOf": [{"type": "string"}, properties["model"]]}
    for key, value in properties.items():
        value["description"] = (MultiTask if key == "mixing" else Recipe).model_fields[key].description
    properties |= _of_several(properties)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "adaptune recipe",
        "type": "object",
        "additionalProperties": False,
        "required": ["model"],
        "anyOf": [{"required": ["task", "data"]}, {"required": ["tasks", "adapters"]}],
        "properties": {key: properties[key] for key in dict.fromkeys((*ORDER, *ORDER_OF_SEVERAL))},
        "$defs": definitions,
    }


def _of_several(properties: dict[str, Any]) -> dict[str, Any]:
    """What a recipe of several tasks has beside, or in place of, that of one."""
    entry = {
        "type": "object",
        "additionalProperties": False,
        "required": ["task", "data"],
        "properties": {key: properties[key] for key in OF_A_TASK},
    }
    found: dict[str, dict[str, Any]] = {
        "tasks": {"type": "object", "additionalProperties": entry},
        "adapters": {"enum": ["shared", "separate"]},
    }
    return {key: {**rule, "description": MultiTask.model_fields[key].description} for key, rule in found.items()}


def _name(definition: dict[str, Any], name: str, *, required: bool) -> None:
    """Let a part's settings stand beside the part's name."""
    definition["properties"] = {"name": {"const": name}, **definition.get("properties", {})}
    if required:
        definition["required"] = ["name", *definition.get("required", [])]
