"""What every method must keep. A new method needs one entry in CASES: how many numbers its paper says learn."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch, Encoded
from adaptune.core.errors import Unsupported
from adaptune.core.method import Member, Method, Rows, learning
from adaptune.engine.loop import Step
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.share import share

FAMILIES = ("bert", "llama", "gpt2", "t5", "bart")
QUICK = {("bert", "classify"), ("llama", "tag"), ("gpt2", "generate"), ("t5", "classify"), ("bart", "tag")}
"""The other pairs of family and head belong to `make test-all`."""
TOLERANCE = {"float32": 1e-5, "bfloat16": 5e-2, "float16": 1e-2}
"""How far merged hidden states, of size 1, may be from unmerged ones: a few roundings of the weights' type."""

Assemble = Callable[..., Assembly]
Pairs = list[tuple[int, int]]


@dataclass(frozen=True)
class Sizes:
    """The letters in which papers count. All stacks of a model have L layers."""

    family: str
    L: int
    D: int
    F: int
    K: int
    """Width of keys and values."""
    V: int
    """Words."""
    P: int
    """Positions, with those that a family leaves unused."""

    @property
    def stacks(self) -> int:
        return 2 if self.family in ("t5", "bart") else 1

    @property
    def biased(self) -> bool:
        return self.family in ("bert", "gpt2", "bart")

    def attention(self) -> Pairs:
        """(in, out) of every matrix of attention in the model."""
        d, k = self.D, self.K
        one = [(d, 3 * d), (d, d)] if self.family == "gpt2" else [(d, d), (d, k), (d, k), (d, d)]
        return one * self.L * (3 if self.stacks == 2 else 1)  # self-attention twice and cross-attention

    def mlp(self) -> Pairs:
        """(in, out) of every matrix of the feed-forward parts."""
        d, f = self.D, self.F
        one = [(d, f), (d, f), (f, d)] if self.family == "llama" else [(d, f), (f, d)]
        return one * self.L * self.stacks

    def norms(self) -> int:
        """How many norms there are, of D weights each (and D biases, where the family has biases)."""
        return {
            "bert": 1 + 2 * self.L,
            "llama": 2 * self.L + 1,
            "gpt2": 2 * self.L + 1,
            "t5": 5 * self.L + 2,
            "bart": 5 * self.L + 2,
        }[self.family]

    def biases(self) -> int:
        """How many numbers are biases: one for each output of a matrix, D for each norm."""
        return self.biased * (sum(out for _, out in self.attention() + self.mlp()) + self.norms() * self.D)

    def embeddings(self) -> int:
        """Of words, positions and types; T5's 32 distances for 4 heads in each stack."""
        positions = {"t5": 2 * 32 * 4, "bart": 2 * (self.P + 2) * self.D, "llama": 0}.get(self.family, self.P * self.D)
        return self.V * self.D + positions + (2 * self.D if self.family == "bert" else 0)

    def all(self) -> int:
        """Every weight of the trunk."""
        matrices = sum(a * b for a, b in self.attention() + self.mlp())
        return self.embeddings() + matrices + self.norms() * self.D + self.biases()

    def last_layer(self) -> int:
        """The last layer of the stack that heads read, and the norm behind it."""
        of_decoder = {"t5": (3, 1), "bart": (3, 0), "bert": (2, 0), "llama": (2, 1), "gpt2": (2, 1)}
        inside, behind = of_decoder[self.family]
        attention = self.attention()[: len(self.attention()) // self.L // (3 if self.stacks == 2 else 1)]
        matrices = attention * self.stacks + self.mlp()[: len(self.mlp()) // self.L // self.stacks]
        biases = self.biased * sum(out for _, out in matrices)
        return sum(a * b for a, b in matrices) + biases + (inside + behind) * self.D * (2 if self.biased else 1)


Formula = Callable[[Sizes], int | None]
"""How many numbers of the trunk learn; None: the method refuses the family."""


@dataclass(frozen=True)
class Case:
    """A way to use a method."""

    formula: Formula
    settings: dict[str, Any] = field(default_factory=dict)


def _low_rank(pairs: Pairs, rank: int) -> int:
    """Sum of r (d_in + d_out)."""
    return sum(rank * (a + b) for a, b in pairs)


def _bottlenecks(s: Sizes, count: int, width: int) -> int:
    """2 m d + d + m for each adapter, section 2.1 of Houlsby et al."""
    return count * (2 * width * s.D + s.D + width)


def _ladder(s: Sizes, width: int, expansion: int) -> int:
    """L + 1 projections down; a gate, a norm and two matrices with biases for each layer; a norm and one matrix up."""
    inside = expansion * width
    block = 1 + 2 * width + (width + 1) * inside + (inside + 1) * width
    return (s.L + 1) * (s.D + 1) * width + s.L * block + 2 * width + (width + 1) * s.D


def _lstm(size: int, width: int) -> int:
    """Four gates of a layer that reads in both directions, each with two biases."""
    return 2 * 4 * width * (size + width + 2)


def _kronecker(pairs: Pairs, rank: int) -> int:
    """C is (out / o) x (in / i), B A is o x i, with sides near the square roots; a B A of full rank is one matrix."""
    found = 0
    for a, b in pairs:
        (c_in, i), (c_out, o) = _split(a), _split(b)
        found += c_in * c_out + (o * i if rank >= max(o, i) / 2 else rank * (o + i))
    return found


def _split(size: int) -> tuple[int, int]:
    small = max(divisor for divisor in range(1, math.isqrt(size) + 1) if size % divisor == 0)
    return small, size // small


def _scaled(s: Sizes) -> int:
    """l_k, l_v, l_ff of every layer, and of cross-attention; GPT-2's one matrix gives query, key and value."""
    attention = 3 * s.D if s.family == "gpt2" else 2 * s.K
    return s.L * (attention * (3 if s.stacks == 2 else 1) + s.F * s.stacks)


def _not_gpt2(formula: Formula) -> Formula:
    return lambda s: None if s.family == "gpt2" else formula(s)


CASES: dict[str, list[Case]] = {
    "adalora": [Case(lambda s: sum(12 * (a + b + 1) for a, b in s.attention()))],
    "adapter": [
        Case(lambda s: _bottlenecks(s, s.L * s.stacks, 8), {"reduction_factor": 4}),
        Case(
            lambda s: _bottlenecks(s, s.L * (5 if s.stacks == 2 else 2), 2),
            {"variant": "houlsby", "activation": "gelu"},
        ),
        Case(
            lambda s: _bottlenecks(s, (s.L - 1) * s.stacks, 16),
            {"variant": "parallel", "reduction_factor": 2, "scaling": 4, "skip_layers": 1},
        ),
    ],
    "bitfit": [Case(lambda s: s.biases() or None)],
    "full": [Case(lambda s: s.all())],
    "head_only": [Case(lambda s: 0)],
    "ia3": [Case(_scaled)],
    "ladder": [
        Case(lambda s: _ladder(s, s.D // 8, 2)),
        Case(lambda s: _ladder(s, s.D // 4, 3), {"reduction_factor": 4, "expansion": 3}),
    ],
    "loha": [Case(_not_gpt2(lambda s: 2 * _low_rank(s.attention(), 8)))],
    "lokr": [
        Case(_not_gpt2(lambda s: _kronecker(s.attention(), 2)), {"rank": 2}),
        Case(_not_gpt2(lambda s: _kronecker(s.attention(), 8))),
    ],
    "lora": [
        Case(lambda s: _low_rank(s.attention(), 8)),
        Case(lambda s: _low_rank(s.mlp(), 3), {"targets": "mlp", "rank": 3}),
        Case(lambda s: _low_rank(s.attention() + s.mlp(), 2), {"targets": "all", "rank": 2}),
    ],
    "none": [Case(lambda s: 0)],
    "norms": [Case(lambda s: s.norms() * s.D * (2 if s.biased else 1))],
    "prefix": [
        Case(lambda s: s.L * s.stacks * 5 * 2 * s.K, {"length": 5}),
        Case(
            lambda s: 5 * s.D + (s.D + 1) * 16 + s.L * s.stacks * (16 + 1) * 2 * s.K,
            {"length": 5, "reparameterised": True, "bottleneck": 16},
        ),
    ],
    "prompt": [Case(lambda s: 5 * s.D, {"length": 5})],
    "ptuning": [
        Case(lambda s: 5 * s.D + _lstm(s.D, s.D // 2) + _lstm(s.D, s.D // 2) + 2 * (s.D + 1) * s.D, {"length": 5}),
        Case(lambda s: 5 * s.D + 2 * (s.D + 1) * s.D, {"length": 5, "encoder": "mlp"}),
    ],
    "top_layers": [Case(lambda s: s.last_layer(), {"layers": 1})],
    "vera": [Case(lambda s: sum(256 + out for _, out in s.attention()))],
}
NAMES = METHODS.names()
STEPPING = [name for name in NAMES if METHODS.get(name).steps]


def _section(name: str) -> dict[str, Any]:
    """The method as the laws use it: its first case."""
    return {"name": name, **(CASES[name][0].settings if name in CASES else {})}


def _sizes(backbone: Backbone) -> Sizes:
    config = backbone.whole.config
    get = {**config.to_dict()}.get
    return Sizes(
        family=backbone.roles.family,
        L=config.num_hidden_layers,
        D=config.hidden_size,
        F=get("intermediate_size") or get("d_ff") or get("encoder_ffn_dim") or 4 * config.hidden_size,
        K=config.hidden_size // config.num_attention_heads * (get("num_key_value_heads") or config.num_attention_heads),
        V=config.vocab_size,
        P=get("max_position_embeddings") or get("n_positions") or 0,
    )


def _fits(name: str, family: str) -> bool:
    """Whether the method takes the family, as its formula says."""
    sizes = Sizes(family, L=2, D=32, F=64, K=16 if family == "llama" else 32, V=500, P=128)
    return name not in CASES or CASES[name][0].formula(sizes) is not None


def _each(
    *families: str,
    heads: tuple[str, ...] = (),
    quick: set[tuple[str, str]] = QUICK,
    names: list[str] = NAMES,
) -> pytest.MarkDecorator:
    """Every method with every family that it takes, and with every head if there are any."""
    if not heads:
        return pytest.mark.parametrize(
            ("name", "family"), [(name, family) for name in names for family in families if _fits(name, family)]
        )
    return pytest.mark.parametrize(
        ("name", "family", "head"),
        [
            pytest.param(name, family, head, marks=() if (family, head) in quick else pytest.mark.slow)
            for name in names
            for family in families
            for head in heads
            if _fits(name, family) and _meets(name, family, head)
        ],
    )


def _meets(name: str, family: str, head: str) -> bool:
    """Heads that write need a decoder, something that learns, and of a T5 both stacks by themselves."""
    can = family != "bert" and METHODS.get(name).changes_trunk and (name, family) != ("ladder", "t5")
    return not HEADS.get(head).writes or can


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def make(assemble: Assemble, name: str) -> Assemble:
    """make("bert", "tag", seed=1): the test's method in its first case."""
    return lambda family, head="classify", **more: assemble(family, _section(name), head, **more)


def _clone(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def _of(assembly: Assembly) -> dict[str, Tensor]:
    """Every tensor of the trunk by name."""
    return dict(assembly.trunk.named_parameters()) | dict(assembly.trunk.named_buffers())


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Names of tensors that are bit-identical."""
    assert one.keys() == other.keys()
    return [name for name in one if torch.equal(one[name], other[name])]


def test_every_method_has_a_formula() -> None:
    assert [name for name in NAMES if name not in CASES] == [], "add how many numbers learn to CASES"


def test_every_method_names_its_paper_and_explains_its_fields(name: str) -> None:
    method = METHODS.get(name)
    assert isinstance(method.paper, str)
    assert 0 < method.learning_rate < 0.1
    assert [key for key, value in method.model_fields.items() if not value.description] == []


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(name, case, id=f"{name}-{place}")
        for name, cases in CASES.items()
        for place, case in enumerate(cases)
    ],
)
def test_the_papers_formula_gives_the_number_of_trained_parameters(
    assemble: Assemble, backbone_of: Callable[..., Backbone], name: str, case: Case, family: str
) -> None:
    expected = case.formula(_sizes(backbone_of(family)))
    if expected is None:
        with pytest.raises(Unsupported, match=rf"(?s)'{name}'.*use"):
            assemble(family, {"name": name, **case.settings})
        return
    assembly = assemble(family, {"name": name, **case.settings})
    assert learning(assembly.trunk.parameters()) == expected
    assert assembly.count_parameters()[0] == expected + learning(assembly.layer.parameters())


@_each(*FAMILIES)
def test_starts_as_identity_where_declared(
    make: Assemble, batch_for: Callable[..., Batch], hidden_of: Callable[..., Tensor], assemble: Assemble, family: str
) -> None:
    assembly, plain = make(family), assemble(family, {"name": "head_only"})
    batch = batch_for(assembly)
    same = torch.allclose(hidden_of(assembly, batch), hidden_of(plain, batch), rtol=0, atol=1e-6)
    assert same == assembly.method.identity


@_each(*FAMILIES, heads=("classify", "tag", "generate"), names=STEPPING)
def test_training_moves_what_is_declared_and_nothing_else(
    make: Assemble,
    encoded_for: Callable[..., list[Encoded]],
    train_on: Callable[..., Iterator[Step]],
    family: str,
    head: str,
) -> None:
    assembly = make(family, head)
    base, before = _clone(assembly.backbone.whole.state_dict()), _clone(_of(assembly))
    learns = {name for name, parameter in assembly.trunk.named_parameters() if parameter.requires_grad}
    steps = list(train_on(assembly, encoded_for(assembly, rows=16), max_steps=3, learning_rate=1e-2))
    assert len(steps) == 3
    assert _equal(base, assembly.backbone.whole.state_dict()) == list(base)
    still = set(_equal(before, _of(assembly)))
    assert still & learns == set()
    assert (before.keys() - still) - learns == set(), "a tensor moved that does not learn"
    # A network whose result alone is kept in bundles stands in the memory of checkpoints.
    assert learns <= assembly.method.state(assembly.trunk).keys() | assembly.method.memory(assembly.trunk).keys()


@_each(*FAMILIES, heads=("classify", "tag", "generate"))
def test_a_state_loads_into_equal_answers(
    make: Assemble,
    scatter: Callable[..., Assembly],
    batch_for: Callable[..., Batch],
    hidden_of: Callable[..., Tensor],
    family: str,
    head: str,
) -> None:
    trained, fresh = scatter(make(family, head)), make(family, head, seed=1)
    base = _clone(fresh.backbone.whole.state_dict())
    state, batch = _clone(trained.state()), batch_for(trained)
    fresh.load(state)
    assert torch.equal(hidden_of(fresh, batch), hidden_of(trained, batch))
    assert fresh.answers(batch) == trained.answers(batch)
    assert _equal(state, fresh.state()) == list(state)
    assert _equal(base, fresh.backbone.whole.state_dict()) == list(base)
    with torch.no_grad():
        for parameter in fresh.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
    assert _equal(state, trained.state()) == list(state), "a loaded state shares storage with where it came from"


def test_a_fresh_process_gives_the_same_answers(
    assemble: Assemble, scatter: Callable[..., Assembly], batch_for: Callable[..., Batch], tmp_path: Path
) -> None:
    """One process for all methods."""
    jobs, expected = [], {}
    for method in NAMES:
        assembly = scatter(assemble("bert", _section(method)))
        batch = batch_for(assembly)
        expected[method] = assembly.answers(batch)
        jobs.append(
            {
                "method": _section(method),
                "labels": assembly.labels.names,
                "state": assembly.state(),
                "batch": {slot: getattr(batch, slot) for slot in Batch.__slots__},
            }
        )
    torch.save(jobs, tmp_path / "jobs.pt")
    worker = Path(__file__).with_name("answer_in_fresh_process.py")
    folder = assembly.backbone.name
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(worker), folder, str(tmp_path)], check=True, timeout=300, env=environment)
    found = torch.load(tmp_path / "answers.pt", weights_only=False)
    for method, answers in expected.items():
        for row, answer in answers.items():
            assert found[method][row].probabilities == pytest.approx(answer.probabilities, abs=1e-6), method


@_each("bert", "gpt2", "t5", names=STEPPING)
def test_two_adapters_on_one_trunk_do_not_touch_each_other(
    make: Assemble,
    assemble: Assemble,
    scatter: Callable[..., Assembly],
    batch_for: Callable[..., Batch],
    hidden_of: Callable[..., Tensor],
    encoded_for: Callable[..., list[Encoded]],
    train_on: Callable[..., Iterator[Step]],
    family: str,
) -> None:
    one = scatter(make(family, seed=1))
    batch = batch_for(one)
    before = hidden_of(one, batch)
    others = [make(family, seed=2), assemble(family, {"name": "full"})]
    for other in others:
        list(train_on(other, encoded_for(other, rows=8), max_steps=2, learning_rate=1e-2))
    assert torch.equal(hidden_of(one, batch), before)
    after = [hidden_of(other, batch) for other in others]
    list(train_on(one, encoded_for(one, rows=8), max_steps=2, learning_rate=1e-2))
    assert all(torch.equal(hidden_of(other, batch), was) for other, was in zip(others, after, strict=True))


@pytest.mark.parametrize("dtype", TOLERANCE)
@_each(*FAMILIES)
def test_merged_equals_unmerged(
    make: Assemble,
    scatter: Callable[..., Assembly],
    batch_for: Callable[..., Batch],
    hidden_of: Callable[..., Tensor],
    name: str,
    family: str,
    dtype: str,
) -> None:
    assembly = scatter(make(family, dtype=dtype))
    batch = batch_for(assembly)
    if type(assembly.method).merged is Method.merged:
        with pytest.raises(Unsupported, match=f"'{name}'"):
            assembly.method.merged(assembly.trunk)
        return
    unmerged, base = hidden_of(assembly, batch), _clone(assembly.backbone.whole.state_dict())
    assembly.trunk = assembly.method.merged(assembly.trunk)
    torch.testing.assert_close(hidden_of(assembly, batch), unmerged, rtol=0, atol=TOLERANCE[dtype])
    assert _equal(base, assembly.backbone.whole.state_dict()) == list(base), "merging wrote into the shared base"
    plain = {key: tensor.shape for key, tensor in assembly.backbone.trunk.state_dict().items()}
    assert {key: tensor.shape for key, tensor in assembly.trunk.state_dict().items()} == plain


@_each(*FAMILIES)
def test_a_mixed_pass_equals_each_bundle_alone(
    make: Assemble,
    assemble: Assemble,
    scatter: Callable[..., Assembly],
    batch_for: Callable[..., Batch],
    hidden_of: Callable[..., Tensor],
    name: str,
    family: str,
) -> None:
    one, two = scatter(make(family, seed=1)), make(family, seed=2)
    batch, rows = batch_for(one), Rows()
    members = [Member(adapter.method, adapter.method.state(adapter.trunk)) for adapter in (one, two)]
    mixed = assemble(family, {"name": "head_only"})
    if type(one.method).mixed is Method.mixed:
        with pytest.raises(Unsupported, match=f"'{name}'"):
            one.method.mixed(share(mixed.backbone.trunk), members, rows)
        return
    mixed.trunk = one.method.mixed(share(mixed.backbone.trunk), members, rows)
    rows.of = torch.arange(len(batch.rows)) % 2
    alone = torch.stack([hidden_of(one, batch), hidden_of(two, batch)])[rows.of, torch.arange(len(rows.of))]
    torch.testing.assert_close(hidden_of(mixed, batch), alone, rtol=0, atol=1e-5)


def test_the_seed_decides_initialisation(make: Assemble) -> None:
    torch.manual_seed(5)
    generator = torch.get_rng_state()
    one, same, other = make("bert", seed=3), make("bert", seed=3), make("bert", seed=4)
    assert torch.equal(torch.get_rng_state(), generator), "building an adapter moved the generator of the process"
    assert _equal(one.state(), same.state()) == list(one.state())
    drawn = [key for key, tensor in one.state().items() if _is_random(key, tensor, one)]
    assert [key for key in drawn if torch.equal(one.state()[key], other.state()[key])] == []
    assert "head.weight" in drawn


def _is_random(key: str, tensor: Tensor, assembly: Assembly) -> bool:
    """Whether first values were drawn: they are neither the base's nor all alike."""
    base = assembly.backbone.trunk.state_dict().get(key.removeprefix("method."))
    from_base = base is not None and torch.equal(base, tensor)
    return not from_base and tensor.unique().numel() > 1


@_each("bert", "t5", heads=("classify",), quick={("bert", "classify")}, names=STEPPING)
def test_learns_a_planted_rule_of_texts(
    make: Assemble,
    encoded_for: Callable[..., list[Encoded]],
    train_on: Callable[..., Iterator[Step]],
    batch_for: Callable[..., Batch],
    family: str,
    head: str,
) -> None:
    assert _share_right(make(family, head), encoded_for, train_on, batch_for) >= 0.75


@_each("llama", "bart", heads=("tag",), quick={("llama", "tag")}, names=STEPPING)
def test_learns_a_planted_rule_of_words(
    make: Assemble,
    encoded_for: Callable[..., list[Encoded]],
    train_on: Callable[..., Iterator[Step]],
    batch_for: Callable[..., Batch],
    family: str,
    head: str,
) -> None:
    assert _share_right(make(family, head), encoded_for, train_on, batch_for) >= 0.75


def _share_right(
    assembly: Assembly,
    encoded_for: Callable[..., list[Encoded]],
    train_on: Callable[..., Iterator[Step]],
    batch_for: Callable[..., Batch],
) -> float:
    """Of other rows, after a short training. One word decides; half of the rows hold it: a guess is right in half."""
    rate = 0.02 if assembly.method.learning_rate > 1e-4 else 0.005  # a model this small bears more, and needs it
    settings = {"max_steps": 80, "batch_tokens": 512, "schedule": "linear"}
    steps = train_on(assembly, encoded_for(assembly, rows=128, seed=1), learning_rate=rate, **settings)
    assert all(math.isfinite(step.loss) for step in steps)
    batch = batch_for(assembly, rows=96, seed=2)
    answers, expected = assembly.eval().answers(batch), _expected(batch, assembly)
    return sum(answers[row].value == value for row, value in expected.items()) / len(expected)


def _expected(batch: Batch, assembly: Assembly) -> dict[int, Any]:
    assert batch.labels is not None
    names = [assembly.labels.names[label] for label in batch.labels.tolist()]
    if batch.sequence_of is None:
        return dict(zip(batch.rows.tolist(), names, strict=True))
    by_row: dict[int, Any] = {}
    for sequence, tag in zip(batch.sequence_of.tolist(), names, strict=True):
        row = int(batch.rows[sequence])
        by_row[row] = (*by_row.get(row, ()), tag)
    return by_row
