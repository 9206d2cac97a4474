"""Memory that was freed and is handed out again."""

from __future__ import annotations

import platform
import resource

import numpy as np
import pytest

from adaptune.core.heap import keep_freed_memory


def test_what_was_freed_is_taken_again_without_new_pages() -> None:
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc is told to keep what is freed")
    assert keep_freed_memory()
    for _ in range(2):
        kept = np.ones(16 * 2**20, dtype=np.uint8)
        del kept
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        kept = np.ones(16 * 2**20, dtype=np.uint8)
        del kept
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 4096  # pages of a single one


def test_nothing_is_asked_of_other_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory.__wrapped__()
