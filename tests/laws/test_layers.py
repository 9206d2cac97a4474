"""Rates that differ by layer, and layers that begin to learn one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from adaptune.core.batch import Batch, Encoded
from adaptune.core.errors import Unsupported
from adaptune.engine.config import TrainConfig
from adaptune.engine.layers import first_steps
from adaptune.engine.loop import Step, parameter_groups
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly

Assemble = Callable[..., Assembly]
PLACELESS = {"head_only", "ladder", "none", "prompt", "ptuning"}
"""Methods that train no weight within a layer of the trunk."""
FACTORS = {
    "bert": {"embeddings.": 0.25, "encoder.layer.0.": 0.5, "encoder.layer.1.": 1.0},
    "gpt2": {"wte.": 0.25, "wpe.": 0.25, "h.0.": 0.5, "h.1.": 1.0, "ln_f.": 1.0},
    "t5": {
        "shared.": 0.25,
        "encoder.block.0.": 0.5,
        "encoder.block.1.": 1.0,
        "decoder.block.0.": 0.5,
        "decoder.block.1.": 1.0,
        "encoder.final_layer_norm.": 1.0,
        "decoder.final_layer_norm.": 1.0,
    },
}
"""With a decay of a half, two layers to a stack."""


def _rates(assembly: Assembly, **settings: Any) -> dict[str, float]:
    """The peak rate of every parameter of the trunk that learns, by its name."""
    groups = parameter_groups(assembly, TrainConfig.model_validate(settings))
    by_id = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    return {name: by_id[id(p)] for name, p in assembly.trunk.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("family", FACTORS)
def test_the_rate_halves_from_each_layer_to_the_one_below(assemble: Assemble, family: str) -> None:
    rates = _rates(assemble(family, {"name": "full"}), learning_rate=0.08, layer_decay=0.5)
    for name, rate in rates.items():
        [factor] = [factor for start, factor in FACTORS[family].items() if name.startswith(start)]
        assert rate == pytest.approx(0.08 * factor), name


def test_a_step_moves_every_weight_by_its_gradient_times_its_layers_rate(
    assemble: Assemble, batch_for: Callable[..., Batch], train_on: Callable[..., Iterator[Step]], encoded_for: Any
) -> None:
    plain, decayed = assemble("bert", {"name": "full"}), assemble("bert", {"name": "full"})
    for assembly in (plain, decayed):
        for module in assembly.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    loss = plain(batch_for(plain, rows=6))
    (loss.total / loss.items).backward()
    before = {name: p.detach().clone() for name, p in decayed.trunk.named_parameters()}
    settings = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "clip": None, "max_steps": 1}
    list(train_on(decayed, encoded_for(decayed, rows=6), learning_rate=0.1, layer_decay=0.5, **settings))
    gradients = {name: p.grad for name, p in plain.trunk.named_parameters()}
    for name, parameter in decayed.trunk.named_parameters():
        [factor] = [factor for start, factor in FACTORS["bert"].items() if name.startswith(start)]
        torch.testing.assert_close(parameter, before[name] - 0.1 * factor * gradients[name], rtol=1e-5, atol=1e-7)


def test_loras_faster_matrix_stays_faster_in_every_layer(assemble: Assemble) -> None:
    rates = _rates(assemble("bert", {"name": "lora", "learning_rate_ratio": 4}), learning_rate=0.01, layer_decay=0.5)
    for name, rate in rates.items():
        layer = 1.0 if ".layer.1." in name else 0.5
        assert rate == pytest.approx(0.01 * layer * (4 if ".lora_B." in name else 1)), name


def test_the_head_has_the_whole_rate_and_the_first_group_the_highest_layer(assemble: Assemble) -> None:
    assembly = assemble("bert", {"name": "full"})
    groups = parameter_groups(assembly, TrainConfig(learning_rate=0.01, layer_decay=0.5))
    assert [group["lr"] for group in groups] == pytest.approx([0.01, 0.005, 0.0025, 0.01])


@pytest.mark.parametrize("name", METHODS.names())
def test_methods_without_weights_in_layers_refuse_both_by_name(assemble: Assemble, name: str) -> None:
    assembly, epochs = assemble("bert", {"name": name}), 5 if METHODS.get(name).steps else 0
    decayed = TrainConfig(epochs=epochs, layer_decay=0.9, learning_rate=0.01)
    if name not in PLACELESS:
        assert parameter_groups(assembly, decayed)
        return
    with pytest.raises(Unsupported, match=rf"layer_decay is 0.9, and method '{name}' trains no weights that stand in"):
        parameter_groups(assembly, decayed)
    with pytest.raises(Unsupported, match=rf"unfreeze is 0.5, and method '{name}' trains .* set train.unfreeze=0"):
        first_steps(assembly, TrainConfig(unfreeze=0.5), 10)


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ({"name": "adalora"}, "'adalora' judges its weights by their gradients"),
        ({"name": "top_layers", "layers": 1}, "'top_layers' trains weights of one layer alone"),
    ],
    ids=["adalora", "top_layers"],
)
def test_what_gradual_unfreezing_does_not_suit_is_named(assemble: Assemble, method: Any, reason: str) -> None:
    with pytest.raises(Unsupported, match=f"train.unfreeze is 0.5, and method {reason}"):
        first_steps(assemble("bert", method), TrainConfig(unfreeze=0.5), 10)


def test_layers_begin_to_learn_from_the_top_and_embeddings_last(
    assemble: Assemble, encoded_for: Callable[..., list[Encoded]], train_on: Callable[..., Iterator[Step]]
) -> None:
    """Eight steps, a half of them to unfreeze: layer 1 from the first, layer 0 from the third, embeddings the fifth."""
    assembly = assemble("bert", {"name": "full"})
    starts = ["embeddings.", "encoder.layer.0.", "encoder.layer.1."]
    moved = []
    before = {name: p.detach().clone() for name, p in assembly.named_parameters()}
    for _ in train_on(assembly, encoded_for(assembly, rows=16), max_steps=8, learning_rate=0.01, unfreeze=0.5):
        after = {name: p.detach().clone() for name, p in assembly.named_parameters()}
        names = [name for name in after if not torch.equal(after[name], before[name])]
        moved.append([start for start in starts if any(name.startswith(f"trunk.{start}") for name in names)])
        assert any(name.startswith("layer.") for name in names), "the head waits for nothing"
        before = after
    assert moved == [starts[2:]] * 2 + [starts[1:]] * 2 + [starts] * 4
