"""Which column of a file is which of the task's: as the recipe maps them, or by the names that files give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adaptune.core.errors import DataError, nearest
from adaptune.core.task import Column
from adaptune.data.table import Table, shown


def resolve(table: Table, columns: Sequence[Column], mapping: Mapping[str, str], *, labelled: bool) -> dict[str, str]:
    """The file's name of each of the task's columns; label columns only where the rows are to be labelled.

    Raises DataError for columns that are missing, mapped to nothing, or of which several could be meant.
    """
    known = [column.name for column in columns]
    for name in mapping:
        if name not in known:
            raise DataError(
                f"data.columns: the task has no column {name!r}{nearest(name, known)} (it has: {', '.join(known)})"
            )
    wanted = [column for column in columns if labelled or not column.label]
    chosen = {column.name: _mapped(mapping[column.name], column, table) for column in wanted if column.name in mapping}
    chosen |= _by_own_names([column for column in wanted if column.name not in chosen], _free(table, chosen))
    for column in wanted:
        if column.name not in chosen and (there := _by_alias(column, _free(table, chosen), table.source)) is not None:
            chosen[column.name] = there
    missing = [column for column in wanted if column.required and column.name not in chosen]
    for kind in (False, True):  # where several columns may stand for each other, one of them must be there
        same = [column for column in wanted if column.label is kind and not column.implied]
        answered = kind and any(column.whole and column.name in chosen for column in wanted)
        if same and not missing and not answered and not any(column.name in chosen for column in same):
            raise DataError(_missing(same, table, " or "))
    if missing:
        raise DataError(_missing(missing, table, " and "))
    return {column.name: chosen[column.name] for column in wanted if column.name in chosen}


def _mapped(name: str, column: Column, table: Table) -> str:
    if name in table.columns or (column.several and all(part in table.columns for part in several(name))):
        return name
    raise DataError(
        f"{table.source} has no column {name!r}, which data.columns gives for {column.name!r}"
        f"{nearest(name, table.columns)} (it has: {_listed(table.columns)}){table.hint}"
    )


def several(name: str) -> list[str]:
    """The columns of a file that together stand for one of the task's."""
    return [part.strip() for part in name.split(",")]


def _free(table: Table, chosen: Mapping[str, str]) -> list[str]:
    return [name for name in table.columns if name not in chosen.values()]


def _by_own_names(columns: Sequence[Column], found: Sequence[str]) -> dict[str, str]:
    """The file's columns that are called as the task's, if need be in another case."""
    matches = {column.name: _matches([column.name], found) for column in columns}
    exact = {name: name for name, same in matches.items() if name in same}
    return exact | {name: same[0] for name, same in matches.items() if len(same) == 1 and name not in exact}


def _by_alias(column: Column, found: Sequence[str], source: str) -> str | None:
    """The file's column that bears a name usual for the task's. Raises DataError where several do."""
    matches = _matches([column.name, *column.aliases], found)
    if len(matches) > 1:
        raise DataError(
            f"{source}: the column {column.name!r} ({column.help}) could be {' or '.join(map(repr, matches))}; "
            f"say which: data.columns: {{{column.name}: {matches[0]}}}"
        )
    return matches[0] if matches else None


def _matches(names: Sequence[str], found: Sequence[str]) -> list[str]:
    """The file's columns that bear one of the names, best first."""
    return [name for alias in names for name in found if name.casefold() == alias.casefold()]


def _missing(columns: Sequence[Column], table: Table, joined: str) -> str:
    what = joined.join(f"{column.name!r} ({column.help})" for column in columns)
    example = ", ".join(f"{column.name}: NAME" for column in (columns if joined == " and " else columns[:1]))
    has = _listed(table.columns)
    remedy = f"say which it is: data.columns: {{{example}}}{table.hint}"
    return f"{table.source} has no column for {what}; it has: {has}; {remedy}"


def _listed(found: Sequence[str]) -> str:
    names = [shown(name, 40) for name in found[:20]]
    more = [f"and {len(found) - 20} more"] if len(found) > 20 else []
    return ", ".join([*names, *more]) or "none"
