"""Cutting rows in two."""

from __future__ import annotations

from collections import Counter

import pytest

from adaptune.core.types import Example, Row, Sequence
from adaptune.data.split import cut, same_text

TWO_CLASSES = ["a"] * 80 + ["b"] * 20


def test_every_row_goes_one_way_and_the_order_is_kept():
    kept, taken = cut(TWO_CLASSES, 0.1, seed=1)
    assert sorted(kept + taken) == list(range(100))
    assert kept == sorted(kept)
    assert taken == sorted(taken)


@pytest.mark.parametrize(("share", "a", "b"), [(0.1, 8, 2), (0.25, 20, 5), (0.5, 40, 10)])
def test_every_class_gives_its_share(share, a, b):
    _, taken = cut(TWO_CLASSES, share, seed=1)
    assert Counter(TWO_CLASSES[index] for index in taken) == {"a": a, "b": b}


def test_the_same_seed_gives_the_same_cut_on_every_machine():
    assert cut(TWO_CLASSES, 0.05, seed=7)[1] == [11, 14, 42, 50, 99]
    assert cut(TWO_CLASSES, 0.05, seed=8)[1] != [11, 14, 42, 50, 99]


def test_another_class_does_not_change_the_cut_of_the_first():
    _, alone = cut(["a"] * 80, 0.1, seed=1)
    _, beside = cut(TWO_CLASSES, 0.1, seed=1)
    assert [index for index in beside if index < 80] == alone


def test_a_class_with_one_row_stays():
    strata = ["a"] * 10 + ["only"] + ["b"] * 10
    for seed in range(20):
        assert 10 not in cut(strata, 0.5, seed=seed)[1]


def test_a_class_never_gives_its_last_row():
    strata = ["a"] * 3 + ["b"] * 3
    kept, taken = cut(strata, 0.9, seed=1)
    assert Counter(strata[index] for index in kept) == {"a": 1, "b": 1}
    assert len(taken) == 4


def test_the_whole_share_is_met_where_no_class_has_a_row_to_give_by_its_own():
    strata = [f"class {number % 30}" for number in range(90)]
    _, taken = cut(strata, 0.1, seed=1)
    assert len(taken) == 9
    assert max(Counter(strata[index] for index in taken).values()) == 1


def test_classes_of_a_few_rows_give_at_least_one():
    strata = [f"class {number % 20}" for number in range(100)]
    _, taken = cut(strata, 0.1, seed=1)
    assert Counter(strata[index] for index in taken) == {f"class {number}": 1 for number in range(20)}


def test_the_smallest_file_still_gives_one_row():
    assert [len(part) for part in cut(["a", "a", "b"], 0.1, seed=1)] == [2, 1]


def test_rows_that_are_each_alone_in_their_class_all_stay():
    assert cut(["a", "b", "c"], 0.5, seed=1) == ([0, 1, 2], [])


def test_no_rows_and_no_share_cut_nothing():
    assert cut([], 0.1, seed=1) == ([], [])
    assert cut(TWO_CLASSES, 0, seed=1) == (list(range(100)), [])


@pytest.mark.parametrize("share", [-0.1, 1, 1.5])
def test_a_share_that_leaves_nothing_is_refused(share):
    with pytest.raises(ValueError, match="expected at least 0 and less than 1"):
        cut(TWO_CLASSES, share, seed=1)


def test_rows_of_one_group_go_the_same_way():
    groups = [f"text {number // 2}" for number in range(100)]
    for seed in range(10):
        kept, taken = cut(TWO_CLASSES, 0.2, seed=seed, groups=groups)
        assert not {groups[index] for index in kept} & {groups[index] for index in taken}
        assert Counter(TWO_CLASSES[index] for index in taken) == {"a": 16, "b": 4}


def test_a_group_over_two_classes_goes_one_way_too():
    strata = ["a", "b"] * 10
    groups = [f"text {number // 2}" for number in range(20)]
    for seed in range(10):
        kept, taken = cut(strata, 0.3, seed=seed, groups=groups)
        assert len(taken) == 6
        assert not {groups[index] for index in kept} & {groups[index] for index in taken}


def test_a_large_group_does_not_make_the_part_larger():
    groups = ["same"] * 60 + [f"text {number}" for number in range(40)]
    for seed in range(10):
        assert len(cut(["a"] * 100, 0.1, seed=seed, groups=groups)[1]) == 10


def example(*sequences):
    return Example(Row("train.csv", 2, {}), tuple(Sequence(first, second) for first, second in sequences))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([("so good", None)], [(" so  good\n", None)], True),
        ([("so good", None)], [("so Good", None)], False),
        ([("so", "good")], [("so good", None)], False),
        ([("so", "good")], [("so", "good ")], True),
        ([(("so", "good"), None)], [("so good", None)], True),
        ([("so", None), ("good", None)], [("so", "good")], False),
    ],
)
def test_texts_are_the_same_where_only_white_space_differs(one, other, same):
    assert (same_text(example(*one)) == same_text(example(*other))) is same
