"""Labels by their names or descriptions, and texts that these are put into. Knows no models."""

from __future__ import annotations

from typing import Any

NAME = "{}"
"""Where the name or the description of a label stands."""


def as_classes(value: Any) -> Any:
    """`[a, b]` are labels that their names describe; for pydantic, before it looks."""
    return {str(name): "" for name in value} if isinstance(value, list) else value


def with_a_place(value: tuple[str, ...]) -> tuple[str, ...]:
    """The templates. Raises ValueError for one without a place, and for none."""
    wrong = [template for template in value if template.count(NAME) != 1]
    if wrong or not value:
        raise ValueError(f"{wrong[0] if wrong else value!r} must hold {NAME} once, where the name of a label stands")
    return value
