"""Data sets of a hub, `hub:NAME`, `hub:NAME:CONFIG`, `hub:NAME@SPLIT`, by the library datasets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from adaptune.core.errors import DataError, MissingExtra, nearest
from adaptune.core.lazy import datasets
from adaptune.data.table import Opened, Record, Table

_PREFIX = "hub:"
_ADDRESS = re.compile(r"hub:(?P<name>[^:@]+)(:(?P<config>[^@]+))?(@(?P<split>.+))?")
_SPLITS = {"train": ("train",), "valid": ("validation", "valid", "dev"), "test": ("test",)}
"""Part of a run -> names that data sets give it, best first."""
BUFFER = 10_000
"""Rows that a stream is shuffled in."""


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


class Drawn(NamedTuple):
    """How many rows of a stream are enough."""

    rows: int
    seed: int


def read_hub(source: str, part: str) -> tuple[Table, str]:
    """Every record, numbered from 1, and the fingerprint that the library gives; numbered classes under their names.

    `part` is train, valid or test; it chooses the split where the address names none. Raises DataError, MissingExtra.
    """
    content = _loaded(source, part)
    names = _named_columns(content.features)
    records = [Record(number, _named(values, names)) for number, values in enumerate(content, start=1)]
    return Table(source, tuple(content.column_names), records), str(content._fingerprint)


def open_hub(source: str, part: str, drawn: Drawn | None = None) -> Opened:
    """The same one record after another, without a download of the whole; of every column that the first record has.

    `drawn`: so many rows, out of a buffer that is filled in the order of the data set and shuffled by the seed, its
    files too; they are numbered as they come. Nothing else is read.
    """
    content = _loaded(source, part, streaming=True)
    names = _named_columns(content.features or {})
    if drawn is not None:
        content = content.shuffle(seed=drawn.seed, buffer_size=BUFFER).take(drawn.rows)
    rows = _read_on(content, source)
    first = next(rows, None)
    table = Table(source, tuple(first or content.column_names or ()), [])
    every = chain([] if first is None else [first], rows)
    return Opened(table, (Record(number, _named(values, names)) for number, values in enumerate(every, start=1)), "")


def size_of_hub(source: str, part: str) -> int:
    """Bytes that a data set says its split has; 0 where it says nothing, or cannot be reached."""
    address = parse(source)
    try:
        splits = datasets.load_dataset_builder(address.name, address.config).info.splits or {}
    except Exception:  # loading it will say why
        return 0
    names = (address.split,) if address.split else _SPLITS[part]
    found = next((splits[name] for name in names if name in splits), None)
    return 0 if found is None else int(found.num_bytes or 0)


def _loaded(source: str, part: str, **options: bool) -> Any:
    """The split of a data set. Raises DataError, MissingExtra."""
    address = parse(source)
    try:
        load = datasets.load_dataset
    except ModuleNotFoundError:
        raise MissingExtra("datasets", "hub", f"reading {source}") from None
    try:
        every = load(address.name, address.config, **options)
    except Exception as error:  # the library lets through what any of its own libraries raise
        raise _unreachable(source, error) from error
    return every[_split_of(address, part, list(every), source)]


def _read_on(content: Any, source: str) -> Iterator[Mapping[str, Any]]:
    try:
        yield from content
    except Exception as error:
        raise _unreachable(source, error) from error


def _unreachable(source: str, error: Exception) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(
        f"{source} cannot be loaded: {reason}; check its name and that the hub can be reached, or give a file"
    )


def _named_columns(features: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """The names of the classes of every column that holds their numbers."""
    return {column: found for column, feature in features.items() if (found := _class_names(feature))}


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
