"""Data sets of a hub, `hub:NAME`, `hub:NAME:CONFIG`, `hub:NAME@SPLIT`, by the library datasets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from adaptune.core.errors import DataError, MissingExtra, nearest
from adaptune.core.lazy import datasets
from adaptune.data.table import Record, Table

_PREFIX = "hub:"
_ADDRESS = re.compile(r"hub:(?P<name>[^:@]+)(:(?P<config>[^@]+))?(@(?P<split>.+))?")
_SPLITS = {"train": ("train",), "valid": ("validation", "valid", "dev"), "test": ("test",)}
"""Part of a run -> names that data sets give it, best first."""


class Address(NamedTuple):
    """What an address says."""

    name: str
    config: str | None
    split: str | None


def is_of_hub(source: str) -> bool:
    """Whether a source names a data set of a hub, and not a file."""
    return source.startswith(_PREFIX)


def parse(source: str) -> Address:
    """The parts of an address. Raises DataError."""
    found = _ADDRESS.fullmatch(source)
    if found is None:
        raise DataError(f"{source!r} is no address; expected hub:NAME, hub:NAME:CONFIG or hub:NAME:CONFIG@SPLIT")
    return Address(found["name"], found["config"], found["split"])


def read_hub(source: str, part: str) -> tuple[Table, str]:
    """Every record, numbered from 1, and the fingerprint that the library gives; numbered classes under their names.

    `part` is train, valid or test; it chooses the split where the address names none. Raises DataError, MissingExtra.
    """
    address = parse(source)
    try:
        load = datasets.load_dataset
    except ModuleNotFoundError:
        raise MissingExtra("datasets", "hub", f"reading {source}") from None
    try:
        every = load(address.name, address.config)
    except Exception as error:  # the library lets through what any of its own libraries raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{source} cannot be loaded: {reason}; check its name and that the hub can be reached, or give a file"
        ) from error
    content = every[_split_of(address, part, list(every), source)]
    names = {column: found for column, feature in content.features.items() if (found := _class_names(feature))}
    records = [Record(number, _named(values, names)) for number, values in enumerate(content, start=1)]
    return Table(source, tuple(content.column_names), records), str(content._fingerprint)


def _split_of(address: Address, part: str, found: Sequence[str], source: str) -> str:
    usual = (address.split,) if address.split else _SPLITS[part]
    for name in usual:
        if name in found:
            return name
    raise DataError(
        f"{source} has no split {usual[0]!r}{nearest(usual[0], found)} (it has: {', '.join(found)}); "
        f"name one: {_PREFIX}NAME@SPLIT"
    )


def _class_names(feature: Any) -> Sequence[str] | None:
    """The names of a column of numbered classes, or of lists of them."""
    inner = getattr(feature, "feature", feature)
    return getattr(inner, "names", None)


def _named(values: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {column: _name(value, names.get(column)) for column, value in values.items()}


def _name(value: Any, names: Sequence[str] | None) -> Any:
    if names is None or value is None:
        return value
    if isinstance(value, list):
        return [_name(one, names) for one in value]
    return None if value < 0 else names[value]
