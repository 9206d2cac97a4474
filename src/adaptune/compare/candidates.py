"""What is compared, as people write it: `lora(rank=16), contrast+lora`. Loads no model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from adaptune.approaches import APPROACHES
from adaptune.approaches.finetune import Finetune
from adaptune.core.approach import Approach
from adaptune.core.catalogue import Catalogue, section
from adaptune.core.config import Part
from adaptune.core.errors import AdaptuneError, Unsupported, nearest
from adaptune.core.head import Head
from adaptune.core.method import Method
from adaptune.engine.config import TrainConfig
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.recipe import Recipe
from adaptune.recipe.phrases import problems_of

LONGEST = 60
"""Letters of a folder's name, from which on a digest stands for the rest."""
_OPENS = "=([{,:"
"""A quote behind one of these, or at the beginning, quotes a text, as in YAML."""
_PART = re.compile(r"\s*([\w-]+)\s*(?:\((.*)\))?\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the systems that are compared; what it does not name is as the recipe has it."""

    name: str
    """As it was written, without spaces but in quotes."""
    method: Method
    """The one that it names, else the approach's own, else the recipe's."""
    approach: Approach | None = None

    @property
    def folder(self) -> str:
        """A name for files: `lora(rank=16)` is `lora-rank-16`."""
        plain = re.sub(r"[^\w.+]+", "-", self.name).strip("-")
        if len(plain) <= LONGEST and not set(self.name) & {'"', "'"}:
            return plain
        # Templates that differ in signs alone are others.
        return f"{plain[:LONGEST].strip('-')}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"

    def recipe(self, recipe: Recipe) -> Recipe:
        """The recipe with this candidate in it. Raises Unsupported where the two do not fit."""
        approach = self.approach or recipe.approach
        head = _head(recipe, approach)
        approach.check(recipe.task, self.method, head)
        epochs = self._epochs(recipe, approach, head)
        without = recipe.data.train is None or recipe.data.shots == 0
        if without and (approach.needs_rows or epochs):
            raise Unsupported("it learns from labelled rows, and the recipe has none for training")
        train = recipe.train.model_copy(update={"epochs": epochs})
        return recipe.model_copy(
            update={"approach": approach, "head": head, "method": self.method, "train": train},
        )

    def sections(self) -> dict[str, Any]:
        """Method and approach as a recipe's sections."""
        approach = {} if self.approach is None else {"approach": section(self.approach)}
        return {"method": section(self.method), **approach}

    def _epochs(self, recipe: Recipe, approach: Approach, head: Head) -> float:
        """None where no step is taken, or where the approach has taken its own; else the recipe's, if it has some."""
        if not self.method.steps or (self._is_the_head_alone(recipe, approach) and head.plain):
            return 0.0
        if approach.moves_trunk and approach.default_epochs is not None and approach.name != recipe.approach.name:
            return approach.default_epochs
        none_needed = not recipe.method.steps or recipe.approach.default_epochs == 0
        if recipe.train.epochs == 0 and none_needed and not approach.moves_trunk:
            return TrainConfig().epochs
        return recipe.train.epochs

    def _is_the_head_alone(self, recipe: Recipe, approach: Approach) -> bool:
        """Of which the warm start is the optimum, that no step betters."""
        whole = recipe.train.warm_start and recipe.train.warm_start_rows is None
        return whole and not self.method.changes_trunk and isinstance(approach, Finetune)


def _head(recipe: Recipe, approach: Approach) -> Head:
    """The recipe's, where the approach answers with it, else the approach's or the task's own. Raises Unsupported."""
    task, head = recipe.task, recipe.head
    answering = approach.heads(task)
    if not (head.name in answering if answering else head.target is task.target):
        head = HEADS.make({"name": next(iter(answering), task.default_head)}).for_task(task)
    return approach.for_head(head, task)


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
    approach: Approach | None = None
    for piece in _split(text, "+"):
        part = _part(piece)
        if isinstance(part, Method):
            if method is not None:
                raise AdaptuneError(f"{text.strip()!r} names two methods; a candidate is METHOD or APPROACH+METHOD")
            method = part
        elif approach is not None:
            raise AdaptuneError(f"{text.strip()!r} names two approaches; a candidate is METHOD or APPROACH+METHOD")
        else:
            assert isinstance(part, Approach)
            approach = part
    if method is None and approach is not None and approach.default_method is not None:
        method = METHODS.make({"name": approach.default_method})
    name = "".join(letter for letter, quoted in _letters(text) if quoted or not letter.isspace())
    return Candidate(name, method or recipe.method, approach)


def _part(text: str) -> Part:
    """A method or an approach with its settings. Raises AdaptuneError."""
    match = _PART.fullmatch(text)
    if match is None:
        raise AdaptuneError(f"{text.strip()!r} is no candidate; write a name, or a name with settings: lora(rank=16)")
    name, given = match[1], match[2]
    catalogues: tuple[Catalogue[Any], ...] = (METHODS, APPROACHES)
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
    """Pieces between signs that stand in no brackets and no quotes; empty ones are left out."""
    depth, pieces = 0, [""]
    for letter, quoted in _letters(text):
        if not quoted:
            depth += (letter in "([{") - (letter in ")]}")
        if letter == sign and depth == 0 and not quoted:
            pieces.append("")
        else:
            pieces[-1] += letter
    return [piece for piece in pieces if piece.strip()]


def _letters(text: str) -> Iterator[tuple[str, bool]]:
    """Each letter, and whether it stands in quotes, these included."""
    quote, before = "", "="
    for letter in text:
        opens = not quote and letter in "\"'" and before in _OPENS
        yield letter, bool(quote) or opens
        if opens:
            quote = letter
        elif letter == quote:
            quote = ""
        if not letter.isspace():
            before = letter
