"""Folds, what models of the others say, texts that are nearly the same, and answers that are sure enough."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from adaptune.core.errors import DataError
from adaptune.core.types import Answer
from adaptune.labels.folds import check_counts, deal, out_of_fold
from adaptune.labels.frozen import Items
from adaptune.labels.mistrust import doubted
from adaptune.labels.near import near
from adaptune.labels.pool import surest


def test_equal_texts_lie_in_one_fold_and_every_label_in_all() -> None:
    strata = ["a", "a", "b", "b", "a", "b", "a", "b"]
    groups = ["one", "one", "two", "three", "four", "five", "six", "six"]
    fold_of = deal(strata, groups, 2, seed=3)
    assert fold_of[0] == fold_of[1]
    assert fold_of[6] == fold_of[7]
    for label in "ab":
        assert {int(fold) for fold, stratum in zip(fold_of, strata, strict=True) if stratum == label} == {0, 1}
    assert np.array_equal(fold_of, deal(strata, groups, 2, seed=3))


def test_labels_with_fewer_texts_than_folds_are_refused_by_name() -> None:
    labels = [["a"], ["a"], ["a"], ["b"], ["b"], ["c"], ["c"], ["c"]]
    groups = ["1", "2", "3", "4", "5", "6", "6", "7"]
    check_counts(labels, groups, 2)
    with pytest.raises(DataError, match=r"\(3\); fewer have: 'b' \(2 texts\), 'c' \(2 texts\); --folds 2 would do"):
        check_counts(labels, groups, 3)
    with pytest.raises(DataError, match=r"'b' \(1 text\); one row alone can be judged by no other"):
        check_counts([["a"], ["a"], ["b"]], ["1", "2", "3"], 2)


def _clusters(wrong: list[int]) -> tuple[Items, np.ndarray]:
    """60 rows around three points, and their true labels; some are given the next label."""
    rng = np.random.default_rng(0)
    true = np.repeat([0, 1, 2], 20)
    features = 4.0 * np.eye(3)[true] + 0.5 * rng.normal(size=(60, 3))
    given = true.copy()
    given[wrong] = (given[wrong] + 1) % 3
    items = Items(torch.tensor(features).float(), torch.tensor(given), np.arange(60), None, "softmax")
    return items, true


def test_what_models_of_other_folds_say_is_what_scikit_learn_says() -> None:
    items, _ = _clusters([4, 33])
    fold_of = np.arange(60) % 3
    found = out_of_fold(items, fold_of, 3, 3)
    features, given = items.features.double().numpy(), items.targets.numpy()
    best, lowest = np.zeros((60, 3)), np.inf
    for strength in (1.0, 0.3, 0.1, 3e-2, 1e-2, 3e-3, 1e-3, 1e-4):
        shares = np.zeros((60, 3))
        for fold in range(3):
            inside = fold_of != fold
            mean, deviation = features[inside].mean(axis=0), features[inside].std(axis=0, ddof=1)
            model = LogisticRegression(C=1 / (strength * inside.sum()), tol=1e-8, max_iter=2000)
            model.fit((features[inside] - mean) / deviation, given[inside])
            shares[~inside] = model.predict_proba((features[~inside] - mean) / deviation)
        loss = -np.log(shares[np.arange(60), given]).mean()
        if loss >= lowest:
            break
        best, lowest = shares, loss
    assert np.abs(found - best).max() < 0.01


def test_planted_wrong_labels_are_found_and_no_others() -> None:
    wrong = [4, 11, 33, 52]
    items, _ = _clusters(wrong)
    shares = out_of_fold(items, np.arange(60) % 5, 3, 5)
    assert sorted(doubted(items, shares)) == wrong


def test_of_several_labels_each_is_judged_by_itself() -> None:
    rng = np.random.default_rng(0)
    true = np.array([[row % 2, row // 2 % 2] for row in range(80)])
    features = 4.0 * true + 0.4 * rng.normal(size=(80, 2))
    given = true.copy()
    given[[3, 40], 0] = 1 - given[[3, 40], 0]
    items = Items(torch.tensor(features).float(), torch.tensor(given).float(), np.arange(80), None, "sigmoid")
    shares = out_of_fold(items, np.arange(80) // 4 % 4, 2, 4)
    assert sorted(doubted(items, shares)) == [3, 40]


def test_texts_that_are_nearly_the_same_are_those_of_a_plain_comparison_of_all_pairs() -> None:
    texts = [
        "I lost my card, can you send a new one?",
        "I LOST my card: can you send a new one",
        "I lost my card, can you send a new one today?",
        "how do I get a refund",
        "How do I get a refund??",
        "我的卡丢了,可以补办一张新的吗",
        "我的卡丢了，可以补办一张新的吗？",
        "!?",
        "",
    ]

    def shingles(text: str) -> set[str]:
        plain = f" {' '.join(''.join(c if c.isalnum() else ' ' for c in text.lower()).split())} "
        return {plain[place : place + 3] for place in range(len(plain) - 2)}

    sets = list(map(shingles, texts))
    wanted = {
        (one, other): len(sets[one] & sets[other]) / len(sets[one] | sets[other])
        for one, other in combinations(range(len(texts)), 2)
        if sets[one] | sets[other]
    }
    for alike in (0.5, 0.8, 1.0):
        found = {(pair.one, pair.other): pair.alike for pair in near(texts, range(len(texts)), alike)}
        assert found == pytest.approx({pair: share for pair, share in wanted.items() if share >= alike})
    found = near(texts, ["a", "b", "b", "c", "c", "d", "d", "e", "e"])
    assert [(pair.one, pair.other) for pair in found] == [(0, 1), (0, 2)]
    assert near(["", "?"], "ab") == []


def test_sure_answers_give_no_label_more_than_its_share() -> None:
    said = [("a", 0.99), ("a", 0.97), ("a", 0.95), ("b", 0.91), ("b", 0.5), ("a", 0.93), ("a", 0.96)]
    answers = [Answer(label, probability) for label, probability in said]
    assert surest(answers, 2, confidence=0.9, balance=False) == [0, 1, 2, 3, 5, 6]
    assert surest(answers, 2, confidence=0.9, balance=True) == [0, 1, 3, 6]
    assert surest(answers, 2, confidence=0.999, balance=True) == []
    assert (
        surest(
            [Answer("a", 0.99, out_of_scope=True), Answer("a", 0.99, abstained=True)], 2, confidence=0.9, balance=False
        )
        == []
    )
