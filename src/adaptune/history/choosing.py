"""Which of the runs found are asked for, and in which order. Reads recipes only where a condition names their keys."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from adaptune.core.errors import AdaptuneError, nearest
from adaptune.history.found import Found, recipe_of

SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "==": operator.eq,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
OWN = ("seed", "seconds", "steps", "trained", "state", "kind", "task", "approach", "method", "model", "metric")
"""What is known of a run beside its scores."""

_CONDITION = re.compile(r"\s*([\w.@-]+?)\s*(>=|<=|!=|==|=|>|<)\s*(.+?)\s*")


@dataclass(frozen=True, slots=True)
class Condition:
    """`accuracy>0.9`: a score of the test rows, of `valid.` rows, a fact of the run, or a key of its recipe."""

    name: str
    sign: str
    value: str

    def holds(self, found: Found) -> bool:
        """Whether a run has such a value. Raises AdaptuneError where words are to be larger or smaller."""
        value = value_of(found, self.name)
        if value is None:
            return False
        wanted = _number(self.value)
        if isinstance(value, bool) or wanted is None or not isinstance(value, int | float):
            if self.sign not in ("=", "==", "!="):
                raise AdaptuneError(
                    f"--where: {self.name} is {value!r} in {found.path}, and {self.value!r} cannot be compared with it "
                    "by size; use = or !="
                )
            text = str(value).lower() if isinstance(value, bool) else str(value)
            return SIGNS[self.sign](text, self.value)
        return SIGNS[self.sign](value, wanted)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a list is asked for; None: all."""

    task: str | None = None
    method: str | None = None
    model: str | None = None
    """A part of its name."""
    since: datetime | None = None
    conditions: tuple[Condition, ...] = ()

    @property
    def everything(self) -> bool:
        return self == Asked()

    def fits(self, found: Found) -> bool:
        """Whether it is asked for; a group of runs has no method and no scores of its own."""
        return (
            (self.task is None or self.task in found.task.split(", "))
            and (self.method is None or self.method == found.method)
            and (self.model is None or self.model.lower() in found.model.lower())
            and (self.since is None or found.begun >= self.since)
            and all(condition.holds(found) for condition in self.conditions)
        )


def condition(text: str) -> Condition:
    """Raises AdaptuneError."""
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise AdaptuneError(
            f"--where: {text!r} is no condition; write a name, a sign and a value, as 'accuracy>0.9', "
            "'valid.macro_f1>=0.8' or 'method.rank=16'"
        )
    return Condition(found[1], found[2], found[3])


def chosen(runs: Sequence[Found], asked: Asked) -> list[Found]:
    """The runs that are asked for, with the groups that they belong to. Raises AdaptuneError for a name none has."""
    for one in asked.conditions:
        _refuse_unknown(one.name, runs)
    if asked.everything:
        return list(runs)
    fitting = [run for run in runs if run.kind == "run" and asked.fits(run)]
    alone = {run.path for run in runs if run.kind == "search" and asked.fits(run)}
    kept = {run.path for run in fitting} | {run.group for run in fitting} | alone
    return [run for run in runs if run.path in kept]


def ordered(runs: Sequence[Found], by: str | None, *, reverse: bool = False) -> list[Found]:
    """The newest first, or by a name; numbers from large to small, words from a to z, runs without the value last.

    The runs of a group stay behind it. Raises AdaptuneError for a name that no run has.
    """
    if by is not None and by != "name":
        _refuse_unknown(by, runs)
    key = {run.path: _key(run, by) for run in runs}
    members: dict[Path | None, list[Found]] = {}
    for run in runs:
        members.setdefault(run.group if run.group in key else None, []).append(run)
    sorted_members = {group: _by_key(of, key, reverse=reverse) for group, of in members.items() if group is not None}
    for group, of in sorted_members.items():  # one without such a value stands where the first of its runs would
        key[group] = key[of[0].path] if key[group] is None else key[group]
    tops = _by_key(members.get(None, []), key, reverse=reverse)
    return [run for top in tops for run in (top, *sorted_members.get(top.path, ()))]


def value_of(found: Found, name: str) -> Any:
    """A score, a fact of the run or a value of its recipe; None where it has none of that name."""
    part, _, metric = name.partition(".")
    if part in ("valid", "test") and metric in (scores := getattr(found, part)):
        return scores[metric]
    if name in found.test:
        return found.test[name]
    if name in found.valid:
        return found.valid[name]
    if name in OWN:
        value = getattr(found, name)
        return None if value == "" else value
    if name in ("valid", "test") and found.metric is not None:
        return getattr(found, name).get(found.metric)
    if part not in ("valid", "test") and found.kind in ("run", "tasks"):
        return _in_recipe(found.path, name)
    return None


def _in_recipe(path: Path, name: str) -> Any:
    place: Any = recipe_of(path)
    for key in name.split("."):
        place = place.get(key) if isinstance(place, dict) else None
    return None if isinstance(place, dict | list) else place


def _refuse_unknown(name: str, runs: Iterable[Found]) -> None:
    if name == "begun" or not (some := [run for run in runs if run.kind in ("run", "tasks")]):
        return
    if any(value_of(run, name) is not None for run in some):
        return
    known = [*sorted({metric for run in some for metric in (*run.test, *run.valid)}), *OWN, "method.rank"]
    raise AdaptuneError(
        f"no run has {name!r}{nearest(name, known)} (there are: scores, with valid. before them those of validation "
        f"rows; keys of a recipe, as train.epochs; {', '.join(OWN)})"
    )


def _key(run: Found, by: str | None) -> Any:
    if by is None or by == "begun":
        return run.begun
    return str(run.path) if by == "name" else value_of(run, by)


def _by_key(runs: Sequence[Found], key: Mapping[Path, Any], *, reverse: bool) -> list[Found]:
    having = [run for run in runs if key[run.path] is not None]
    words = any(isinstance(key[run.path], str) for run in having)
    having.sort(key=lambda run: str(key[run.path]) if words else key[run.path], reverse=words == reverse)
    return having + [run for run in runs if key[run.path] is None]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
