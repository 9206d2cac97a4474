from __future__ import annotations

from itertools import pairwise, product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.types import Labels
from adaptune.heads._chain import Scores, log_partition, marginals, path_score, viterbi
from adaptune.heads.crf import CrfHead
from adaptune.heads.tag import TagHead

LABELS = Labels(("O", "B-x", "I-x", "B-y", "I-y"))


def _layer(seed: int | None = None) -> torch.nn.Module:
    """The hidden states are the emissions; scores between tags drawn by seed, or zero."""
    backbone: Any = SimpleNamespace(hidden_size=5)
    layer = CrfHead().build(backbone, LABELS)
    generator = torch.Generator().manual_seed(seed or 0)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name == "emission.weight":
                parameter.copy_(torch.eye(5))
            elif seed is None or name == "emission.bias":
                parameter.zero_()
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layer


def _batch(rows: list[int], places: list[tuple[int, int, int]], labels: list[int] | None = None) -> Batch:
    """Sequences of 6 tokens; places: (sequence, token, word) of each word."""
    sequences, tokens, items = (torch.tensor([place[part] for place in places]) for part in range(3))
    mask = torch.ones(len(rows), 6, dtype=torch.long)
    target = None if labels is None else torch.tensor(labels)
    return Batch(torch.tensor(rows), mask, sequence_of=sequences, token_of=tokens, items=items, labels=target)


def _paths(length: int) -> list[tuple[int, ...]]:
    """Every legal one."""
    return [path for path in product(range(5), repeat=length) if _is_legal([LABELS.names[tag] for tag in path])]


def _is_legal(tags: list[str]) -> bool:
    before = ["O", *tags]
    return all(not tag.startswith("I-") or before[step][2:] == tag[2:] for step, tag in enumerate(tags))


def _score(layer: torch.nn.Module, states: torch.Tensor, path: tuple[int, ...]) -> float:
    """Of a path over (L, 5) states, one number after another."""
    state = {name: tensor.tolist() for name, tensor in layer.state_dict().items()}
    total = state["chain.start"][path[0]] + state["chain.end"][path[-1]]
    total += sum(float(states[step, tag]) for step, tag in enumerate(path))
    return float(total + sum(state["chain.follow"][one][other] for one, other in pairwise(path)))


def _log_sum(numbers: list[float]) -> float:
    return float(np.logaddexp.reduce(np.array(numbers, dtype=np.float64)))


@pytest.mark.parametrize("seed", range(6))
def test_sum_best_path_and_marginals_are_those_of_all_paths_written_out(seed: int) -> None:
    """Two chains of different lengths in one padded tensor, no pair of tags forbidden."""
    random = np.random.default_rng(seed)
    lengths, tags = (seed % 4 + 1, 4), 3
    emissions = torch.from_numpy(random.normal(size=(2, 4, tags)))
    scores = Scores(*(torch.from_numpy(random.normal(size=shape)) for shape in ((tags,), (tags, tags), (tags,))))
    present = torch.arange(4) < torch.tensor(lengths)[:, None]
    start, follow, end = (part.numpy() for part in scores)
    sums, chances = log_partition(emissions, present, scores), marginals(emissions, present, scores)
    for row, length in enumerate(lengths):
        paths = list(product(range(tags), repeat=length))
        of = {}
        for path in paths:
            between = sum(follow[one, other] for one, other in pairwise(path))
            of[path] = start[path[0]] + end[path[-1]] + between
            of[path] += sum(float(emissions[row, step, tag]) for step, tag in enumerate(path))
        assert float(sums[row]) == pytest.approx(_log_sum(list(of.values())))
        assert tuple(viterbi(emissions[row, :length].numpy(), start, follow, end)) == max(of, key=of.__getitem__)
        for step, tag in product(range(length), range(tags)):
            share = _log_sum([score for path, score in of.items() if path[step] == tag]) - float(sums[row])
            assert float(chances[row, step, tag]) == pytest.approx(np.exp(share))
        padded = torch.tensor([[*paths[-1], *[0] * (4 - length)]] * 2)
        assert float(path_score(emissions, present, scores, padded)[row]) == pytest.approx(of[paths[-1]])


@pytest.mark.parametrize("seed", range(4))
def test_the_loss_is_minus_the_log_probability_among_all_legal_paths(seed: int) -> None:
    """Rows 7 and 3 in one batch; row 3 in two windows, the later first."""
    places = [(0, 1, 0), (0, 2, 1), (1, 2, 2), (1, 4, 3), (2, 1, 0), (2, 3, 1)]
    batch = _batch([7, 3, 3], places, labels=[0, 1, 2, 0, 3, 4])
    hidden, layer = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(seed)), _layer(seed + 1)
    loss = CrfHead().loss(layer, hidden, batch)
    expected = 0.0
    for states, path in (
        (torch.stack([hidden[0, 1], hidden[0, 2]]), (0, 1)),
        (torch.stack([hidden[2, 1], hidden[2, 3], hidden[1, 2], hidden[1, 4]]), (3, 4, 2, 0)),
    ):
        path = path if _is_legal([LABELS.names[tag] for tag in path]) else (3, 4, 1, 0)
        expected += _log_sum([_score(layer, states, one) for one in _paths(len(path))]) - _score(layer, states, path)
    assert float(loss.total.detach()) == pytest.approx(expected, rel=1e-5)
    assert float(loss.items) == 6


def test_an_entity_whose_first_word_has_no_token_begins_at_the_next() -> None:
    """Tags B-x I-x I-x of words 0, 1, 2, of which word 0 has no token."""
    hidden, layer = torch.randn(1, 6, 5, generator=torch.Generator().manual_seed(1)), _layer(5)
    places = [(0, 1, 1), (0, 2, 2)]
    loss, same = (
        CrfHead().loss(layer, hidden, _batch([0], places, labels=labels)).total.detach() for labels in ([2, 2], [1, 2])
    )
    assert torch.isfinite(loss)
    assert torch.equal(loss, same)


@pytest.mark.parametrize("seed", range(8))
def test_answers_are_the_best_legal_path_and_its_marginals(seed: int) -> None:
    hidden, layer = 2 * torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(seed)), _layer(seed + 1)
    batch = _batch([4, 4], [(0, 2, 2), (0, 4, 3), (1, 1, 0), (1, 2, 1)])
    with torch.inference_mode():
        [answer] = CrfHead().decode(layer, hidden, batch, LABELS).values()
    states = torch.stack([hidden[1, 1], hidden[1, 2], hidden[0, 2], hidden[0, 4]])
    scores = {path: _score(layer, states, path) for path in _paths(4)}
    best = max(scores, key=scores.__getitem__)
    assert answer.value == tuple(LABELS.names[tag] for tag in best)
    total = _log_sum(list(scores.values()))
    chances = [_log_sum([one for path, one in scores.items() if path[step] == best[step]]) - total for step in range(4)]
    assert answer.probabilities == pytest.approx(np.exp(chances), rel=1e-5)
    assert answer.probability == pytest.approx(np.mean(np.exp(chances)), rel=1e-5)


def test_an_illegal_pair_of_tags_has_no_probability_however_likely_its_parts_are() -> None:
    hidden = torch.zeros(1, 6, 5)
    hidden[0, 1, 3] = hidden[0, 2, 2] = 300.0
    batch = _batch([0], [(0, 1, 0), (0, 2, 1)])
    layer = _layer()
    with torch.no_grad():
        layer.get_parameter("chain.follow")[3, 2] = 500.0
        [answer] = CrfHead().decode(layer, hidden, batch, LABELS).values()
    assert answer.value in (("B-y", "I-y"), ("B-y", "B-x"), ("B-y", "O"), ("B-x", "I-x"))
    assert _is_legal(list(answer.value))


def test_gradients_are_finite_and_those_of_small_differences() -> None:
    layer, hidden = _layer(3), torch.randn(1, 6, 5, generator=torch.Generator().manual_seed(9))
    batch = _batch([0], [(0, 1, 0), (0, 2, 1), (0, 3, 2)], labels=[1, 2, 0])
    CrfHead().loss(layer, hidden, batch).total.backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    follow = layer.get_parameter("chain.follow")
    assert follow.grad is not None
    assert follow.grad[0, 2] == 0  # O before I-x: impossible
    with torch.no_grad():
        ends = []
        for step in (1e-2, -1e-2):
            follow[1, 2] += step
            ends.append(float(CrfHead().loss(layer, hidden, batch).total))
            follow[1, 2] -= step
    assert float(follow.grad[1, 2]) == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=1e-2)


def test_without_scores_between_tags_it_answers_as_a_warm_started_tag_head() -> None:
    hidden = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(4))
    batch = _batch([0, 1], [(0, 1, 0), (0, 2, 1), (0, 3, 2), (0, 4, 3), (1, 1, 0), (1, 5, 1)])
    layer = _layer()
    linear = CrfHead().linear(layer)
    assert linear is not None
    with torch.inference_mode():
        mine, plain = CrfHead().decode(layer, hidden, batch, LABELS), TagHead().decode(linear, hidden, batch, LABELS)
    assert {row: answer.value for row, answer in mine.items()} == {row: answer.value for row, answer in plain.items()}


def test_a_long_confident_row_has_a_small_exact_loss() -> None:
    """Of 2,000 words, each right by 12: in 32 bits, two sums of 24,000 would leave little of their difference."""
    words = 2000
    hidden = torch.zeros(1, words, 5)
    hidden[0, :, 0] = 12.0
    places = torch.arange(words)
    zeros = torch.zeros(words, dtype=torch.long)
    mask = torch.ones(1, words, dtype=torch.long)
    batch = Batch(torch.tensor([0]), mask, sequence_of=zeros, token_of=places, items=places, labels=zeros)
    loss = float(CrfHead().loss(_layer(), hidden, batch).total.detach())
    alpha, follow = [0.0, -12.0, -np.inf, -12.0, -np.inf], _layer().get_buffer("legal_follow").double().numpy()
    for _ in range(words - 1):
        alpha = [_log_sum([alpha[one] + follow[one, tag] for one in range(5)]) for tag in range(5)]
        alpha = [value - (12.0 if tag else 0.0) for tag, value in enumerate(alpha)]
    assert loss == pytest.approx(_log_sum(alpha), rel=2e-2)


def test_rows_without_any_token_of_a_word_are_answered_with_nothing() -> None:
    batch = Batch(torch.tensor([4, 6]), torch.ones(2, 3, dtype=torch.long), labels=torch.zeros(0, dtype=torch.long))
    hidden = torch.randn(2, 3, 5)
    answers = CrfHead().decode(_layer(), hidden, batch, LABELS)
    assert {row: answer.value for row, answer in answers.items()} == {4: (), 6: ()}
    loss = CrfHead().loss(_layer(), hidden, batch)
    assert (float(loss.total.detach()), float(loss.items)) == (0.0, 0.0)


def test_a_tag_that_nothing_begins_is_refused() -> None:
    backbone: Any = SimpleNamespace(hidden_size=5)
    with pytest.raises(Unsupported, match=r"there is a tag 'I-x' and no 'B-x', which begins it"):
        CrfHead().build(backbone, Labels(("O", "I-x")))


def test_scores_between_old_tags_stay_when_new_ones_come() -> None:
    backbone: Any = SimpleNamespace(hidden_size=5)
    labels = LABELS.extended(Labels(("B-new", "I-new")))
    layer, old = CrfHead().build(backbone, labels), _layer(2)
    CrfHead().grown(layer, old.state_dict(), LABELS, labels)
    follow = layer.get_parameter("chain.follow").detach()
    torch.testing.assert_close(follow[:5, :5], old.get_parameter("chain.follow").detach(), rtol=0, atol=0)
    assert not follow[5:].any()
    assert not follow[:, 5:].any()
    torch.testing.assert_close(layer.get_parameter("chain.end")[:5], old.get_parameter("chain.end"), rtol=0, atol=0)
