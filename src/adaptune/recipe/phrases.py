"""What pydantic finds wrong, said in plain words, each with its path and the nearest right name. Knows no recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from adaptune.core.errors import nearest

_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping of names to values",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
    "list_type": "a list",
    "literal_error": "{expected}",
    "mapping_type": "a mapping of names to values",
    "model_type": "a mapping of settings",
    "path_type": "a path",
    "string_type": "text",
    "tuple_type": "a list",
}


def problems_of(error: ValidationError, model: type[BaseModel], values: Any, path: str) -> Iterator[tuple[str, str]]:
    """(path, problem) of each value refused, `path` being where `values` stand in the recipe.

    What several members of a union expect of one value is said once, and what is wrong inside it stands for it.
    """
    details: dict[tuple[str | int, ...], list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        details.setdefault(_real(detail, values), []).append(detail)
    for location, group in details.items():
        if not any(other[: len(location)] == location for other in details if other != location):
            where = ".".join(str(piece) for piece in (path, *location) if piece != "")
            yield where, _phrase(where, location, group, model)


def switched(values: Mapping[str, Any], built: BaseModel, path: str) -> Iterator[tuple[str, str]]:
    """(path, problem) of each true or false that was taken for a number."""
    for key, value in values.items():
        taken = getattr(built, key, None)
        where = f"{path}.{key}".lstrip(".")
        if isinstance(value, Mapping) and isinstance(taken, BaseModel):
            yield from switched(value, taken, where)
        elif isinstance(value, bool) and isinstance(taken, (int, float)) and not isinstance(taken, bool):
            yield where, f"{where}: expected a number, got {shown(value)}"


def shown(value: Any) -> str:
    """A value as a recipe would have it, cut where it is long."""
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."


def unknown(where: str, key: str, known: Sequence[str]) -> str:
    """The problem of a key that nobody reads."""
    hint = nearest(key, known) or f"; known here: {', '.join(sorted(known))}"
    return f"{where!r} is not known{hint}"


def missing(where: str, model: type[BaseModel], name: str) -> str:
    """The problem of a value that must be there."""
    field = model.model_fields.get(name)
    return f"{where!r} is missing" + (f": {field.description}" if field and field.description else "")


def _phrase(where: str, location: tuple[str | int, ...], details: list[ErrorDetails], model: type[BaseModel]) -> str:
    detail = details[0]
    if detail["type"] == "extra_forbidden":
        return unknown(where, str(location[-1]), list(_model_at(model, location[:-1]).model_fields))
    if detail["type"] == "missing":
        return missing(where, _model_at(model, location[:-1]), str(location[-1]))
    if any(one["type"] == "value_error" for one in details):
        return f"{where}: " + next(str(one["ctx"]["error"]) for one in details if one["type"] == "value_error")
    value = detail["input"]
    expected = " or ".join(dict.fromkeys(_expected(one) for one in details))
    return f"{where}: expected {expected}, got {shown(value)}{_remedy(value, details)}"


def _expected(detail: ErrorDetails) -> str:
    known = _EXPECTED.get(detail["type"])
    if known is None:
        message = detail["msg"]
        return message[0].lower() + message[1:]
    return known.format(**detail.get("ctx", {}))


def _remedy(value: Any, details: list[ErrorDetails]) -> str:
    if not isinstance(value, str):
        numbers = isinstance(value, (int, float)) and any(one["type"] == "string_type" for one in details)
        return f"; if {shown(value)} is a name, put it in quotes" if numbers else ""
    literals = [one["ctx"]["expected"] for one in details if one["type"] == "literal_error"]
    return nearest(value, [name for text in literals for name in text.split("'")[1::2]])


def _real(detail: ErrorDetails, values: Any) -> tuple[str | int, ...]:
    """The location without what pydantic adds to it: names of union members, `[key]`."""
    location: list[str | int] = []
    for piece in detail["loc"]:
        within = isinstance(values, Mapping) and piece in values
        if within or (isinstance(values, (list, tuple)) and isinstance(piece, int) and piece < len(values)):
            location.append(piece)
            values = values[piece]
    if detail["type"] == "missing":
        location.append(detail["loc"][-1])
    return tuple(location)


def _model_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel]:
    """The settings class whose keys stand below a location."""
    for piece in location:
        field = model.model_fields.get(str(piece))
        inner = next(_models_in(field.annotation), None) if field else None
        model = inner or model
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
