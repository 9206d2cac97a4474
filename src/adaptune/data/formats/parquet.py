"""Parquet files, by pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adaptune.core.errors import DataError, MissingExtra
from adaptune.core.lazy import pyarrow_parquet
from adaptune.data.table import Record, Table

AT_ONCE = 4096
"""Rows that are read together."""


def read_parquet(path: Path, source: str) -> Table:
    """Every record, numbered from 1. Raises MissingExtra, DataError."""
    table, records = open_parquet(path, source)
    table.records = list(records)
    return table


def open_parquet(path: Path, source: str) -> tuple[Table, Iterator[Record]]:
    """The same as a table without its records, and these one after another."""
    try:
        open_file = pyarrow_parquet.ParquetFile
    except ModuleNotFoundError:
        raise MissingExtra("pyarrow", "parquet", f"reading {source}") from None
    try:
        content = open_file(path)
    except (OSError, ValueError, NotImplementedError) as error:
        raise _not_whole(source, error) from None
    return Table(source, tuple(content.schema_arrow.names), []), _records(content, source)


def _records(content: Any, source: str) -> Iterator[Record]:
    number = 0
    try:
        for batch in content.iter_batches(AT_ONCE):
            for values in batch.to_pylist():
                number += 1
                yield Record(number, values)
    except (OSError, ValueError, NotImplementedError) as error:
        raise _not_whole(source, error) from None
    finally:
        content.close()


def _not_whole(source: str, error: Exception) -> DataError:
    """pyarrow's own errors are all of OSError, ValueError and NotImplementedError."""
    reason = str(error).splitlines()[0]
    return DataError(f"{source} is no whole parquet file: {reason}; write or copy it again")
