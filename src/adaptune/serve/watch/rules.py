"""Rules in a YAML file: which condition on which bundle raises an alert. Knows no rows."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator

from adaptune.core.config import Config
from adaptune.core.errors import RecipeError, nearest
from adaptune.recipe.source import Source, read_source
from adaptune.serve.watch.durations import seconds_of
from adaptune.serve.watch.grammar import LONGEST, SHORTEST, Condition, calls_of, parse

EXPECTED = "rules stand in a mapping with the one key `rules`, a list of {name, bundle, when, ...}"


class Rule(Config):
    """One condition, and what is said where it holds."""

    name: str = Field(min_length=1, max_length=100)
    bundle: str = Field(min_length=1, max_length=100)
    task: str | None = None
    """Of a bundle of several, the one that is meant."""
    when: str
    """`share(label=negative, window=15m) > 0.4 and n >= 50`"""
    window: str | None = None
    """Of values that name none, `15m`."""
    cooldown: str = "30m"
    """After an alert, how long the rule raises no other."""
    severity: Literal["info", "warning", "critical"] = "warning"

    @field_validator("window")
    @classmethod
    def _is_window(cls, value: str | None) -> str | None:
        if value is not None and not SHORTEST <= seconds_of(value) <= LONGEST:
            raise ValueError(f"a window lasts from 10s to 30d, as 15m does; found {value!r}")
        return value

    @field_validator("cooldown")
    @classmethod
    def _is_duration(cls, value: str) -> str:
        seconds_of(value)
        return value

    @cached_property
    def condition(self) -> Condition:
        """Raises ConditionError."""
        return parse(self.when, None if self.window is None else seconds_of(self.window))

    @property
    def silence(self) -> float:
        """Seconds of the cooldown."""
        return seconds_of(self.cooldown)

    @property
    def windows(self) -> set[float]:
        """Seconds of every window that its condition looks at."""
        return {call.window for call in calls_of(self.condition) if call.window is not None}


def read_rules(file: Path) -> tuple[Rule, ...]:
    """The rules of a file. Raises RecipeError with every fault, each with its line, its rule and its place."""
    source = read_source(file, expected=EXPECTED)
    entries = source.sections.get("rules")
    for key in source.sections:
        if key != "rules":
            source.report(key, f"there is no key {key!r}{nearest(key, ['rules'])}; {EXPECTED}")
    if not isinstance(entries, list) or not entries:
        source.report("rules", f"there are no rules; {EXPECTED}")
        entries = []
    rules = [rule for place, entry in enumerate(entries) if (rule := _rule(entry, place, source)) is not None]
    _check_names(rules, source)
    if source.problems:
        raise RecipeError(str(file), source.in_order())
    return tuple(rules)


def _rule(entry: Any, place: int, source: Source) -> Rule | None:
    path = f"rules.{place}"
    named = entry.get("name") if isinstance(entry, dict) else None
    called = f"rule {place + 1}" + (f" {named!r}" if isinstance(named, str) else "")
    if not isinstance(entry, dict):
        source.report(path, f"{called} is {entry!r}, expected a mapping with name, bundle and when")
        return None
    try:
        rule = Rule.model_validate(entry)
    except ValidationError as error:
        for fault in error.errors():
            key = ".".join(map(str, fault["loc"]))
            source.report(f"{path}.{key}", f"{called}, {key}: {_told(fault['msg'], key, fault['type'], Rule)}")
        return None
    try:
        _ = rule.condition
    except ValueError as error:
        source.report(f"{path}.when", f"{called}, when, {error}")
        return None
    return rule


def _told(message: str, key: str, kind: str, model: type[BaseModel]) -> str:
    if kind == "extra_forbidden":
        known = list(model.model_fields)
        return f"there is no such key{nearest(key, known)} (a rule has: {', '.join(known)})"
    return re.sub(r"^Value error, ", "", message)


def _check_names(rules: list[Rule], source: Source) -> None:
    names = [rule.name for rule in rules]
    for name in sorted({name for name in names if names.count(name) > 1}):
        source.problems.append(f"{names.count(name)} rules are called {name!r}; give each a name of its own")
