"""Which rows are chosen, by literal vectors and shares."""

from __future__ import annotations

import numpy as np
import pytest

from adaptune.labels.choosing import choose, least_sure, margins, typicality

SHARES = np.array([[0.5, 0.4, 0.1], [0.9, 0.05, 0.05], [0.34, 0.33, 0.33]])
FOUR = np.array([[1.0, 0.0], [0.99, 0.0], [0.98, 0.0], [0.0, 1.0], [0.02, 0.99], [-1.0, 0.0], [0.0, -1.0]])
"""Clusters of three, two, one and one."""
UNSURE = np.array([0.1, 0.3, 0.2, 0.4, 0.9, 0.5, 0.6])


def test_a_margin_is_that_between_the_two_likeliest() -> None:
    assert margins(SHARES).tolist() == pytest.approx([0.9, 0.15, 0.99])
    assert margins(np.array([[1.0]])).tolist() == [0.0]


def test_of_independent_labels_the_least_sure_counts() -> None:
    assert least_sure(np.array([[0.9, 0.45], [0.99, 0.01], [0.5, 0.0]])).tolist() == pytest.approx([0.9, 0.02, 1.0])


def test_the_least_sure_rows_come_first() -> None:
    assert choose(3, by="uncertainty", uncertainty=UNSURE, vectors=None).tolist() == [4, 6, 5]


def test_coverage_takes_one_row_of_every_cluster_the_largest_first() -> None:
    found = choose(4, by="coverage", uncertainty=None, vectors=FOUR).tolist()
    assert found[0] == 1  # nearest to both others of its three
    assert found[1] in (3, 4)
    assert sorted(found[2:]) == [5, 6]


def test_clusters_that_have_labelled_rows_come_last() -> None:
    found = choose(2, by="coverage", uncertainty=None, vectors=FOUR, known=np.array([[1.0, 0.01], [0.01, 1.0]]))
    assert sorted(found.tolist()) == [5, 6]


def test_both_takes_the_least_sure_row_of_each_cluster() -> None:
    assert choose(2, by="both", uncertainty=UNSURE, vectors=FOUR[:5]).tolist() == [1, 4]


def test_balance_takes_predicted_labels_in_turn_as_long_as_there_are_rows() -> None:
    predicted = ["a", "a", "a", "b", "a", "c", "a"]
    found = choose(5, by="uncertainty", uncertainty=UNSURE, vectors=None, predicted=predicted)
    assert found.tolist() == [4, 5, 3, 6, 1]


def test_no_more_rows_are_chosen_than_there_are() -> None:
    assert sorted(choose(50, by="both", uncertainty=UNSURE, vectors=FOUR).tolist()) == list(range(7))


def test_typical_is_what_has_near_neighbours_in_its_cluster() -> None:
    clusters = np.array([0, 0, 0, 1, 1, 2, 3])
    found = typicality(FOUR, clusters)
    near, far = np.linalg.norm(FOUR[1] - FOUR[0]), np.linalg.norm(FOUR[1] - FOUR[2])
    assert found[1] == pytest.approx(1 / ((near + far) / 2 + 1e-5))
    assert found[5:].tolist() == [0.0, 0.0]
