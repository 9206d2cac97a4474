"""Two files whose lines belong together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adaptune.core.errors import DataError
from adaptune.data.config import DataConfig
from adaptune.data.formats.parallel import halves
from adaptune.data.read import examples_of, read
from adaptune.tasks import TASKS

TASK = TASKS.make({"name": "translate"})


def _config(folder: Path, one: str, other: str) -> DataConfig:
    (folder / "train.de").write_text(one, encoding="utf-8")
    (folder / "train.en").write_text(other, encoding="utf-8")
    return DataConfig(train=f"{folder}/train.{{de,en}}")


def test_two_files_are_named_in_one_word() -> None:
    assert halves("data/train.{de,en}") == ("data/train.de", "data/train.en")
    assert halves("{a,b}/x.txt") == ("a/x.txt", "b/x.txt")
    assert halves("data/train.csv") is None
    assert halves("${HOME}/train.csv") is None


def test_line_n_belongs_to_line_n(tmp_path: Path) -> None:
    config = _config(tmp_path, "Ein Hund.\n\nEine Katze.\n", "A dog.\n\nA cat.\n")
    found = read(config.train, config, TASK.columns)
    assert [(row.number, dict(row.values)) for row in found.rows] == [
        (1, {"source": "Ein Hund.", "target": "A dog."}),
        (3, {"source": "Eine Katze.", "target": "A cat."}),
    ]
    assert len(examples_of(found.rows, TASK, config).examples) == 2


def test_the_fingerprint_is_of_both_files(tmp_path: Path) -> None:
    one = _config(tmp_path, "a\n", "b\n")
    before = read(one.train, one, TASK.columns).fingerprint
    _config(tmp_path, "a\n", "c\n")
    assert read(one.train, one, TASK.columns).fingerprint != before


def test_a_line_without_a_partner_is_refused_by_file_and_row(tmp_path: Path) -> None:
    config = _config(tmp_path, "eins\nzwei\ndrei\n", "one\ntwo\n")
    with pytest.raises(DataError, match=r"train\.de, row 3: the line 'drei' has no partner; .*train\.en has 2 lines"):
        read(config.train, config, TASK.columns)


def test_an_empty_line_beside_a_full_one_is_refused_by_row(tmp_path: Path) -> None:
    config = _config(tmp_path, "eins\nzwei\n", "one\n\n")
    with pytest.raises(DataError, match=r"row 2: .*train\.en has an empty line here"):
        read(config.train, config, TASK.columns)


@pytest.mark.parametrize("empty", ["", " ", None])
def test_an_empty_source_is_refused_by_file_and_row(tmp_path: Path, empty: str | None) -> None:
    rows = [{"source": "eins", "target": "one"}, {"source": empty, "target": "two"}]
    (tmp_path / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    config = DataConfig(train=str(tmp_path / "train.jsonl"))
    with pytest.raises(DataError, match=r"train\.jsonl, row 2, column 'source': the text"):
        examples_of(read(config.train, config, TASK.columns).rows, TASK, config)


def test_a_missing_half_is_named(tmp_path: Path) -> None:
    config = _config(tmp_path, "eins\n", "one\n")
    (tmp_path / "train.en").unlink()
    with pytest.raises(DataError, match=r"train\.en does not exist"):
        read(config.train, config, TASK.columns)
