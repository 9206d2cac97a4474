from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from adaptune.engine.warm_start import STRENGTHS, collect, fit, fit_head, humble, warm_start

Toys = Callable[..., Any]


def _data(rows: int = 120, size: int = 5, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(rows, size, generator=generator)
    noisy = features @ torch.randn(size, classes, generator=generator) + torch.randn(rows, classes, generator=generator)
    return features, noisy.argmax(dim=1)


@pytest.mark.parametrize("strength", [1e-1, 1e-2, 1e-3])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_fit_is_that_of_scikit_learn_at_the_same_l2(strength: float, weighted: bool) -> None:
    features, labels = _data()
    weights = torch.tensor([1.0, 3.0, 0.5]) if weighted else None
    loss_of = partial(torch.nn.functional.cross_entropy, weight=weights)
    [(weight, bias)] = fit(features, labels, 3, strengths=[strength], loss_of=loss_of, iterations=200)
    # scikit-learn minimises C * sum of losses + |W|^2 / 2.
    total = float(len(labels) if weights is None else weights[labels].sum())
    by_class = None if weights is None else dict(enumerate(weights.tolist()))
    model = LogisticRegression(C=1 / (strength * total), class_weight=by_class, tol=1e-8, max_iter=10_000)
    model.fit(features.double().numpy(), labels.numpy())
    expected = torch.tensor(model.coef_, dtype=torch.float32)
    torch.testing.assert_close(weight, expected, rtol=0, atol=2e-3 * float(expected.abs().max()))
    free, given = torch.tensor(model.intercept_, dtype=torch.float32), bias
    torch.testing.assert_close(given - given.mean(), free - free.mean(), rtol=0, atol=2e-3)


def test_strengths_are_tried_from_strong_to_weak() -> None:
    assert list(STRENGTHS) == sorted(STRENGTHS, reverse=True)
    features, labels = _data()
    sizes = [float(weight.norm()) for weight, _ in fit(features, labels, 3)]
    assert sizes == sorted(sizes)


def test_the_head_is_left_at_its_best_metric(toy: Toys, toy_batches: Toys) -> None:
    assembly, train, valid = toy(), toy_batches(30), toy_batches(30)
    metrics, seen = iter([0.3, 0.9, 0.5, 0.6, 0.7, 0.8]), []

    def evaluate() -> Mapping[str, float]:
        seen.append({name: tensor.clone() for name, tensor in assembly.layer.state_dict().items()})
        return {"f1": next(metrics), "loss": float(len(seen))}

    assert warm_start(assembly, train(0), valid(0), evaluate=evaluate, metric="f1") == {"f1": 0.9, "loss": 2.0}
    for name, tensor in assembly.layer.state_dict().items():
        assert torch.equal(tensor, seen[1][name])


def test_a_warm_started_head_separates_what_can_be_separated(toy: Toys, toy_batches: Toys) -> None:
    assembly, batches = toy(), toy_batches(40, 40)

    def evaluate() -> Mapping[str, float]:
        features, labels = collect(assembly, batches(0))
        with torch.no_grad():
            return {"accuracy": float((assembly.layer(features).argmax(dim=1) == labels).float().mean())}

    before = evaluate()
    found = warm_start(assembly, batches(0), batches(0), evaluate=evaluate, metric="accuracy")
    assert found == evaluate()
    assert found is not None
    assert found["accuracy"] >= 0.95 > before["accuracy"]
    assert all(parameter.requires_grad for parameter in assembly.layer.parameters())


def test_a_feature_without_variance_does_not_blow_up(toy: Toys, toy_batches: Toys) -> None:
    assembly, batches = toy(), toy_batches(40)
    with torch.no_grad():
        assembly.trunk.weight[2] = 0.0
    warm_start(assembly, batches(0), batches(0), evaluate=lambda: {"f1": 0.5}, metric="f1")
    assert float(assembly.layer.weight.detach().abs().max()) < 1e3
    assert math.isfinite(float(assembly.layer.bias.detach().sum()))


def test_a_feature_that_is_next_to_nothing_gets_no_huge_weight(toy: Toys, toy_batches: Toys) -> None:
    assembly, batches = toy(), toy_batches(30)
    with torch.no_grad():
        assembly.trunk.weight[2], assembly.trunk.bias[2] = 1e-32 * assembly.trunk.weight[2], 1e-32
    warm_start(assembly, batches(0), batches(0), evaluate=lambda: {"f1": 0.0}, metric="f1")
    assert not assembly.layer.weight[:, 2].any()
    assert assembly.layer.weight.any()


def test_a_head_without_a_linear_optimum_is_left_alone(
    toy: Toys, toy_batches: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    assembly, batches = toy(), toy_batches(8)
    monkeypatch.setattr(type(assembly.head), "linear", lambda head, layer: None)
    before = assembly.layer.weight.clone()

    def measure() -> Mapping[str, float]:
        pytest.fail("nothing to measure")

    assert warm_start(assembly, batches(0), batches(0), evaluate=measure, metric="f1") is None
    assert torch.equal(assembly.layer.weight, before)


def test_by_one_given_strength_the_layer_is_at_its_optimum_on_features_of_length_1_without_a_bias(
    toy: Toys, toy_batches: Toys
) -> None:
    assembly, train = toy(), toy_batches(30)
    fit_head(assembly, train(0), 1e-3)
    features, labels = collect(assembly, train(0))
    units = features / features.norm(dim=1, keepdim=True)
    # Of two labels scikit-learn has one vector, the difference of our two: its square is twice the sum of theirs.
    model = LogisticRegression(C=2 / (1e-3 * len(labels)), fit_intercept=False, tol=1e-8, max_iter=10_000)
    model.fit(units.double().numpy(), labels.numpy())
    with torch.no_grad():
        outputs = assembly.head.linear(assembly.layer)(units * features.norm(dim=1).mean())
    expected = torch.from_numpy(model.predict_proba(units.double().numpy())).float()
    torch.testing.assert_close(outputs.softmax(dim=1), expected, rtol=0, atol=5e-3)
    assert not bool(assembly.layer.bias.any())


def test_a_fitted_layer_is_scaled_to_the_norm_of_a_fresh_one_and_never_up() -> None:
    torch.manual_seed(0)
    large, fresh, small = (torch.nn.Linear(384, 77) for _ in range(3))
    with torch.no_grad():
        large.weight.mul_(9.0)
        small.weight.mul_(0.1)
    before = {layer: (layer.weight.detach().clone(), layer.bias.detach().clone()) for layer in (large, small)}
    humble(large, "auto")
    humble(small, "auto")
    reached = float(large.weight.detach().norm())
    assert reached == pytest.approx(float(fresh.weight.detach().norm()), rel=0.02)
    torch.testing.assert_close(large.bias, reached / before[large][0].norm() * before[large][1])
    assert torch.equal(small.weight, before[small][0])
    humble(small, 0.5)
    torch.testing.assert_close(small.weight, 0.5 * before[small][0])
    torch.testing.assert_close(small.bias, 0.5 * before[small][1])
