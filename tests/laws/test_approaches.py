"""What every approach must keep."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adaptune.approaches import APPROACHES
from adaptune.core.approach import Approach
from adaptune.core.catalogue import section
from adaptune.core.types import Example, Labels, OfSequence, Row, Sequence

LABELS = Labels(("no", "yes"), (24, 24))
SETTINGS: dict[str, dict[str, Any]] = {}
"""What an approach cannot be without, by its name."""
EXAMPLE = Example(
    Row("rows.csv", 1, {"text": "a late game", "label": "yes"}),
    (Sequence("a late game", None, OfSequence("yes")),),
    "yes",
)


@pytest.fixture(params=APPROACHES.names())
def approach(request: pytest.FixtureRequest) -> Approach:
    """Every one, settled on one row of each label."""
    made = APPROACHES.make({"name": request.param, **SETTINGS.get(request.param, {})})
    other = replace(EXAMPLE, sequences=(Sequence("a bank", None, OfSequence("no")),), expected="no")
    return made.settled([EXAMPLE, other], LABELS, seed=1)


def _texts(example: Example) -> list[tuple[object, object]]:
    return [(sequence.first, sequence.second) for sequence in example.sequences]


def test_a_manifest_keeps_it_whole(approach: Approach) -> None:
    assert APPROACHES.make(section(approach)) == approach


def test_a_row_reads_alike_with_and_without_its_label(approach: Approach) -> None:
    unlabelled = replace(EXAMPLE, sequences=(Sequence("a late game"),), expected=None)
    learned, asked = (approach.put(one, LABELS, mask="[MASK]") for one in (EXAMPLE, unlabelled))
    assert _texts(learned) == _texts(asked)
    assert (learned.row, learned.expected) == (EXAMPLE.row, EXAMPLE.expected)
    assert all(sequence.target is None for sequence in asked.sequences)


def test_it_says_whether_it_rewrites_rows(approach: Approach) -> None:
    if not approach.rewrites:
        assert approach.put(EXAMPLE, LABELS, mask="[MASK]") is EXAMPLE
