"""Byte strings in a file."""

from __future__ import annotations

import numpy as np
import pytest

from adaptune.data import spool
from adaptune.data.spool import Spool

CONTENTS = [b"a", b"", b"bcd", b"\0" * 50, b"e"] * 20


@pytest.fixture
def filled() -> Spool:
    found = Spool()
    found.extend(CONTENTS[:7])
    found.extend(CONTENTS[7:])
    return found


def test_what_was_appended_comes_back_by_number(filled: Spool) -> None:
    assert len(filled) == len(CONTENTS)
    assert filled.size == sum(map(len, CONTENTS))
    assert [filled[number] for number in range(len(CONTENTS))] == CONTENTS


@pytest.mark.parametrize("at_once", [1, 3, 1000])
@pytest.mark.parametrize("numbers", [[], [0], list(range(100)), [99, 0, 50, 50], [7, 3, 5]])
def test_several_come_in_the_order_asked_for(
    filled: Spool, numbers: list[int], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "AT_ONCE", at_once)
    assert list(filled.each(np.array(numbers, dtype=np.int64))) == [CONTENTS[number] for number in numbers]


def test_more_can_be_appended_after_reading(filled: Spool) -> None:
    assert filled[0] == b"a"
    filled.extend([b"new"])
    assert (filled[100], filled[2]) == (b"new", b"bcd")
