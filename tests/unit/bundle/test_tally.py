"""What is counted of answered rows, and how a reference keeps it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adaptune.bundle.reference import REFERENCE, read_references, reference_of, write_references
from adaptune.bundle.tally import (
    MOST_LABELS,
    OTHER,
    Seen,
    Tally,
    characters,
    labels_of,
    number_of,
    seen_of,
    tally_of,
    unknown_of,
)
from adaptune.core.batch import Encoded
from adaptune.core.errors import BundleError
from adaptune.core.types import Conversation, Example, Labels, Row, Sequence, Turn

NONE: Any = np.zeros(0, np.int32)


@pytest.mark.parametrize(
    ("answer", "labels"),
    [
        ({"label": "good", "probability": 0.9}, ("good",)),
        ({"label": "good", "abstained": True}, ("(abstained)",)),
        ({"label": None, "abstained": True}, ("(abstained)",)),
        ({"labels": [{"label": "a"}, {"label": "b"}]}, ("a", "b")),
        ({"labels": []}, ("(none)",)),
        ({"entities": [{"type": "place"}, {"type": "place"}]}, ("place", "place")),
        ({"entities": []}, ("(none)",)),
        ({"relation": "in", "head": "a", "tail": "b"}, ("in",)),
        ({"choice": 0, "text": "a"}, ("0",)),
        ({"answer": "a name of somebody", "start": 3}, ("answered",)),
        ({"answer": "", "start": None}, ("(none)",)),
        ({"score": 0.7}, ()),
        ({"number": 2.0}, ()),
        ({"text": "written"}, ()),
        ({"ranking": []}, ()),
    ],
)
def test_labels_are_what_stands_in_their_place(answer: dict[str, Any], labels: tuple[str, ...]) -> None:
    assert labels_of(answer) == labels


def test_characters_are_those_of_all_texts_of_a_row() -> None:
    row = Row("x", 1, {})
    assert characters(Example(row, (Sequence("four", "five5"),))) == 9
    assert characters(Example(row, (Sequence(("to", "Rome")),))) == len("to Rome")
    turns = Conversation((Turn("system", "abc"), Turn("user", "de")))
    assert characters(Example(row, (Sequence("named", conversation=turns),))) == 5


def test_a_row_is_seen_by_its_answer_its_texts_and_its_tokens() -> None:
    encoded = [Encoded(0, np.array(ids, np.int32), None, NONE, NONE, None) for ids in ([2, 1, 1, 3], [2, 9, 3])]
    example = Example(Row("x", 1, {}), (Sequence("a text"),))
    answer = {"label": "a", "probability": 1.0000001}
    labels = Labels(("number",), moments=(2.0, 0.5))
    assert seen_of(answer, example, encoded, 1, labels) == Seen(("a",), 1.0, 6, 2, 7)
    assert seen_of(answer, example, encoded, None, labels) == Seen(("a",), 1.0, 6, 0, 0)
    assert seen_of({"number": 3.5}, example, encoded, None, labels) == Seen((), None, 6, 0, 0, 3.0)


@pytest.mark.parametrize(
    ("answer", "moments", "number"),
    [
        ({"number": 5.0}, (2.0, 1.5), 2.0),
        ({"score": -1.0}, (2.0, 1.5), -2.0),
        ({"number": 5.0}, (2.0, 0.0), None),  # all targets were the same
        ({"number": 5.0}, None, None),
        ({"label": "good"}, (2.0, 1.5), None),
    ],
)
def test_numbers_are_counted_from_the_mean_of_the_training_targets(answer: Any, moments: Any, number: Any) -> None:
    assert number_of(answer, Labels(("number",), moments=moments)) == number


def test_numbers_beyond_all_steps_are_in_the_last_ones() -> None:
    found = tally_of(Seen(number=one) for one in (-1e9, -4.1, -4.0, 3.9, 1e9))
    assert (found.number[0], found.number[1], found.number[-1], found.numbers) == (2, 1, 2, 5)


def test_a_token_that_ends_texts_says_nothing_of_them() -> None:
    ids = {"bos_token_id": 0, "eos_token_id": 0, "cls_token_id": None, "sep_token_id": None, "pad_token_id": 5}
    assert unknown_of(SimpleNamespace(unk_token_id=0, **ids)) is None
    assert unknown_of(SimpleNamespace(unk_token_id=5, **ids)) is None
    assert unknown_of(SimpleNamespace(unk_token_id=None, **ids)) is None
    assert unknown_of(SimpleNamespace(unk_token_id=1, **ids)) == 1


def test_labels_beyond_what_a_tally_holds_are_counted_together() -> None:
    tally = tally_of(Seen((str(number),)) for number in range(MOST_LABELS + 50))
    assert len(tally.labels) == MOST_LABELS + 1
    assert tally.labels[OTHER] == 50


def full() -> Tally:
    tally = tally_of([Seen(("a", "b"), 0.97, 12, 1, 9, -0.3), Seen(("a",), 1.0, 99_999, 0, 4), Seen()])
    tally.add_vectors(2, np.array([0.25, -1.5]))
    return tally


def test_two_tallies_add_up_to_that_of_all_rows() -> None:
    total = full().plus(full()).plus(Tally())
    assert (total.rows, total.labels["a"], total.confidences, total.lengths) == (6, 4, 4, 4)
    assert (total.unknown, total.tokens, total.vectors) == (2, 26, 4)
    assert (total.numbers, total.number_sum) == (2, -0.6)
    assert total.vector is not None
    assert total.vector.tolist() == [0.5, -3.0]


def test_a_reference_reads_back_as_it_was_written(tmp_path: Path) -> None:
    write_references({"topic": reference_of(full()), "tone": None}, tmp_path)
    [(name, found)] = read_references(tmp_path).items()
    assert name == "topic"
    assert reference_of(found.tally(), "topic") == found
    assert found.tally().labels == full().labels
    assert found.tally().confidence.tolist() == full().confidence.tolist()
    assert found.tally().length.tolist() == full().length.tolist()


def test_bundles_without_a_reference_have_none(tmp_path: Path) -> None:
    write_references({None: None}, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert read_references(tmp_path) == {}


@pytest.mark.parametrize("change", [{"format": 2}, {"tasks": [{}]}, {"more": 1}])
def test_a_reference_that_does_not_read_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    write_references({None: reference_of(full())}, tmp_path)
    file = tmp_path / REFERENCE
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(BundleError, match="does not read"):
        read_references(tmp_path)
    file.write_text("{")
    with pytest.raises(BundleError, match="does not read"):
        read_references(tmp_path)
