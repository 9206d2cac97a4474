"""Catalogues: the file's name is the name in a recipe; a new part is one new file and no edit elsewhere."""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

from adaptune.core.config import Part
from adaptune.core.errors import Unsupported, nearest

P = TypeVar("P", bound=Part)


class Catalogue(Generic[P]):
    """The parts in one package, one public file each."""

    def __init__(self, package: str, kind: type[P]) -> None:
        self.package = package
        self.kind = kind

    @property
    def noun(self) -> str:
        """What one entry is called in messages: the kind's name in lower case."""
        return self.kind.__name__.lower()

    def names(self) -> list[str]:
        """Every name, sorted; lists the folder and imports nothing."""
        spec = find_spec(self.package)
        assert spec is not None and spec.submodule_search_locations is not None, self.package
        files = [file for folder in spec.submodule_search_locations for file in Path(folder).glob("*.py")]
        return sorted(file.stem for file in files if not file.stem.startswith("_"))

    def get(self, name: str) -> type[P]:
        """The part called `name`. Raises Unsupported with the nearest right name."""
        names = self.names()
        if name not in names:
            known = ", ".join(names)
            raise Unsupported(f"{name!r} is no {self.noun}{nearest(name, names)} (there are: {known})")
        module = import_module(f"{self.package}.{name}")
        parts: list[type[P]] = [part for part in vars(module).values() if self._defined_in(part, module.__name__)]
        assert len(parts) == 1, f"{module.__name__} must define exactly one {self.noun}, found {parts}"
        parts[0].name = name
        return parts[0]

    def make(self, section: dict[str, Any]) -> P:
        """The part that a section such as {"name": "lora", "rank": 16} describes. Raises pydantic's ValidationError."""
        fields = {key: value for key, value in section.items() if key != "name"}
        return self.get(section["name"]).model_validate(fields)

    def _defined_in(self, part: object, module: str) -> bool:
        return (
            inspect.isclass(part)
            and issubclass(part, self.kind)
            and part.__module__ == module
            and not inspect.isabstract(part)
            and not part.__name__.startswith("_")
        )


def section(part: Part) -> dict[str, Any]:
    """The section of a recipe that describes a part: its name and every field, as plain JSON values."""
    return {"name": part.name, **part.model_dump(mode="json")}
