"""Turns of a conversation out of rows as OpenAI, ShareGPT and Alpaca write them. Knows no scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptune.core.errors import DataError
from adaptune.core.types import Role, Row, Turn

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "human": "user",
    "gpt": "assistant",
}
_KEYS = (("role", "content"), ("from", "value"))
"""What a turn calls its role and its text: OpenAI, ShareGPT."""


def turns_of(row: Row, roles: Mapping[str, Role]) -> tuple[Turn, ...]:
    """At least one turn; `roles` are further names. Raises DataError."""
    flat = [name for name in ("instruction", "input", "output", "history") if name in row.values]
    if "messages" not in row.values:
        return tuple(_of_instruction(row))
    if flat:
        raise DataError(
            f"{row.where}: it has messages and {flat[0]!r}, of which one alone can be the conversation; say which in "
            "data.columns, or remove one"
        )
    return (*_system(row), *_of_messages(row, {**_ROLES, **roles}))


def _of_messages(row: Row, roles: Mapping[str, Role]) -> list[Turn]:
    value = row.values["messages"]
    if isinstance(value, str):
        return [Turn("user", _filled(value, f"{row.where}, column 'messages'"))]
    if not isinstance(value, (list, tuple)) or not value:
        raise DataError(
            f'{row.where}, column \'messages\': expected a list of turns, [{{"role": "user", "content": ...}}, ...], '
            f"got {_shown(value)}; correct or remove the row"
        )
    turns = [_turn(one, f"{row.where}, turn {number}", roles) for number, one in enumerate(value, 1)]
    if turns[-1].role == "system":
        raise DataError(f"{row.where}: the last turn is the system's, to which nobody replies; remove it or the row")
    return turns


def _turn(value: Any, where: str, roles: Mapping[str, Role]) -> Turn:
    if not isinstance(value, Mapping):
        raise DataError(f'{where}: expected {{"role": ..., "content": ...}}, got {_shown(value)}; correct the row')
    by, said = next((keys for keys in _KEYS if keys[0] in value), (None, None))
    if by is None or said is None:
        has = ", ".join(map(repr, value)) or "nothing"
        raise DataError(f"{where}: it names no role, neither as 'role' nor as 'from' (it has: {has}); add it")
    role = value[by]
    if not isinstance(role, str) or role not in roles:
        raise DataError(
            f"{where}: the role {_shown(role)} is not known (there are: {', '.join(roles)}); say which it is: "
            "task.roles: {NAME: assistant}, or correct the row"
        )
    return Turn(roles[role], _filled(value.get(said), f"{where}, {said!r}"))


def _of_instruction(row: Row) -> list[Turn]:
    """Alpaca's: a question of two parts, and its answer."""
    if "instruction" not in row.values:
        raise DataError(f"{row.where}: it has neither messages nor an instruction; give one, or remove the row")
    turns = _system(row)
    for number, pair in enumerate(_pairs(row), 1):
        where = f"{row.where}, column 'history', pair {number}"
        turns += [Turn("user", _filled(pair[0], where)), Turn("assistant", _filled(pair[1], where))]
    asked = _filled(row.values["instruction"], f"{row.where}, column 'instruction'")
    about = row.values.get("input")
    if about is not None and not isinstance(about, str):
        raise DataError(f"{row.where}, column 'input': expected text, got {_shown(about)}; correct the row")
    turns.append(Turn("user", f"{asked}\n{about}" if about and about.strip() else asked))
    if "output" in row.values:
        turns.append(Turn("assistant", _filled(row.values["output"], f"{row.where}, column 'output'")))
    return turns


def _system(row: Row) -> list[Turn]:
    value = row.values.get("system")
    if value is None or value == "":
        return []
    return [Turn("system", _filled(value, f"{row.where}, column 'system'"))]


def _pairs(row: Row) -> list[Any]:
    value = row.values.get("history") or []
    pairs = isinstance(value, (list, tuple)) and all(isinstance(one, (list, tuple)) and len(one) == 2 for one in value)
    if not pairs:
        raise DataError(
            f"{row.where}, column 'history': expected a list of pairs, [[question, reply], ...], got {_shown(value)}; "
            "correct the row"
        )
    return list(value)


def _filled(value: Any, where: str) -> str:
    if not isinstance(value, str):
        found = "is missing" if value is None else f"is {_shown(value)}"
        raise DataError(f"{where}: the text {found}, expected text; correct or remove the row")
    if not value.strip():
        raise DataError(f"{where}: the text {value!r} is empty; fill it or remove the row")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."
