"""Atomic files and folders."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from adaptune.core.files import (
    json_line,
    recover,
    replacing,
    replacing_folder,
    write_atomically,
    write_json,
    write_json_lines,
)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_new_content_replaces_the_old_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "old and long")
    write_atomically(path, "新\r\n")
    assert path.read_bytes() == "新\r\n".encode()
    assert names(tmp_path) == ["a.txt"]


def test_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.bin", b"\x00\xff")
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff"


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with suppress(RuntimeError), replacing(path) as file:
        file.write(b"half of the n")
        raise RuntimeError("power cut")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_new_file_has_the_same_permissions_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("x")
    write_atomically(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_json_keeps_chinese_readable(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"label": "好"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "label": "好"\n}\n'


def test_numbers_that_json_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        json_line({"loss": float("nan")})


def test_lines_come_from_any_iterable(tmp_path: Path) -> None:
    write_json_lines(tmp_path / "a.jsonl", ({"row": row} for row in range(3)))
    assert (tmp_path / "a.jsonl").read_text() == '{"row": 0}\n{"row": 1}\n{"row": 2}\n'


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with replacing_folder(path) as folder:
        (folder / "new.txt").write_text("new")
        assert names(path) == ["old.txt"]
    assert names(path) == ["new.txt"]
    assert names(tmp_path) == ["bundle"]


def test_a_folder_that_fails_to_fill_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with suppress(RuntimeError), replacing_folder(path) as folder:
        (folder / "new.txt").write_text("new")
        raise RuntimeError("disk full")
    assert names(path) == ["old.txt"]
    assert names(tmp_path) == ["bundle"]


def test_a_folder_set_aside_by_a_process_that_died_is_brought_back(tmp_path: Path) -> None:
    aside = tmp_path / ".bundle.old"
    aside.mkdir()
    (aside / "old.txt").write_text("old")
    recover(tmp_path / "bundle")
    assert names(tmp_path / "bundle") == ["old.txt"]
    assert names(tmp_path) == ["bundle"]


def test_a_folder_set_aside_is_dropped_where_the_new_one_is_in_place(tmp_path: Path) -> None:
    for name in ("bundle", ".bundle.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"of {name}").write_text("x")
    recover(tmp_path / "bundle")
    assert names(tmp_path) == ["bundle"]
    assert names(tmp_path / "bundle") == ["of bundle"]
