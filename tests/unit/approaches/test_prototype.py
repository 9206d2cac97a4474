"""Nearest means in closed form, against a plain implementation; the vectors here are planted, no model is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from adaptune.approaches import APPROACHES
from adaptune.approaches.prototype import Prototype
from adaptune.core.errors import DataError, Unsupported
from adaptune.core.types import Labels
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.tasks import TASKS

GENERATOR = np.random.default_rng(3)
ROWS = GENERATOR.normal(size=(12, 6)).astype(np.float32) + 0.3
TARGETS = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
NAMES = GENERATOR.normal(size=(3, 6)).astype(np.float32)
ASKED = GENERATOR.normal(size=(40, 6)).astype(np.float32)


class _Planted:
    """A `Start` with vectors of its own; `worth` scores the layer as it stands."""

    def __init__(
        self,
        head: str = "classify",
        *,
        rows: np.ndarray | None = ROWS,
        targets: np.ndarray = TARGETS,
        labels: tuple[str, ...] = ("a_b", "c", "d"),
        worth: Callable[[torch.nn.Linear], float] | None = None,
    ) -> None:
        self.head, self.labels = HEADS.make({"name": head}), Labels(labels)
        self.layer = torch.nn.Linear(6 if head != "similarity" else 1, len(labels))
        self._rows, self._targets, self._worth = rows, targets, worth
        self.asked: list[list[str]] = []
        self.tried = 0

    def rows(self, part: str) -> int:
        if part == "valid":
            return 0 if self._worth is None else 10
        return 0 if self._rows is None else len(self._rows)

    def features(self, part: str) -> tuple[torch.Tensor, torch.Tensor]:
        assert part == "train"
        assert self._rows is not None
        return torch.from_numpy(self._rows), torch.from_numpy(self._targets)

    def features_of(self, texts: Sequence[str]) -> torch.Tensor:
        self.asked.append(list(texts))
        return torch.from_numpy(NAMES) * len(self.asked)  # another template, other vectors

    def choose(self, ways: Sequence[Callable[[], None]]) -> int:
        scores = []
        for way in ways if len(ways) > 1 else ():
            way()
            assert self._worth is not None
            scores.append(self._worth(self.layer))
        self.tried = len(scores)
        best = int(np.argmax(scores)) if scores else 0
        ways[best]()
        return best


def _set(start: _Planted, **settings: Any) -> np.ndarray:
    """What the layer then says of the texts asked."""
    taken = list(Prototype.model_validate(settings).before(start))  # type: ignore[arg-type]  # as much as it uses
    assert taken == []
    with torch.no_grad():
        return start.layer(torch.from_numpy(ASKED)).numpy()


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_by_cosine_the_nearest_mean_of_unit_vectors_is_the_largest_output() -> None:
    means = np.stack([_unit(ROWS[label == TARGETS]).mean(axis=0) for label in range(3)])
    expected = (_unit(ASKED) @ _unit(means).T).argmax(axis=1)
    assert (_set(_Planted(), name_weight=0).argmax(axis=1) == expected).all()


def test_by_euclidean_distance_the_nearest_mean_is_the_largest_output() -> None:
    means = np.stack([ROWS[label == TARGETS].mean(axis=0) for label in range(3)])
    expected = ((ASKED[:, None] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert (_set(_Planted(), name_weight=0, distance="euclidean").argmax(axis=1) == expected).all()


def test_a_name_counts_as_so_many_rows() -> None:
    means = []
    for label in range(3):
        rows = _unit(ROWS[label == TARGETS])
        means.append((rows.sum(axis=0) + 2 * _unit(NAMES)[label]) / (len(rows) + 2))
    expected = (_unit(ASKED) @ _unit(np.stack(means)).T).argmax(axis=1)
    start = _Planted()
    assert (_set(start, name_weight=2).argmax(axis=1) == expected).all()
    assert start.asked == [["a b", "c", "d"]]  # nothing to choose templates by: the first alone


def test_without_rows_names_and_descriptions_are_compared() -> None:
    start = _Planted(rows=None)
    found = _set(start, classes={"a_b": "", "c": "the sea", "d": ""}, templates=["about {}."])
    assert (found.argmax(axis=1) == (_unit(ASKED) @ _unit(NAMES).T).argmax(axis=1)).all()
    assert start.asked == [["about a b.", "about the sea.", "about d."]]


def test_the_template_is_the_best_on_validation_rows() -> None:
    tried = []

    def worth(layer: torch.nn.Linear) -> float:
        tried.append(layer.weight.detach().clone())
        return [0.2, 0.9, 0.5][len(tried) - 1]

    start = _Planted(worth=worth)
    _set(start, templates=["{}", "of {}", "in {}"])
    assert start.asked == [["a b", "c", "d"], ["of a b", "of c", "of d"], ["in a b", "in c", "in d"]]
    assert torch.equal(start.layer.weight, tried[1])


def test_several_labels_are_given_from_a_threshold_on() -> None:
    members = np.eye(3, dtype=np.float32)[TARGETS]
    found = _set(_Planted("multilabel", targets=members), name_weight=0, threshold=0.4)
    plain = _set(_Planted(), name_weight=0)  # the cosines times scale, x's length taken to be the usual one
    assert np.allclose(found, plain - 20 * 0.4, atol=1e-5)


def test_the_threshold_is_the_best_on_validation_rows() -> None:
    start = _Planted(
        "multilabel", targets=np.eye(3, dtype=np.float32)[TARGETS], worth=lambda layer: -layer.bias.tolist()[0]
    )
    _set(start, name_weight=0)
    assert start.layer.bias.tolist() == pytest.approx([-20 * 0.9] * 3)
    assert start.tried == 18


TAGS = ("O", "B-a_b", "I-a_b", "B-c", "I-c")
WORDS = np.array([0, 0, 0, 0, 0, 1, 2, 2, 3, 3, 3, 3])
"""The tag of every row: no word within an entity of the second type is among them."""
KINDS = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2])


def test_words_of_a_type_have_one_mean_and_inside_is_a_little_nearer() -> None:
    found = _set(_Planted("tag", targets=WORDS, labels=TAGS), name_weight=0, distance="cosine")
    means = _unit(np.stack([_unit(ROWS[kind == KINDS]).mean(axis=0) for kind in range(3)]))
    expected = ASKED @ means.T * 20 / np.linalg.norm(ROWS, axis=1).mean()
    assert np.allclose(found[:, [0, 1, 3]], expected, atol=1e-4)
    assert np.allclose(found[:, [2, 4]] - found[:, [1, 3]], 1e-3, atol=1e-5)


def test_under_one_covariance_they_are_those_of_linear_discriminants() -> None:
    found = _set(_Planted("tag", targets=WORDS, labels=TAGS), name_weight=0, shrinkage=0.25)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.25).fit(ROWS.astype(np.float64), KINDS)
    own = found[:, [0, 1, 3]].astype(np.float64)
    log_shares = own - np.logaddexp.reduce(own, axis=1, keepdims=True)
    assert np.allclose(log_shares, theirs.predict_log_proba(ASKED), atol=1e-3)


def test_how_near_words_outside_are_is_the_best_on_validation_rows() -> None:
    start = _Planted("tag", targets=WORDS, labels=TAGS, worth=lambda layer: layer.bias.tolist()[0])
    _set(start, name_weight=0, distance="cosine")
    assert start.tried == 13
    assert start.layer.bias.tolist()[0] == pytest.approx(20 * 0.3)


def test_without_tagged_rows_words_are_refused() -> None:
    start = _Planted("tag", rows=None, labels=TAGS)
    with pytest.raises(Unsupported, match="names of types are near no words of theirs"):
        list(APPROACHES.make({"name": "prototype"}).before(start))  # type: ignore[arg-type]


def test_a_pair_matches_from_a_cosine_on() -> None:
    start = _Planted("similarity", rows=None, labels=("0", "1"))
    list(Prototype(threshold=0.6).before(start))  # type: ignore[arg-type]
    outputs = start.layer(torch.tensor([[0.59], [0.61]]))
    assert outputs.argmax(dim=1).tolist() == [0, 1]


def test_without_the_name_of_the_label_of_pairs_that_match_they_are_refused() -> None:
    start = _Planted("similarity", rows=None, labels=("like", "unlike"))
    with pytest.raises(Unsupported, match=r"approach.positive is None, expected .* \(there are: like, unlike\)"):
        list(Prototype(threshold=0.6).before(start))  # type: ignore[arg-type]


def test_a_label_with_neither_rows_nor_a_name_is_refused() -> None:
    with pytest.raises(DataError, match="no label has a vector; set it to 1"):
        _set(_Planted(rows=None), name_weight=0)
    with pytest.raises(DataError, match=r"a label has no training row, and approach.name_weight is 0"):
        _set(_Planted(rows=ROWS[:8], targets=TARGETS[:8]), name_weight=0)


def test_a_template_has_one_place_for_the_name() -> None:
    with pytest.raises(ValidationError, match=r"'about it' must hold {} once"):
        Prototype(templates=("about it",))


def test_a_list_names_classes_that_nothing_describes() -> None:
    assert Prototype.model_validate({"classes": ["a", "b"]}).classes == {"a": "", "b": ""}
    assert Prototype.model_validate({"classes": ["a", "b"]}).known_labels == ("a", "b")


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ({"name": "regress"}, {}, "task 'regress' has other answers; use finetune"),
        ({"name": "match"}, {}, "set task.encoder=bi"),
        ({"name": "multilabel"}, {"distance": "euclidean"}, "use cosine"),
        ({"name": "relate"}, {}, "set approach.name_weight=0"),
        ({"name": "tag"}, {"classes": ["person"]}, "leave approach.classes, .* out"),
        ({"name": "classify"}, {"distance": "mahalanobis"}, "as words of tag are; use cosine"),
    ],
)
def test_tasks_that_have_no_nearest_label_are_refused(
    task: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    of = TASKS.make(task)
    head = HEADS.make({"name": of.default_head})
    with pytest.raises(Unsupported, match=message):
        APPROACHES.make({"name": "prototype", **settings}).check(of, METHODS.make({"name": "none"}), head)
