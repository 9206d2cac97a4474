"""What keeping the output of frozen layers must keep: gradients, answers, resumption; and where nothing is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from adaptune.core.batch import Batch, Encoded
from adaptune.core.errors import TrainingError, Unsupported
from adaptune.data.batches import Batches, Budget, by_rows, collate, joined
from adaptune.engine import trunk_cache
from adaptune.engine.best import Best
from adaptune.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from adaptune.engine.config import TrainConfig
from adaptune.engine.loop import train
from adaptune.engine.trunk_cache import Kept, Read, keeping, layers_to_keep
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.below import Below
from adaptune.models.families import FAMILIES

Assemble = Callable[..., Assembly]
Rows = Callable[..., list[Encoded]]
ABOVE: list[dict[str, Any]] = [
    {"name": "top_layers", "layers": 1},
    {"name": "lora", "rank": 4, "skip_layers": 1},
    {"name": "lora", "rank": 4, "dora": True, "targets": "all", "skip_layers": 1},
    {"name": "adapter", "reduction_factor": 4, "skip_layers": 1},
    {"name": "ia3", "skip_layers": 1},
]
"""Methods that leave the first of two layers as it is."""
NAMES = ["top_layers", "lora", "dora", "adapter", "ia3"]


def _read(assembly: Assembly, encoded: list[Encoded]) -> Read:
    pad = assembly.backbone.tokenizer.pad_token_id
    batches = [collate([encoded[i] for i in some], pad) for some in by_rows(encoded, Budget(tokens=128, rows=8))]
    return Read(assembly, batches, sum(len(one.ids) for one in encoded))


def _learned(assembly: Assembly, batch: Batch) -> dict[str, Tensor]:
    """The loss and the gradient of every weight that learns, without dropout."""
    assembly.train()
    for module in assembly.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    assembly.zero_grad()
    loss = assembly(batch)
    loss.total.backward()
    found = {name: weight.grad.clone() for name, weight in assembly.named_parameters() if weight.grad is not None}
    return found | {"loss": loss.total.detach()}


def _distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    difference = sum(float((one[name] - other[name]).square().sum()) for name in one)
    return float((difference / sum(float(tensor.square().sum()) for tensor in one.values())) ** 0.5)


@pytest.fixture
def passes() -> Callable[[Assembly], list[int]]:
    """passes(assembly): grows with every pass of the trunk's first layer."""

    def count(assembly: Assembly) -> list[int]:
        made: list[int] = []
        layer = assembly.trunk.get_submodule(f"{assembly.backbone.roles.main.layers}.0")
        norm = layer.get_submodule(assembly.backbone.roles.main.norms[0])
        norm.register_forward_hook(lambda *_: made.append(1))
        return made

    return count


@pytest.mark.parametrize("method", ABOVE, ids=NAMES)
@pytest.mark.parametrize("family", ["bert", "llama", "gpt2"])
def test_gradients_are_those_without_it_padded_and_packed(
    assemble: Assemble, encoded_for: Rows, scatter: Any, passes: Any, family: str, method: dict[str, Any]
) -> None:
    head = "tag" if family == "bert" else "generate"
    assembly = scatter(assemble(family, method, head))
    encoded = encoded_for(assembly, rows=9)
    batches = [collate(encoded[:7], assembly.backbone.tokenizer.pad_token_id)]
    if family != "bert":
        batches.append(joined(encoded[2:]))
    expected = [_learned(assembly, batch) for batch in batches]
    config = TrainConfig()
    assert layers_to_keep([_read(assembly, encoded)], config, passes=2) == 1
    made = passes(assembly)
    with keeping([_read(assembly, encoded)], config, 1) as kept:
        assert kept is not None
        assert kept.sequences == len({one.ids.tobytes() for one in encoded})
        before = len(made)
        for batch, gradients in zip(batches, expected, strict=True):
            assert _distance(gradients, _learned(assembly, batch)) < 1e-5
        assert len(made) == before, "the first layer runs no more"
    _learned(assembly, batches[0])
    assert len(made) == before + 1


@pytest.mark.parametrize("family", ["bert", "llama", "gpt2"])
def test_what_one_training_kept_serves_others_on_the_same_base(
    assemble: Assemble, encoded_for: Rows, scatter: Any, passes: Any, family: str
) -> None:
    """Whatever their methods; it is forgotten only where nobody shares it."""
    head = "tag" if family == "bert" else "generate"
    first, other = scatter(assemble(family, ABOVE[1], head)), scatter(assemble(family, ABOVE[3], head))
    encoded = encoded_for(other, rows=9)
    batch = collate(encoded[:7], other.backbone.tokenizer.pad_token_id)
    expected, shared = _learned(other, batch), dict[int, Below]()
    with keeping([_read(first, encoded)], TrainConfig(), 1, shared=shared) as kept:
        assert kept is not None
    assert first.below is None
    made = passes(other)
    with keeping([_read(other, encoded)], TrainConfig(), 1, shared=shared) as found:
        assert found == kept
        assert _distance(expected, _learned(other, batch)) < 1e-5
        assert made == []
    assert len(shared[1].store) == kept.sequences


@pytest.mark.parametrize("settings", [{"trunk_cache": "memory"}, {"trunk_cache": "disk"}, {"trunk_cache_mb": 0.002}])
def test_answers_and_losses_are_the_same_from_memory_and_from_disk(
    assemble: Assemble, encoded_for: Rows, passes: Any, settings: dict[str, Any]
) -> None:
    assembly = assemble("bert", {"name": "head_only"}).eval()
    encoded = encoded_for(assembly, rows=20)
    batch = collate(encoded[3:12], assembly.backbone.tokenizer.pad_token_id)
    expected, made = assembly.answers(batch), passes(assembly)
    read, config = _read(assembly, encoded), TrainConfig.model_validate(settings)
    with keeping([read], config, layers_to_keep([read], config, passes=2)) as kept:
        assert kept is not None
        before, found = len(made), assembly.answers(batch)
        assert len(made) == before
    assert found.keys() == expected.keys()
    for row, answer in found.items():
        assert answer.value == expected[row].value
        assert answer.probability == pytest.approx(expected[row].probability, rel=1e-5)
    total = sum(len(ids) for ids in {one.ids.tobytes(): one.ids for one in encoded}.values()) * 32 * 4
    assert kept.memory + kept.disk == total
    assert (kept.memory > 0) == (settings.get("trunk_cache") != "disk")
    assert (kept.disk > 0) == (settings.get("trunk_cache") != "memory")


def test_in_16_bits_it_takes_half_the_room_and_hidden_states_stay_within_their_rounding(
    assemble: Assemble, encoded_for: Rows
) -> None:
    assembly = assemble("bert", {"name": "top_layers", "layers": 1}).eval()
    encoded = encoded_for(assembly, rows=12)
    batch = collate(encoded, assembly.backbone.tokenizer.pad_token_id)
    expected = _learned(assembly, batch)
    read, config = _read(assembly, encoded), TrainConfig(trunk_cache_precision="fp16")
    with keeping([read], TrainConfig(), 1) as exact:
        assert assembly.below is not None
        states = assembly.below.store.get(batch)
    with keeping([read], config, 1) as kept:
        assert assembly.below is not None
        rounded = assembly.below.store.get(batch)
        found = _learned(assembly, batch)
    assert exact is not None
    assert kept is not None
    assert states is not None
    assert rounded is not None
    assert kept.memory * 2 == exact.memory
    assert rounded.dtype == torch.float32
    small = 2.0**-24  # half the distance of the numbers nearest to zero
    assert bool(((rounded - states).abs() <= states.abs() / 2048 + small).all())
    assert 0 < _distance(expected, found) < 2e-3


def test_ten_steps_equal_five_and_resume_and_five(assemble: Assemble, encoded_for: Rows, tmp_path: Path) -> None:
    config = TrainConfig.model_validate({"batch_rows": 6, "epochs": 3, "max_steps": 10, "device": "cpu"})

    def start(seed: int) -> tuple[Assembly, Batches, Read]:
        assembly = assemble("bert", {"name": "lora", "dropout": 0.2, "skip_layers": 1}, "classify", seed=seed)
        encoded = encoded_for(assembly, rows=40)
        budget, pad = Budget(tokens=1024, rows=6), assembly.backbone.tokenizer.pad_token_id
        return assembly, Batches(encoded, budget, pad=pad, seed=3), _read(assembly, encoded)

    whole, batches, read = start(seed=3)
    with keeping([read], config, 1):
        steps = list(train(whole, batches, config, seed=3))
    assert steps[-1].epoch > 1
    first, batches, read = start(seed=3)
    with keeping([read], config, 1):
        for step in train(first, batches, config, seed=3):
            if step.number == 5:
                save_checkpoint(tmp_path, Checkpoint("r", step.loop.position(), first.state(), Best(3), None, 1.0, 9))
                break
    checkpoint = load_checkpoint(tmp_path, "r")
    second, batches, read = start(seed=4)
    second.load(checkpoint.weights)
    with keeping([read], config, 1):
        resumed = list(train(second, batches, config, seed=3, position=checkpoint.position))
    assert [step.loss for step in resumed] == [step.loss for step in steps[5:]]
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, second.state()[name]), name


REFUSED: list[tuple[str, dict[str, Any], str, bool, str]] = [
    ("bert", {"name": "lora"}, "classify", False, "method 'lora' changes the first layer; leave it"),
    ("bert", {"name": "full"}, "classify", False, "method 'full' changes what the first layer reads"),
    ("bert", {"name": "prompt", "length": 3}, "classify", False, "method 'prompt' changes what the first layer reads"),
    ("bert", {"name": "ladder"}, "classify", False, "method 'ladder' changes .* or reads every layer"),
    ("bert", {"name": "top_layers", "layers": 1}, "classify", True, "train.dropout is true"),
    ("bert", {"name": "top_layers", "layers": 1}, "relate-tokens", False, "'relate' has tokens of its own"),
    ("bert", {"name": "top_layers", "layers": 1}, "words", False, "'words' hides other tokens of a text"),
    ("t5", {"name": "head_only"}, "classify", False, "family 't5' have two stacks"),
    ("bart", {"name": "lora", "skip_layers": 1}, "classify", False, "family 'bart' have two stacks"),
]


@pytest.mark.parametrize(("family", "method", "head", "dropout", "why"), REFUSED)
def test_nothing_is_kept_where_it_would_be_wrong(
    assemble: Assemble, family: str, method: dict[str, Any], head: str, dropout: bool, why: str
) -> None:
    read = Read(assemble(family, method, head, dropout=dropout), (), 1)
    assert layers_to_keep([read], TrainConfig(), passes=9) == 0
    for place in ("memory", "disk"):
        with pytest.raises(Unsupported, match=rf"train.trunk_cache is '{place}', and .*{why}.*; set it to auto or off"):
            layers_to_keep([read], TrainConfig.model_validate({"trunk_cache": place}), passes=9)


def test_layers_that_are_one_set_of_weights_are_not_kept(assemble: Assemble, monkeypatch: pytest.MonkeyPatch) -> None:
    assembly = assemble("bert", {"name": "head_only"})
    monkeypatch.setattr(assembly.backbone, "roles", FAMILIES["albert"])
    with pytest.raises(Unsupported, match="family 'albert' use one set of weights at every depth"):
        _ = assembly.frozen_layers


def test_auto_keeps_only_what_is_read_again_and_off_nothing(assemble: Assemble) -> None:
    read = Read(assemble("bert", {"name": "top_layers", "layers": 1}), (), 1)
    assert layers_to_keep([read], TrainConfig(), passes=2) == 1
    assert layers_to_keep([read], TrainConfig(), passes=1) == 0
    assert layers_to_keep([read], TrainConfig(), passes=9, against="rows are streamed") == 0
    assert layers_to_keep([read], TrainConfig(trunk_cache="off"), passes=9) == 0
    assert layers_to_keep([read], TrainConfig(trunk_cache="memory"), passes=1) == 1
    with pytest.raises(Unsupported, match=r"train.trunk_cache is 'disk', and rows are streamed"):
        layers_to_keep([read], TrainConfig(trunk_cache="disk"), passes=9, against="rows are streamed")


@pytest.mark.parametrize("name", METHODS.names())
def test_layers_below_the_first_that_a_method_names_give_what_those_of_the_base_give(
    assemble: Assemble, batch_for: Callable[..., Batch], scatter: Any, name: str
) -> None:
    settings: dict[str, Any] = {"name": name, **({"layers": 1} if name == "top_layers" else {})}
    if "skip_layers" in METHODS.get(name).model_fields:
        settings["skip_layers"] = 1
    assembly, plain = scatter(assemble("bert", settings)), assemble("bert", {"name": "head_only"}).eval()
    first = assembly.method.first_layer(assembly.trunk, assembly.backbone.roles)
    if first is None or first == 0:
        assert "skip_layers" not in settings
        return
    batch = batch_for(assembly)
    found, expected = (_gives(one, first - 1, batch) for one in (assembly, plain))
    assert torch.equal(found, expected)


def _gives(assembly: Assembly, layer: int, batch: Batch) -> Tensor:
    given: list[Tensor] = []
    module = assembly.trunk.get_submodule(f"{assembly.backbone.roles.main.layers}.{layer}")
    handle = module.register_forward_hook(lambda _, __, out: given.append(out[0] if isinstance(out, tuple) else out))
    with torch.no_grad():
        assembly.hidden(batch)
    handle.remove()
    return given[0]


def test_a_disk_without_room_is_told_before_and_auto_stays_in_memory(
    assemble: Assemble, encoded_for: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assembly = assemble("bert", {"name": "head_only"})
    read = _read(assembly, encoded_for(assembly, rows=12))
    monkeypatch.setattr(trunk_cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with (
        pytest.raises(TrainingError, match=r"takes 0 MB, and .* has 0 MB free; set TMPDIR to a larger disk"),
        keeping([read], TrainConfig(trunk_cache="disk"), 2),
    ):
        pass
    with keeping([read], TrainConfig(trunk_cache_mb=0.005), 2) as kept:
        assert kept is not None
        assert kept.disk == 0 < kept.memory <= 5000
    assert "is kept for a part of the rows alone" in capsys.readouterr().err
    assert assembly.below is None


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_file_has_no_name_that_a_killed_run_could_leave_behind(
    assemble: Assemble, encoded_for: Rows, temporary: Path
) -> None:
    assembly = assemble("bert", {"name": "head_only"})
    read = _read(assembly, encoded_for(assembly, rows=6))
    with keeping([read], TrainConfig(trunk_cache="disk"), 2) as kept:
        assert kept is not None
        assert kept.disk > 0
        assert list(temporary.iterdir()) == []


def test_what_is_kept_is_said() -> None:
    kept = Kept(layers=4, of=6, sequences=12_345, memory=1_000_000_000, disk=2_500_000)
    assert str(kept) == (
        "4 of 6 layers are frozen: what they give for 12,345 sequences is kept, 1,000.0 MB in memory and 2.5 MB on disk"
    )
