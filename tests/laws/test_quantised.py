"""What holds on a base whose matrices are quantised: every method does there what it does on a plain one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch, Encoded
from adaptune.core.errors import Unsupported
from adaptune.core.method import Member, Method, Rows
from adaptune.core.types import Labels
from adaptune.engine.loop import Step
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly

if importlib.util.find_spec("bitsandbytes") is None:
    pytest.skip("bitsandbytes is not installed: pip install 'adaptune[quantised]'", allow_module_level=True)

from adaptune.models.quantise import Quantised, as_family, dequantised
from adaptune.models.share import share

KINDS = ("int8", "nf4")
FAMILIES = ("bert", "llama", "gpt2", "t5", "bart")
QUICK = {("bert", "nf4"), ("llama", "int8")}
SETTINGS: dict[str, dict[str, Any]] = {
    "adapter": {"reduction_factor": 4},
    "lokr": {"rank": 2},
    "prefix": {"length": 5},
    "prompt": {"length": 5},
    "ptuning": {"length": 5, "encoder": "mlp"},
    "top_layers": {"layers": 1},
}
"""As small as the models."""
FURTHER: tuple[dict[str, Any], ...] = (
    {"name": "lora", "dora": True},
    {"name": "lora", "rank_stabilised": True, "targets": "all", "rank": 4},
    {"name": "lora", "initialisation": "pissa"},
    {"name": "lora", "initialisation": "olora"},
    {"name": "lora", "initialisation": "eva", "rank": 4},
    {"name": "adapter", "variant": "parallel", "reduction_factor": 4},
)
"""Settings of methods that look at the matrices themselves, or at what they read."""
REFUSED = [name for name in METHODS.names() if METHODS.get(name).trains_matrices]
SECTIONS = [{"name": name, **SETTINGS.get(name, {})} for name in METHODS.names() if name not in REFUSED] + [*FURTHER]


UNFIT = {("bitfit", "llama"), ("bitfit", "t5"), ("loha", "gpt2"), ("lokr", "gpt2")}
"""Refused on plain bases too."""


def _is_quick(section: dict[str, Any], family: str, weights: str) -> bool:
    return (family, weights) in QUICK and (weights == "nf4" or section in ({"name": "lora"}, FURTHER[0]))


def _each(*families: str, sections: list[dict[str, Any]] = SECTIONS) -> pytest.MarkDecorator:
    """Every method that a quantised base takes, with every family and both ways to quantise."""
    return pytest.mark.parametrize(
        ("section", "family", "weights"),
        [
            pytest.param(
                section,
                family,
                weights,
                id="-".join([*map(str, section.values()), family, weights]),
                marks=() if _is_quick(section, family, weights) else pytest.mark.slow,
            )
            for section in sections
            for family in families
            for weights in KINDS
            if (section["name"], family) not in UNFIT
        ],
    )


@pytest.fixture(scope="session")
def bases(backbone_of: Callable[..., Backbone]) -> Callable[[str, str], tuple[Backbone, Backbone]]:
    """bases("bert", "nf4"): a quantised base, and a plain one whose matrices are what those of the first stand for."""
    made: dict[tuple[str, str], tuple[Backbone, Backbone]] = {}

    def find(family: str, weights: str) -> tuple[Backbone, Backbone]:
        if (family, weights) not in made:
            held = backbone_of(family, weights=weights)
            trunk: Any = as_family(dequantised(share(held.trunk)))
            made[family, weights] = held, replace(held, whole=trunk, trunk=trunk, weights="float")
        return made[family, weights]

    return find


@pytest.fixture
def both(bases: Callable[[str, str], tuple[Backbone, Backbone]]) -> Callable[..., tuple[Assembly, Assembly]]:
    """both({"name": "lora"}, "bert", "nf4"): the same adapter on the quantised base and on the plain one."""

    def make(section: dict[str, Any], family: str, weights: str) -> tuple[Assembly, Assembly]:
        one, other = (_assembly(base, section) for base in bases(family, weights))
        return one, other

    return make


def _assembly(backbone: Backbone, section: dict[str, Any]) -> Assembly:
    head = HEADS.make({"name": "classify"})
    return Assembly(backbone, METHODS.make(section), head, Labels(("no", "yes"), (24, 24)), seed=3)


def _tensors(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@_each("bert", "llama", "gpt2", "t5", "bart")
def test_gives_the_states_and_gradients_of_the_dequantised_base(
    both: Callable[..., tuple[Assembly, Assembly]],
    batch_for: Callable[..., Batch],
    scatter: Callable[[Assembly], Assembly],
    section: dict[str, Any],
    family: str,
    weights: str,
) -> None:
    held, plain = both(section, family, weights)
    batch = batch_for(held)
    for assembly in (held, plain):
        assembly.method.prepare(assembly.trunk, [batch] * 3, 10)
    scatter(plain).load(scatter(held).state())
    sums = [assembly(batch).total for assembly in (held, plain)]
    torch.testing.assert_close(*sums, rtol=1e-5, atol=1e-6)
    for loss in sums:
        loss.backward()
    gradients = [
        {name: p.grad for name, p in assembly.named_parameters() if p.requires_grad} for assembly in (held, plain)
    ]
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-5)


@_each("bert", "llama", sections=[section for section in SECTIONS if METHODS.get(section["name"]).steps])
def test_learns_a_planted_rule_and_leaves_the_base_bit_identical(
    both: Callable[..., tuple[Assembly, Assembly]],
    encoded_for: Callable[..., list[Encoded]],
    train_on: Callable[..., Iterator[Step]],
    section: dict[str, Any],
    family: str,
    weights: str,
) -> None:
    held, _ = both(section, family, weights)
    before = _tensors(held.backbone.whole)
    rate = 1e-2 if section["name"] in ("lora", "adalora", "adapter", "loha", "lokr") else 3e-2
    steps = list(train_on(held, encoded_for(held, rows=16), max_steps=12, learning_rate=rate))
    assert steps[-1].loss < 0.9 * steps[0].loss
    after = held.backbone.whole.state_dict()
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


@_each("bert", "llama")
def test_a_state_gives_equal_outputs_in_another_assembly(
    both: Callable[..., tuple[Assembly, Assembly]],
    batch_for: Callable[..., Batch],
    hidden_of: Callable[..., Tensor],
    scatter: Callable[[Assembly], Assembly],
    section: dict[str, Any],
    family: str,
    weights: str,
) -> None:
    one, other = scatter(both(section, family, weights)[0]), both(section, family, weights)[0]
    batch = batch_for(one)
    expected = hidden_of(one, batch)
    other.load({name: tensor.clone() for name, tensor in one.state().items()})
    assert torch.equal(hidden_of(other, batch), expected)


@_each("bert", "gpt2", sections=[s for s in SECTIONS if METHODS.get(s["name"]).merged is not Method.merged])
def test_merges_into_the_dequantised_base(
    both: Callable[..., tuple[Assembly, Assembly]],
    bases: Callable[[str, str], tuple[Backbone, Backbone]],
    batch_for: Callable[..., Batch],
    hidden_of: Callable[..., Tensor],
    scatter: Callable[[Assembly], Assembly],
    section: dict[str, Any],
    family: str,
    weights: str,
) -> None:
    held = scatter(both(section, family, weights)[0])
    batch = batch_for(held)
    expected = hidden_of(held, batch)
    trunk = as_family(held.method.merged(dequantised(share(held.trunk))))
    plain = bases(family, weights)[1]
    assert trunk.state_dict().keys() == plain.trunk.state_dict().keys()
    merged = _assembly(replace(plain, whole=trunk, trunk=trunk), {"name": "head_only"})
    torch.testing.assert_close(hidden_of(merged, batch), expected, rtol=0, atol=2e-5)


@_each("bert", "llama", sections=[s for s in SECTIONS if METHODS.get(s["name"]).mixed is not Method.mixed])
def test_a_mixed_pass_equals_each_bundle_alone(
    both: Callable[..., tuple[Assembly, Assembly]],
    batch_for: Callable[..., Batch],
    hidden_of: Callable[..., Tensor],
    scatter: Callable[[Assembly], Assembly],
    section: dict[str, Any],
    family: str,
    weights: str,
) -> None:
    one, other = scatter(both(section, family, weights)[0]), both(section, family, weights)[0]
    other.load({name: 1.1 * tensor for name, tensor in one.state().items()})
    batch = batch_for(one, rows=4)
    members = [Member(assembly.method, assembly.method.state(assembly.trunk)) for assembly in (one, other)]
    rows = Rows(torch.tensor([0, 1, 1, 0]))
    mixed = _assembly(one.backbone, {"name": "head_only"})
    mixed.trunk = one.method.mixed(mixed.trunk, members, rows)
    alone = torch.stack([hidden_of(assembly, batch) for assembly in (one, other)])
    torch.testing.assert_close(hidden_of(mixed, batch), alone[rows.of, torch.arange(4)], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weights", KINDS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_trains_matrices_is_refused_by_name(
    bases: Callable[[str, str], tuple[Backbone, Backbone]], name: str, weights: str
) -> None:
    with pytest.raises(Unsupported, match=rf"'{name}'.*model\.weights={weights}.*use lora"):
        _assembly(bases("bert", weights)[0], {"name": name, **SETTINGS.get(name, {})})


def test_those_that_copy_matrices_are_the_ones_refused() -> None:
    assert REFUSED == ["full", "top_layers"]


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_do_not_depend_on_neighbours_in_a_batch(
    bases: Callable[[str, str], tuple[Backbone, Backbone]], batch_for: Callable[..., Batch], family: str
) -> None:
    for weights in KINDS:
        held = _assembly(bases(family, weights)[0], {"name": "head_only"}).eval()
        together = held.answers(batch_for(held, rows=6))
        alone = held.answers(batch_for(held, rows=1))
        assert alone[0].probability == pytest.approx(together[0].probability, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_matrices_of_layers_alone_are_quantised(
    bases: Callable[[str, str], tuple[Backbone, Backbone]], family: str
) -> None:
    for weights in KINDS:
        backbone = bases(family, weights)[0]
        held = [name for name, module in backbone.trunk.named_modules() if isinstance(module, Quantised)]
        inside = tuple(f"{stack.layers}." for stack in backbone.roles.stacks)
        assert held
        assert all(name.startswith(inside) for name in held)
        others = [
            name
            for name, parameter in backbone.whole.named_parameters()
            if not parameter.is_floating_point() and name.rpartition(".")[0] not in held
        ]
        assert others == []
