"""What the laws of methods leave out: variants, folders that plain peft loads, batches of unlike adapters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.method import Member, Rows, learning
from adaptune.methods._peft import targets_of, tuner_layers
from adaptune.models.share import share

Make = Callable[..., Any]

SETTINGS: dict[str, dict[str, Any]] = {
    "lora": {"name": "lora", "rank": 4},
    "rslora": {"name": "lora", "rank": 4, "rank_stabilised": True, "targets": "mlp"},
    "dora": {"name": "lora", "rank": 4, "dora": True, "targets": "all"},
    "pissa": {"name": "lora", "rank": 4, "initialisation": "pissa"},
    "olora": {"name": "lora", "rank": 4, "initialisation": "olora", "rank_stabilised": True, "targets": "all"},
    "eva": {"name": "lora", "rank": 4, "initialisation": "eva"},
    "adalora": {"name": "adalora", "rank": 2, "initial_rank": 3, "targets": "all"},
    "ia3": {"name": "ia3"},
    "vera": {"name": "vera", "rank": 6, "targets": "all"},
    "loha": {"name": "loha", "rank": 2},
    "lokr": {"name": "lokr", "rank": 2, "targets": "all"},
    "lokr of full factors": {"name": "lokr", "rank": 8, "factor": 4},
}
KINDS = list(SETTINGS)
VARIANTS = [("bert", kind) for kind in ("rslora", "dora", "pissa", "olora", "eva")] + [
    ("gpt2", "dora"),
    ("gpt2", "olora"),
]
FOLDERS = [
    *(("bert", kind) for kind in KINDS),
    *(("gpt2", kind) for kind in ("dora", "olora", "adalora", "ia3", "vera")),
    *(("llama", kind) for kind in ("lora", "ia3", "lokr")),
    *(("t5", kind) for kind in ("pissa", "adalora", "ia3")),
    *(("bart", kind) for kind in ("vera", "loha")),
]


def _made(make: Make, kind: str) -> Any:
    return make(**SETTINGS[kind])


def _batches() -> list[Batch]:
    ids = torch.arange(36).reshape(4, 9) % 47 + 1
    return [Batch(rows=torch.arange(4), mask=torch.ones_like(ids), ids=ids)]


def _tensors(trunk: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trunk.state_dict().items()}


@pytest.mark.parametrize(("family", "kind"), VARIANTS)
def test_an_adapter_starts_as_identity(tiny: Make, make: Make, family: str, kind: str) -> None:
    model, method = tiny(family), _made(make, kind)
    trunk = model.changed(method)
    method.prepare(trunk, _batches(), 10)
    assert torch.allclose(model.hidden(trunk.eval()), model.hidden(model.base), atol=3e-6)


@pytest.mark.parametrize(("family", "kind"), VARIANTS)
def test_neither_preparing_training_nor_merging_touches_the_shared_base(
    tiny: Make, make: Make, family: str, kind: str
) -> None:
    model, method = tiny(family), _made(make, kind)
    before = _tensors(model.base)
    neighbour = model.changed(make("lora"))
    expected = model.hidden(neighbour)
    trunk = model.changed(method)
    method.prepare(trunk, _batches(), 10)
    optimizer = torch.optim.SGD([p for p in trunk.parameters() if p.requires_grad], lr=0.1)
    model.hidden(trunk.train()).square().mean().backward()
    optimizer.step()
    method.merged(trunk.eval())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.base.state_dict().items())
    assert torch.equal(model.hidden(neighbour), expected)


@pytest.mark.parametrize(("family", "kind"), VARIANTS)
def test_a_state_gives_equal_outputs_in_a_fresh_trunk(
    tiny: Make, make: Make, moved: Make, family: str, kind: str
) -> None:
    model, method = tiny(family), _made(make, kind)
    trunk = model.changed(method)
    method.prepare(trunk, _batches(), 10)
    state = moved(method, trunk.eval())
    other = model.changed(method, seed=1)
    method.load(other, state)
    assert torch.equal(model.hidden(other), model.hidden(trunk))
    assert {name: tensor.shape for name, tensor in method.state(other).items()} == {
        n: t.shape for n, t in state.items()
    }
    assert not torch.allclose(model.hidden(trunk), model.hidden(model.base), atol=1e-3)


@pytest.mark.parametrize(("family", "kind"), VARIANTS)
def test_merged_equals_unmerged(tiny: Make, make: Make, moved: Make, family: str, kind: str) -> None:
    model, method = tiny(family), _made(make, kind)
    trunk = model.changed(method)
    moved(method, trunk)
    expected = model.hidden(trunk)
    merged = method.merged(trunk)
    assert [name for name, _ in merged.named_parameters()] == [name for name, _ in model.base.named_parameters()]
    assert torch.allclose(model.hidden(merged), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["dora", "pissa", "olora"])
def test_merged_equals_unmerged_in_bfloat16_within_its_rounding(tiny: Make, make: Make, moved: Make, kind: str) -> None:
    model, method = tiny("bert", torch.bfloat16), _made(make, kind)
    trunk = model.changed(method)
    moved(method, trunk)
    expected = model.hidden(trunk)
    merged = method.merged(trunk)
    assert {p.dtype for p in merged.parameters()} == {torch.bfloat16}
    assert torch.allclose(model.hidden(merged), expected, atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_bfloat16_base_the_adapter_learns_in_fp32(tiny: Make, make: Make, kind: str) -> None:
    model, method = tiny("bert", torch.bfloat16), _made(make, kind)
    trunk = model.changed(method)
    method.prepare(trunk, _batches(), 10)
    model.hidden(trunk.train()).float().square().mean().backward()
    learns = [p for p in trunk.parameters() if p.requires_grad]
    assert {p.dtype for p in learns} == {torch.float32}
    assert any(p.grad is not None and p.grad.any() for p in learns)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft asks for it
@pytest.mark.parametrize(("family", "kind"), FOLDERS)
def test_plain_peft_loads_the_folder_and_computes_the_same(
    tiny: Make, make: Make, moved: Make, tmp_path: Path, family: str, kind: str
) -> None:
    model, method = tiny(family), _made(make, kind)
    trunk = model.changed(method)
    method.prepare(trunk, _batches(), 10)
    moved(method, trunk.eval())
    config, tensors = method.peft_files(trunk)
    config.save_pretrained(str(tmp_path))
    save_file(
        {name: tensor.clone().contiguous() for name, tensor in tensors.items()}, tmp_path / "adapter_model.safetensors"
    )
    loaded = peft.PeftModel.from_pretrained(share(model.base), str(tmp_path)).eval()
    assert torch.allclose(model.hidden(loaded), model.hidden(trunk), atol=1e-5)


@pytest.mark.parametrize(("family", "kind"), VARIANTS)
def test_a_mixed_pass_equals_each_adapter_alone(tiny: Make, make: Make, moved: Make, family: str, kind: str) -> None:
    model, method = tiny(family), _made(make, kind)
    trunks = [model.changed(method, seed=seed) for seed in (0, 1)]
    members = [Member(method, moved(method, trunk, seed)) for seed, trunk in enumerate(trunks)]
    rows = Rows()
    mixed = method.mixed(share(model.base), members, rows)
    alone = [model.hidden(trunk) for trunk in trunks]
    for of in ([0, 1, 1, 0], [1, 1, 0, 0]):
        rows.of = torch.tensor(of)
        expected = torch.stack([alone[member][row] for row, member in enumerate(of)])
        assert torch.allclose(model.hidden(mixed), expected, atol=1e-5)


def test_adapters_of_other_ranks_matrices_and_methods_mix_in_one_batch(tiny: Make, make: Make, moved: Make) -> None:
    model = tiny("bert")
    methods = [
        make("lora", rank=2, alpha=3),
        make("lora", rank=9, targets=["query"], rank_stabilised=True),
        make("ia3"),
        make("adalora", targets="mlp"),
    ]
    trunks = [model.changed(method) for method in methods]
    members = [Member(method, moved(method, trunk)) for method, trunk in zip(methods, trunks, strict=True)]
    rows = Rows(torch.tensor([3, 2, 1, 0]))
    mixed = methods[0].mixed(share(model.base), members, rows)
    expected = torch.stack([model.hidden(trunks[member])[row] for row, member in enumerate([3, 2, 1, 0])])
    assert torch.allclose(model.hidden(mixed), expected, atol=1e-5)


def test_a_mixed_trunk_without_rows_says_what_is_missing(tiny: Make, make: Make, moved: Make) -> None:
    model, method = tiny("bert"), make("lora")
    state = moved(method, model.changed(method))
    mixed = method.mixed(share(model.base), [Member(method, state)], Rows(torch.tensor([0, 0])))
    with pytest.raises(ValueError, match=r"4 rows .* name the members of 2"):
        model.hidden(mixed)


def test_bundles_that_cannot_mix_are_named(tiny: Make, make: Make) -> None:
    model, full = tiny("bert"), make("full")
    member = Member(full, full.state(model.changed(full)))
    with pytest.raises(Unsupported, match="method 'full' does not mix with bundles of method 'lora'"):
        make("lora").mixed(share(model.base), [member], Rows())


def test_a_head_on_the_untouched_trunk_mixes_with_adapters(tiny: Make, make: Make, moved: Make) -> None:
    model, method = tiny("bert"), make("lora")
    trunk = model.changed(method)
    members = [Member(make("head_only"), {}), Member(method, moved(method, trunk))]
    mixed = method.mixed(share(model.base), members, Rows(torch.tensor([0, 1, 0, 1])))
    expected = torch.stack([model.hidden((model.base, trunk)[row % 2])[row] for row in range(4)])
    assert torch.allclose(model.hidden(mixed), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # 8 matrices of 32 x 32 in attention; in the feed-forward part 2 of 32 x 64 and 2 of 64 x 32.
        ("rslora", 4 * 4 * (32 + 64)),
        ("dora", 8 * (4 * (32 + 32) + 32) + 4 * 4 * (32 + 64) + 2 * 64 + 2 * 32),
        ("pissa", 8 * 4 * (32 + 32)),
        ("olora", 8 * 4 * (32 + 32) + 4 * 4 * (32 + 64)),
        ("adalora", 8 * 3 * (32 + 1 + 32) + 4 * 3 * (32 + 1 + 64)),
        ("vera", 8 * (32 + 6) + 2 * (64 + 6) + 2 * (32 + 6)),
        # 32 = 4 x 8: factors of 4 x 4 and 8 x 8.
        ("lokr of full factors", 8 * (4 * 4 + 8 * 8)),
    ],
)
def test_as_many_numbers_learn_as_the_formula_says(tiny: Make, make: Make, kind: str, expected: int) -> None:
    assert learning(tiny("bert").changed(_made(make, kind)).parameters()) == expected


def test_the_mlp_of_bert_is_not_its_attention_output(tiny: Make, make: Make) -> None:
    assert set(tuner_layers(tiny("bert").changed(make("lora", targets="mlp")))) == {
        "encoder.layer.0.intermediate.dense",
        "encoder.layer.0.output.dense",
        "encoder.layer.1.intermediate.dense",
        "encoder.layer.1.output.dense",
    }


def test_the_attention_of_a_decoder_with_an_encoder_includes_what_reads_the_encoder(tiny: Make, make: Make) -> None:
    changed = tuner_layers(tiny("bart").changed(make("lora", targets="query_value")))
    assert [name for name in changed if name.startswith("decoder.layers.0.")] == [
        "decoder.layers.0.self_attn.v_proj",
        "decoder.layers.0.self_attn.q_proj",
        "decoder.layers.0.encoder_attn.v_proj",
        "decoder.layers.0.encoder_attn.q_proj",
    ]


def test_a_matrix_is_chosen_by_its_path_or_by_the_end_of_it(tiny: Make, make: Make) -> None:
    def chosen(*targets: str) -> set[str]:
        found = tuner_layers(tiny("bert").changed(make("lora", targets=list(targets))))
        return {name.removeprefix("encoder.layer.0.") for name in found if name.startswith("encoder.layer.0.")}

    assert chosen("output.dense") == {"output.dense"}
    assert chosen("dense") == {"attention.output.dense", "intermediate.dense", "output.dense"}
    assert chosen("query", "attention.output.dense") == {"attention.self.query", "attention.output.dense"}


def test_a_misspelt_matrix_is_refused_with_the_right_names(tiny: Make, make: Make) -> None:
    with pytest.raises(Unsupported, match=r"names 'querry', which no layer of this bert model has"):
        tiny("bert").changed(make("lora", targets=["querry"]))


def test_a_misspelt_role_is_refused_before_a_model_is_loaded(make: Make) -> None:
    with pytest.raises(ValidationError, match="'atention' is no role; did you mean 'attention'"):
        make("vera", targets="atention")


@pytest.mark.parametrize("name", ["loha", "lokr"])
def test_transposed_matrices_are_refused_before_a_model_is_loaded(tiny: Make, make: Make, name: str) -> None:
    with pytest.raises(Unsupported, match=f"method '{name}' cannot read the transposed matrices of the family 'gpt2'"):
        make(name).check(tiny("gpt2").roles, 2)


def test_nothing_of_a_two_stack_model_may_be_cached(tiny: Make, make: Make) -> None:
    assert make("lora").first_layer(tiny("bert").base, tiny("bert").roles) == 0
    assert make("lora").first_layer(tiny("t5").base, tiny("t5").roles) is None


@pytest.mark.parametrize("name", ["lora", "adalora", "vera", "loha", "lokr", "ia3"])
def test_the_first_layers_of_every_stack_go_without(tiny: Make, make: Make, name: str) -> None:
    small = {"lora": {"rank": 2}, "adalora": {"rank": 2, "initial_rank": 2}, "vera": {"rank": 2}}
    method = make(name, skip_layers=1, **small.get(name, {}))
    for family, skipped in (("bert", ("encoder.layer.0.",)), ("t5", ("encoder.block.0.", "decoder.block.0."))):
        state = method.state(tiny(family).changed(method))
        assert not [key for key in state if key.startswith(skipped)]
        assert len({key.split(".")[0] for key in state if not key.startswith("vera_")}) == len(skipped)
    assert method.first_layer(tiny("bert").base, tiny("bert").roles) == 1
    assert method.first_layer(tiny("t5").base, tiny("t5").roles) is None


def test_to_skip_all_layers_is_refused(tiny: Make, make: Make) -> None:
    with pytest.raises(Unsupported, match=r"skip_layers is 2, the model has 2 layers, .* use at most 1"):
        tiny("bert").changed(make("lora", skip_layers=2))


def test_targets_and_skipped_layers_are_read_off_the_matrices(tiny: Make) -> None:
    trunk, roles = tiny("bert").base, tiny("bert").roles
    upper = {f"encoder.layer.1.{name}" for name in ("attention.self.query", "attention.self.value")}
    assert targets_of(trunk, roles, upper) == ("query_value", 1)
    assert targets_of(trunk, roles, {"encoder.layer.1.attention.self.key"}) == (["attention.self.key"], 1)
    lower = {f"encoder.layer.0.{name}" for name in ("attention.self.query", "attention.self.value")}
    assert targets_of(trunk, roles, upper | lower) == ("query_value", 0)
    with pytest.raises(Unsupported, match=r"leaves out 'encoder.layer.1"):
        targets_of(trunk, roles, lower)
