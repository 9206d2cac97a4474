"""Keys are known by their hash alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from adaptune.core.errors import AdaptuneError
from adaptune.serve.keys import Caller, new_key, read_keys


def test_a_new_key_opens_by_its_line(tmp_path: Path) -> None:
    key, line = new_key("shop")
    (tmp_path / "keys").write_text(f"# of the shop\n\n{line}\n", encoding="utf-8")
    keys = read_keys(tmp_path / "keys", {})
    assert key not in line
    assert keys.caller(key) == Caller("shop", admin=False)
    assert keys.caller(key + "x") is None
    assert keys.caller("") is None


def test_keys_come_from_the_environment_too() -> None:
    lines = f"a:{hashlib.sha256(b'one').hexdigest()} b:{hashlib.sha256(b'two').hexdigest()}:admin"
    keys = read_keys(None, {"ADAPTUNE_KEYS": lines})
    assert keys.caller("one") == Caller("a", admin=False)
    assert keys.caller("two") == Caller("b", admin=True)


def test_two_new_keys_differ() -> None:
    assert new_key("a")[0] != new_key("a")[0]


def test_a_line_that_does_not_read_is_refused_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a-bare-key\n", encoding="utf-8")
    with pytest.raises(AdaptuneError, match="key 1 does not read") as refused:
        read_keys(tmp_path / "keys", {})
    assert "a-bare-key" not in str(refused.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(AdaptuneError, match="cannot be read"):
        read_keys(tmp_path / "none", {})


def test_a_name_with_a_colon_is_refused() -> None:
    with pytest.raises(AdaptuneError, match="no name for a key"):
        new_key("a:b")
