"""What is compared, as people write it: `lora(rank=16), contrast+lora`. Loads no model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from adaptune.core.catalogue import Catalogue, section
from adaptune.core.config import Part
from adaptune.core.errors import AdaptuneError, nearest
from adaptune.core.method import Method
from adaptune.methods import METHODS
from adaptune.recipe import Recipe
from adaptune.recipe.phrases import problems_of

APPROACHES: Catalogue[Any] | None = None
"""The ways to put a task to a model, once there is a catalogue of them: then this is that catalogue, and the recipe's
key `approach` takes what a candidate names."""

_PART = re.compile(r"\s*([\w-]+)\s*(?:\((.*)\))?\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the systems that are compared; what it does not name is as the recipe has it."""

    name: str
    """As it was written, without spaces."""
    method: Method
    approach: Part | None = None

    @property
    def folder(self) -> str:
        """A name for files: `lora(rank=16)` is `lora-rank-16`."""
        return re.sub(r"[^\w.+]+", "-", self.name).strip("-")

    def recipe(self, recipe: Recipe) -> Recipe:
        """The recipe with this candidate in it."""
        approach = {} if self.approach is None else {"approach": self.approach}
        recipe = recipe.model_copy(update={"method": self.method, **approach})
        if self.method.steps:
            return recipe
        return recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": 0.0})})

    def sections(self) -> dict[str, Any]:
        """Method and approach as a recipe's sections."""
        approach = {} if self.approach is None else {"approach": section(self.approach)}
        return {"method": section(self.method), **approach}


def parse_candidates(text: str, recipe: Recipe) -> list[Candidate]:
    """Candidates with commas between them. Raises AdaptuneError that names every fault at once."""
    found, problems = [], []
    for one in _split(text, ","):
        try:
            found.append(_candidate(one, recipe))
        except AdaptuneError as error:
            problems.append(str(error))
    names = [candidate.name for candidate in found]
    problems += [f"{name!r} stands there twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if not found and not problems:
        problems.append("there is none; name some, as lora,adapter,head_only")
    if problems:
        raise AdaptuneError("--candidates:\n" + "\n".join(f"  - {problem}" for problem in problems))
    return found


def _candidate(text: str, recipe: Recipe) -> Candidate:
    method: Method | None = None
    approach: Part | None = None
    for piece in _split(text, "+"):
        part = _part(piece)
        if isinstance(part, Method):
            if method is not None:
                raise AdaptuneError(f"{text.strip()!r} names two methods; a candidate is METHOD or APPROACH+METHOD")
            method = part
        elif approach is not None:
            raise AdaptuneError(f"{text.strip()!r} names two approaches; a candidate is METHOD or APPROACH+METHOD")
        else:
            approach = part
    return Candidate("".join(text.split()), method or recipe.method, approach)


def _part(text: str) -> Part:
    """A method or an approach with its settings. Raises AdaptuneError."""
    match = _PART.fullmatch(text)
    if match is None:
        raise AdaptuneError(f"{text.strip()!r} is no candidate; write a name, or a name with settings: lora(rank=16)")
    name, given = match[1], match[2]
    catalogues: list[Catalogue[Any]] = [METHODS, *([APPROACHES] if APPROACHES is not None else [])]
    catalogue = next((one for one in catalogues if name in one.names()), None)
    if catalogue is None:
        known = [there for one in catalogues for there in one.names()]
        kinds = " or ".join(f"{one.noun}" for one in catalogues)
        raise AdaptuneError(f"{name!r} is no {kinds}{nearest(name, known)} (there are: {', '.join(known)})")
    kind, values = catalogue.get(name), dict(_settings(given or "", text.strip()))
    try:
        part: Part = kind.model_validate(values)
    except ValidationError as error:
        raise AdaptuneError("; ".join(problem for _, problem in problems_of(error, kind, values, name))) from None
    return part


def _settings(text: str, whole: str) -> Iterator[tuple[str, Any]]:
    for setting in _split(text, ","):
        name, equals, value = setting.partition("=")
        if not equals:
            raise AdaptuneError(f"{whole!r}: {setting.strip()!r} is no setting; write NAME=VALUE, as rank=16")
        yield name.strip(), yaml.safe_load(value)


def _split(text: str, sign: str) -> Iterable[str]:
    """Pieces between signs that stand in no brackets; empty ones are left out."""
    depth, pieces = 0, [""]
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == sign and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    return [piece for piece in pieces if piece.strip()]
