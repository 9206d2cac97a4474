"""Parquet files."""

from __future__ import annotations

import pytest

from adaptune.core.errors import DataError, MissingExtra
from adaptune.data.formats import parquet
from adaptune.data.formats.parquet import read_parquet


def test_records_are_numbered_from_1(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    write = pytest.importorskip("pyarrow.parquet").write_table
    table = pyarrow.table({"tokens": [["Ann", "ran"], ["Bob"]], "label": [1, None]})
    write(table, tmp_path / "train.parquet")
    read = read_parquet(tmp_path / "train.parquet", "train.parquet")
    assert read.columns == ("tokens", "label")
    assert [(record.number, dict(record.values)) for record in read.records] == [
        (1, {"tokens": ["Ann", "ran"], "label": 1}),
        (2, {"tokens": ["Bob"], "label": None}),
    ]


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"train.parquet is no whole parquet file: .*; write or copy it again"):
        read_parquet(tmp_path / "train.parquet", "train.parquet")


def test_without_pyarrow_the_message_says_what_to_install(tmp_path, monkeypatch):
    class Missing:
        @property
        def ParquetFile(self):  # noqa: N802
            raise ModuleNotFoundError("No module named 'pyarrow'")

    monkeypatch.setattr(parquet, "pyarrow_parquet", Missing())
    with pytest.raises(MissingExtra, match=r"needs pyarrow, .* pip install 'adaptune\[parquet\]'"):
        read_parquet(tmp_path / "train.parquet", "train.parquet")
