"""Tasks of Label Studio with what was annotated in them, as rows: marked spans, choices, numbers.

Its JSON export (https://labelstud.io/guide/task_format): `data` holds the columns, `annotations` a list of `results`.
What a control of choices or numbers found stands under the control's own name; spans of texts under `spans`. In
JSON-MIN, where names of controls are columns already, several choices are {"choices": [...]}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptune.data.table import shown

SPANS = "spans"
_NUMBERS = ("number", "rating")
"""Types of results that hold one number, under their own name."""


def is_task(value: Mapping[str, Any]) -> bool:
    """Whether a row of JSON is a task as Label Studio exports it."""
    return isinstance(value.get("data"), dict) and isinstance(_annotations(value), list)


def row_of_task(value: Mapping[str, Any]) -> dict[str, Any]:
    """The task's data, and what was annotated, if it is. Raises ValueError where that cannot be used."""
    given = _annotations(value)
    if not all(isinstance(one, dict) and isinstance(one.get("result"), list) for one in given):
        raise ValueError(f"column 'annotations': {shown(given)} are none of Label Studio's; each has a list 'result'")
    valid = [one["result"] for one in given if not one.get("was_cancelled")]
    if len(valid) > 1:
        raise ValueError(
            f"column 'annotations': there are {len(valid)} annotations of one text; keep the one that counts"
        )
    data: dict[str, Any] = value["data"]
    return {**data, **_found(valid[0], data)} if valid else dict(data)


def without_choices(value: dict[str, Any]) -> dict[str, Any]:
    """A row of JSON-MIN with choices as a list; every other row as it is."""
    if not any(_is_choices(one) for one in value.values()):
        return value
    return {name: one["choices"] if _is_choices(one) else one for name, one in value.items()}


def _is_choices(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"choices"} and isinstance(value["choices"], list)


def _annotations(value: Mapping[str, Any]) -> Any:
    """Older exports call them completions."""
    return value.get("annotations", value.get("completions"))


def _found(results: list[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Every result under the name of its control, spans together; an annotation without results has no spans."""
    found: dict[str, Any] = {}
    spans = []
    for result in results:
        kind, value = _parts(result)
        if kind == "labels":
            spans.append(value)
            continue
        name = result.get("from_name")
        if not isinstance(name, str):
            raise ValueError(f"column 'annotations': the result {shown(result)} names no control (from_name)")
        if name in data:
            raise ValueError(
                f"column 'annotations': the control {name!r} is called as a column of its data; rename one of them"
            )
        found[name] = value["choices"] if kind == "choices" else value[kind]
    return found if found and not spans else found | {SPANS: spans}


def _parts(result: Any) -> tuple[str, Any]:
    """Type and value of a result. Raises ValueError for one that cannot be read."""
    kind, value = (result.get("type"), result.get("value")) if isinstance(result, dict) else (None, None)
    held = _is_choices(value) if kind == "choices" else isinstance(value, dict) and kind in _NUMBERS and kind in value
    if kind != "labels" and not held:
        raise ValueError(
            f"column 'annotations': the result {shown(result)} is of type {kind!r}, and only 'labels', spans of a "
            "text, 'choices', 'number' and 'rating' can be read, each with its value; export a project with these alone"
        )
    return str(kind), value
