"""Parquet files, by pyarrow."""

from __future__ import annotations

from pathlib import Path

from adaptune.core.errors import DataError, MissingExtra
from adaptune.core.lazy import pyarrow_parquet
from adaptune.data.table import Record, Table


def read_parquet(path: Path, source: str) -> Table:
    """Every record, numbered from 1. Raises MissingExtra, DataError."""
    try:
        read_table = pyarrow_parquet.read_table
    except ModuleNotFoundError:
        raise MissingExtra("pyarrow", "parquet", f"reading {source}") from None
    try:
        content = read_table(path)
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's own errors are all of these
        reason = str(error).splitlines()[0]
        raise DataError(f"{source} is no whole parquet file: {reason}; write or copy it again") from None
    records = [Record(number, values) for number, values in enumerate(content.to_pylist(), start=1)]
    return Table(source, tuple(content.column_names), records)
