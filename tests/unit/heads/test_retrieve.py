from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adaptune.core.batch import Batch, Index
from adaptune.core.errors import DataError
from adaptune.core.types import RANKED, Labels
from adaptune.heads.retrieve import RetrieveHead

BACKBONE: Any = SimpleNamespace(pooling="mean", hidden_size=4)
LABELS = Labels(())
ROWS = [0, 0, 0, 1, 1, 2, 2, 3, 3]
TEXTS = ("q", "x", "y", "r", "x", "q", "z", "s", "y")
GRADES = [0.0, 2.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
"""q: x (2) and y (1); r: x; q again: z; s: y."""


def _batch(rows: list[int] = ROWS, texts: tuple[str, ...] = TEXTS, grades: Any = GRADES) -> tuple[torch.Tensor, Batch]:
    """Equal texts have equal vectors, as a model without dropout gives them."""
    by_text = {text: torch.randn(2, 4, generator=torch.Generator().manual_seed(ord(text))) for text in set(texts)}
    labels = None if grades is None else torch.tensor(list(zip(grades, map(float, rows), strict=True)))
    mask = torch.ones(len(rows), 2, dtype=torch.long)
    return torch.stack([by_text[text] for text in texts]), Batch(torch.tensor(rows), mask, labels=labels, texts=texts)


def _made(**settings: Any) -> tuple[RetrieveHead, torch.nn.Module]:
    head = RetrieveHead(**settings).settled(BACKBONE, LABELS)
    return head, head.build(BACKBONE, LABELS)


def _cosine(one: str, other: str) -> float:
    hidden, batch = _batch()
    assert batch.texts is not None
    vectors = [hidden[batch.texts.index(text)].mean(dim=0) for text in (one, other)]
    return float(vectors[0] @ vectors[1] / (vectors[0].norm() * vectors[1].norm()))


def _surprise(query: str, right: str, wrong: str) -> float:
    """-log softmax of one right text among it and the wrong ones."""
    powers = [math.exp(10.0 * _cosine(query, text)) for text in (right, *wrong)]
    return -math.log(powers[0] / sum(powers))


def test_negatives_are_the_other_texts_once_each_without_those_that_are_right_for_an_equal_query() -> None:
    head, layer = _made(scale=10.0)
    plain = (
        2 / 3 * _surprise("q", "x", "")  # z is right for the other q
        + 1 / 3 * _surprise("q", "y", "")
        + _surprise("r", "x", "yz")
        + _surprise("q", "z", "")
        + _surprise("s", "y", "xz")
    )
    loss = head.loss(layer, *_batch())
    assert float(loss.total) == pytest.approx(plain, rel=1e-5)
    assert int(loss.items) == 4


def test_equal_documents_are_no_negatives_of_each_other() -> None:
    head, layer = _made(scale=10.0)
    hidden, batch = _batch([0, 0, 1, 1, 2, 2], ("q", "x", "r", "x", "s", "y"), [0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    plain = _surprise("q", "x", "y") + _surprise("r", "x", "y") + _surprise("s", "y", "x")
    assert float(head.loss(layer, hidden, batch).total) == pytest.approx(plain, rel=1e-5)


def test_negatives_may_be_those_of_the_row_alone() -> None:
    head, layer = _made(scale=10.0, negatives="own")
    hidden, batch = _batch([0, 0, 0, 1, 1, 1], ("q", "x", "y", "r", "z", "x"), [0.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    plain = _surprise("q", "x", "y") + _surprise("r", "z", "x")
    assert float(head.loss(layer, hidden, batch).total) == pytest.approx(plain, rel=1e-5)
    assert _made()[0].couples_rows
    assert not head.couples_rows


def test_a_row_without_any_wrong_text_has_no_loss_and_finite_gradients() -> None:
    head, layer = _made()
    hidden, batch = _batch([0, 0], ("q", "x"), [0.0, 1.0])
    hidden.requires_grad_(True)
    loss = head.loss(layer, hidden, batch).total
    torch.autograd.backward(loss)
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
    assert hidden.grad is not None
    assert bool(hidden.grad.isfinite().all())


def test_the_texts_of_a_row_are_ranked_by_their_cosines() -> None:
    head, layer = _made(scale=10.0)
    answer = head.decode(layer, *_batch(grades=None), LABELS)[0]
    cosines = {text: _cosine("q", text) for text in "xy"}
    assert [text for text, _ in answer.value] == sorted(cosines, key=lambda text: -cosines[text])
    assert dict(answer.value) == pytest.approx(cosines, abs=1e-6)
    powers = [math.exp(10.0 * cosine) for cosine in cosines.values()]
    assert answer.probability == pytest.approx(max(powers) / sum(powers), rel=1e-5)


def test_a_search_finds_what_ranking_all_texts_with_each_query_finds() -> None:
    head, layer = _made()
    generator = torch.Generator().manual_seed(0)
    index = Index(tuple(map(str, range(300))), torch.nn.functional.normalize(torch.randn(300, 4, generator=generator)))
    hidden, batch = _batch([0, 1, 2], ("q", "r", "s"), None)
    found = head.search(layer, hidden, batch, index)
    for row in range(3):
        query = torch.nn.functional.normalize(hidden[row].mean(dim=0), dim=0)
        cosines = {text: float(vector @ query) for text, vector in zip(index.texts, index.vectors, strict=True)}
        best = sorted(cosines, key=lambda text: -cosines[text])[:RANKED]
        assert [text for text, _ in found[row].value] == best
        assert [cosine for _, cosine in found[row].value] == pytest.approx([cosines[text] for text in best], abs=1e-6)


def test_a_search_in_parts_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    head, layer = _made()
    index = Index(("a", "b", "c"), torch.nn.functional.normalize(torch.eye(3, 4) + 0.1))
    hidden, batch = _batch([0, 1, 2], ("q", "r", "s"), None)
    whole = head.search(layer, hidden, batch, index)
    monkeypatch.setattr("adaptune.heads.retrieve._CELLS", 3)
    assert head.search(layer, hidden, batch, index) == whole


def test_a_query_without_candidates_or_corpus_is_refused() -> None:
    head, layer = _made()
    with pytest.raises(DataError, match="the query 'q' has no candidates; give it some, or a corpus for all"):
        head.decode(layer, *_batch([0], ("q",), None), LABELS)


def test_a_projection_is_at_first_the_identity_and_gives_the_head_something_to_learn() -> None:
    plain, nothing = _made()
    head, layer = _made(projection="linear")
    batch = _batch(grades=None)
    torch.testing.assert_close(head.vectors(layer, *batch), plain.vectors(nothing, *batch))
    assert (plain.owns_weights, head.owns_weights) == (False, True)
    assert [parameter.shape for parameter in layer.parameters()] == [(4, 4)]
