"""What layers that learn no more must keep: the others' gradients, their own weights, answers; and which they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from adaptune.core.batch import Batch, Encoded
from adaptune.core.errors import Unsupported
from adaptune.data.batches import Batches, Budget, by_rows, collate
from adaptune.engine.config import TrainConfig
from adaptune.engine.fit import Evaluation, Fit
from adaptune.engine.settling import Settled, Settling, check_settling, learned_by_layer
from adaptune.engine.trunk_cache import Read, keeping, layers_to_keep
from adaptune.models.assembly import Assembly

Assemble = Callable[..., Assembly]
Rows = Callable[..., list[Encoded]]
METHODS: list[dict[str, Any]] = [
    {"name": "lora", "rank": 4},
    {"name": "lora", "rank": 4, "dora": True, "targets": "all"},
    {"name": "vera", "rank": 16},
    {"name": "ia3"},
    {"name": "adapter", "reduction_factor": 4},
    {"name": "top_layers", "layers": 2},
]
NAMES = ["lora", "dora", "vera", "ia3", "adapter", "top_layers"]


def _read(assembly: Assembly, encoded: list[Encoded]) -> Read:
    pad = assembly.backbone.tokenizer.pad_token_id
    batches = [collate([encoded[i] for i in some], pad) for some in by_rows(encoded, Budget(tokens=128, rows=8))]
    return Read(assembly, batches, sum(len(one.ids) for one in encoded))


def _gradients(assembly: Assembly, batch: Batch) -> dict[str, Tensor]:
    """Of every weight that has one."""
    assembly.train().zero_grad()
    for module in assembly.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    assembly(batch).total.backward()
    return {name: weight.grad.clone() for name, weight in assembly.named_parameters() if weight.grad is not None}


def _distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    difference = sum(float((one[name] - other[name]).square().sum()) for name in one)
    return float((difference / sum(float(tensor.square().sum()) for tensor in one.values())) ** 0.5)


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_gradients_of_layers_that_still_learn_are_those_without_it_kept_or_not(
    assemble: Assemble, encoded_for: Rows, scatter: Any, method: dict[str, Any]
) -> None:
    assembly = scatter(assemble("bert", method))
    encoded = encoded_for(assembly, rows=9)
    batch = collate(encoded, assembly.backbone.tokenizer.pad_token_id)
    own = {name for name, _ in assembly.named_parameters() if f"{assembly.backbone.roles.main.layers}.0." in name}
    everything = _gradients(assembly, batch)
    assert everything.keys() & own
    expected = {name: gradient for name, gradient in everything.items() if name not in own}
    assembly.still = 1
    assert assembly.frozen_layers == 1
    assert _distance(expected, _gradients(assembly, batch)) < 1e-5
    with keeping([_read(assembly, encoded)], TrainConfig(), 1):
        assert _distance(expected, _gradients(assembly, batch)) < 1e-5
    assert assembly.state().keys() == assemble("bert", method).state().keys(), "what was learned still counts as that"


def _fit(assembly: Assembly, encoded: list[Encoded], evaluate: Callable[[], dict[str, float]], settle: float) -> Fit:
    config = TrainConfig.model_validate(
        {"settle": settle, "epochs": 3, "device": "cpu", "patience": None, "warm_start": False}
    )
    batches = Batches(encoded, Budget(tokens=1024, rows=8), pad=assembly.backbone.tokenizer.pad_token_id, seed=3)
    return Fit(assembly, batches, config, seed=3, metric="accuracy", evaluate=evaluate)


def test_a_settled_layer_stays_as_it_is_and_answers_are_those_of_whole_passes(
    assemble: Assemble, encoded_for: Rows
) -> None:
    assembly = assemble("bert", {"name": "lora", "rank": 4, "dropout": 0.2})
    encoded = encoded_for(assembly, rows=24)
    batch = collate(encoded[:9], assembly.backbone.tokenizer.pad_token_id)
    scores = iter([0.1, 0.4, 0.3, 0.2])
    fit = _fit(assembly, encoded, lambda: {"accuracy": next(scores)}, 1.0)
    layers = learned_by_layer(assembly.trunk, assembly.backbone.roles)
    at_best: dict[str, Tensor] = {}
    settled: list[Tensor] = []
    stores = []
    for event in fit:
        if isinstance(event, Settled):
            assert (event.layers, event.of, event.epoch) == (1, 2, 1.0)
            settled = [weight.detach().clone() for weight in layers[0]]
            above = [weight.detach().clone() for weight in layers[1]]
            stores.append(keeping([_read(assembly, encoded)], fit.config, assembly.frozen_layers))
            stores[-1].__enter__()
        elif isinstance(event, Evaluation):
            if event.gained:
                at_best = {name: tensor.clone() for name, tensor in assembly.state().items()}
            with torch.no_grad():
                assembly.eval()
                found, below = assembly.hidden(batch), assembly.below
                assembly.below = None
                assert found[batch.mask.bool()].allclose(assembly.hidden(batch)[batch.mask.bool()], atol=1e-5)
                assembly.below = below
            if settled and event.epoch > 1:
                assert below is not None
                assert all(weight.equal(kept) for weight, kept in zip(layers[0], settled, strict=True))
                assert not any(weight.equal(old) for weight, old in zip(layers[1], above, strict=True))
    assert len(stores) == 1
    assert fit.settled == [(3, 1)]
    assert fit.best.step == 3
    assert all(tensor.equal(at_best[name]) for name, tensor in assembly.state().items())
    assert assembly.below is None, "what was kept is not of the best weights"
    assert assembly.still == 0


def test_layers_settle_from_the_lowest_up_and_never_above_one_that_moves(assemble: Assemble) -> None:
    assembly = assemble("bert", {"name": "top_layers", "layers": 2})
    first, last = learned_by_layer(assembly.trunk, assembly.backbone.roles)

    def move(one: float, other: float) -> None:
        with torch.no_grad():
            for weights, by in ((first, one), (last, other)):
                weights[0].flatten()[0] += by

    for low, expected in ((3.0, (0.6, 0.2)), (1.0, (1 / 3, 0.2))):
        settling = Settling(assembly, TrainConfig(settle=0.4))
        settling.begin()
        move(2.0, 4.0)
        assert settling.observe(7, 1.0) is None, "in the first epoch a layer goes all of its way"
        move(low, 1.0)
        found = settling.observe(14, 2.0)
        if low == 3.0:
            assert found is None, "the lowest one moves, and the one above it never goes first"
            continue
        assert found is not None
        assert found.shares == pytest.approx(expected, abs=1e-4)
        assert (found.layers, assembly.still, settling.history) == (1, 1, [(14, 1)])
        assert settling.observe(21, 3.0) is None, "the last one that learns never settles"
        assert str(found) == (
            "1 of 2 layers learn no more after step 14 (epoch 2); of their way since the start, those that learned "
            "went in the last epoch, from the lowest up: 33 %, 20 %"
        )
        settling.end()


def test_what_settled_is_taken_up_again(assemble: Assemble) -> None:
    one, other = (assemble("bert", {"name": "lora", "dropout": 0.3}) for _ in range(2))
    settling = Settling(one, TrainConfig(settle=1.0))
    settling.begin()
    settling.observe(5, 1.0)
    resumed = Settling(other, TrainConfig(settle=1.0))
    resumed.load(settling.state())
    assert (other.still, resumed.layers, resumed.history) == (1, 1, [(5, 1)])
    lower, upper = other.train().trunk.get_submodule(other.backbone.roles.main.layers).children()
    assert not any(module.training for module in lower.modules()), "nor has it dropout"
    assert any(module.training for module in upper.modules())


def test_until_a_layer_settles_there_may_be_nothing_to_keep_wherever_it_would_be_kept(assemble: Assemble) -> None:
    assembly = assemble("bert", {"name": "lora"})
    config = TrainConfig(settle=0.2, trunk_cache="memory")
    assert layers_to_keep([Read(assembly, (), 1)], config, passes=9) == 0
    assembly.still = 1
    assert layers_to_keep([Read(assembly, (), 1)], config, passes=9) == 1


REFUSED: list[tuple[str, dict[str, Any], str, bool, str]] = [
    ("bert", {"name": "full"}, "classify", False, "method 'full' changes what the first layer reads"),
    ("bert", {"name": "bitfit"}, "classify", False, "method 'bitfit' changes what the first layer reads"),
    ("bert", {"name": "prompt", "length": 3}, "classify", False, "method 'prompt' changes what the first layer reads"),
    ("bert", {"name": "prefix", "length": 3}, "classify", False, "method 'prefix' changes what the first layer reads"),
    ("bert", {"name": "adalora"}, "classify", False, "method 'adalora' judges its weights by their gradients"),
    ("bert", {"name": "head_only"}, "classify", False, "method 'head_only' trains weights of 0 layers"),
    ("bert", {"name": "top_layers", "layers": 1}, "classify", False, "'top_layers' trains weights of 1 layers"),
    ("bert", {"name": "lora"}, "classify", True, "train.dropout is true"),
    ("bert", {"name": "lora"}, "words", False, "head 'words' hides other tokens of a text"),
    ("t5", {"name": "lora"}, "classify", False, "family 't5' have two stacks"),
]


@pytest.mark.parametrize(("family", "method", "head", "dropout", "why"), REFUSED)
def test_it_is_refused_where_it_would_be_wrong(
    assemble: Assemble, family: str, method: dict[str, Any], head: str, dropout: bool, why: str
) -> None:
    assembly = assemble(family, method, head, dropout=dropout)
    with pytest.raises(Unsupported, match=rf"^train\.settle is 0\.2, and .*{why}.*; set train\.settle=0$"):
        check_settling(assembly, TrainConfig(settle=0.2))


def test_settings_that_contradict_it_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"settle is 0\.2, which saves time by what trunk_cache keeps"):
        TrainConfig(settle=0.2, trunk_cache="off")
    with pytest.raises(ValidationError, match=r"unfreeze 0\.5 lets the lowest layers begin to learn last"):
        TrainConfig(settle=0.2, unfreeze=0.5)
