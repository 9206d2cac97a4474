"""Files of a data section, read past what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptune.core.errors import DataError
from adaptune.data.config import DataConfig
from adaptune.data.examine import examine
from adaptune.tasks.classify import Classify


def test_bad_rows_of_every_file_are_findings_beside_all_others(tmp_path: Path) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("text,label\ngood,yes\nbad,no\n,yes\n", encoding="utf-8")
    test.write_text("text,label\ngood,yes\nso so,maybe\nfine,\n", encoding="utf-8")
    found = examine(DataConfig(train=str(train), test=str(test)), Classify())
    assert [example.expected for example in found.examples] == ["yes", "no", "yes", "maybe"]
    assert found.findings.rows == {"train": 2, "test": 2}
    errors = "\n".join(str(error) for error in found.findings.errors)
    assert "train.csv, row 4, column 'text'" in errors
    assert "test.csv, row 4, column 'label'" in errors
    assert "test: the label 'maybe' stands in no training row" in errors
    assert any("1 row of test has a text that is also in train" in str(one) for one in found.findings.warnings)


def test_a_file_without_one_usable_row_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    file.write_text("text,label\n,yes\n", encoding="utf-8")
    with pytest.raises(DataError, match="none of its 1 rows can be used"):
        examine(DataConfig(train=str(file)), Classify())
