from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.types import Labels
from adaptune.engine.warm_start import STRENGTHS, warm_start
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.dropout import QuickDropout
from adaptune.models.load import load_backbone

Build = Callable[..., Assembly]


@pytest.fixture(scope="session")
def bert(tiny_bert: Path) -> Backbone:
    """With dropout of 0.1, as BERT has it."""
    return load_backbone(ModelConfig(name=str(tiny_bert)))


@pytest.fixture
def build(bert: Backbone) -> Build:
    """build("lora", rank=4, dropout=True)"""

    def make(
        method: str, *, seed: int = 0, dropout: bool = False, backbone: Backbone = bert, **settings: Any
    ) -> Assembly:
        labels = Labels(("bad", "good"))
        part = METHODS.make({"name": method, **settings})
        return Assembly(backbone, part, HEADS.make({"name": "classify"}), labels, seed=seed, dropout=dropout)

    return make


@pytest.fixture
def batch() -> Batch:
    ids = torch.tensor([[2, 60, 61, 62, 3], [2, 63, 64, 3, 0]])
    return Batch(torch.arange(2), (ids > 0).long(), ids=ids, labels=torch.tensor([0, 1]))


def _is_random(assembly: Assembly, batch: Batch) -> bool:
    assembly.train()
    with torch.no_grad():
        return not torch.equal(assembly.hidden(batch), assembly.hidden(batch))


@pytest.mark.parametrize("method", ["head_only", "lora", "bitfit"])
def test_frozen_layers_have_no_dropout_in_training_unless_asked_for(build: Build, batch: Batch, method: str) -> None:
    assert not _is_random(build(method), batch)
    assert _is_random(build(method, dropout=True), batch)


@pytest.mark.parametrize("method", ["full", "top_layers"])
def test_layers_that_learn_whole_keep_their_dropout(build: Build, batch: Batch, method: str) -> None:
    assert _is_random(build(method, **({"layers": 1} if method == "top_layers" else {})), batch)


def test_dropout_goes_with_the_layer_it_stands_in(build: Build) -> None:
    assembly = build("top_layers", layers=1).train()
    below, top = assembly.trunk.encoder.layer
    assert [module.training for module in (below, below.output.dropout, below.attention.self)] == [False] * 3
    assert [module.training for module in (top, top.output.dropout, top.attention.self)] == [True] * 3
    assert not assembly.trunk.embeddings.dropout.training


def test_the_methods_own_dropout_works_in_training(build: Build, batch: Batch) -> None:
    assembly = build("lora", dropout=False)
    with torch.no_grad():
        for name, parameter in assembly.trunk.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    assert not _is_random(assembly, batch)
    dropping = Assembly(
        assembly.backbone,
        METHODS.make({"name": "lora", "dropout": 0.5}),
        HEADS.make({"name": "classify"}),
        assembly.labels,
        seed=0,
    )
    dropping.load(assembly.state())
    assert _is_random(dropping, batch)


def test_dropout_is_quick_in_the_methods_layers_and_the_trunks_and_the_base_is_left_as_it_is(
    bert: Backbone,
) -> None:
    method = METHODS.make({"name": "lora", "dropout": 0.2})
    assembly = Assembly(bert, method, HEADS.make({"name": "classify"}), Labels(("bad", "good")), seed=0)
    layers = {name: module for name, module in assembly.trunk.named_modules() if isinstance(module, torch.nn.Dropout)}
    assert any("lora_dropout" in name for name in layers)
    assert {type(module) for module in layers.values()} == {QuickDropout}
    assert not any(isinstance(module, QuickDropout) for module in bert.trunk.modules())


def test_evaluation_has_no_dropout_anywhere(build: Build, batch: Batch) -> None:
    assembly = build("full", dropout=True).train().eval()
    assert not any(module.training for module in assembly.modules())
    assert torch.equal(assembly.hidden(batch), assembly.hidden(batch))


def test_a_frozen_trunk_keeps_no_graph(build: Build, batch: Batch) -> None:
    assert not build("head_only").hidden(batch).requires_grad
    assert build("lora").hidden(batch).requires_grad
    assert build("head_only")(batch).total.requires_grad


def test_embeddings_can_stand_in_for_ids_and_get_a_gradient(build: Build, batch: Batch) -> None:
    assembly = build("head_only").eval()
    assert batch.ids is not None
    embedded = assembly.trunk.get_input_embeddings()(batch.ids).detach().requires_grad_()
    instead = replace(batch, ids=None, embeddings=embedded)
    torch.testing.assert_close(assembly.hidden(instead), assembly.hidden(batch))
    assembly(instead).total.backward()
    assert embedded.grad is not None
    assert float(embedded.grad.abs().sum()) > 0


def test_the_backbone_is_left_without_gradients_and_as_it_was(build: Build, bert: Backbone, batch: Batch) -> None:
    before = {name: tensor.clone() for name, tensor in bert.whole.state_dict().items()}
    assembly = build("full")
    assembly(batch).total.backward()
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in bert.whole.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in bert.whole.state_dict().items())


def test_a_state_names_what_is_the_methods_and_what_the_heads(build: Build) -> None:
    state = build("bitfit").state()
    assert {name.split(".")[0] for name in state} == {"method", "head"}
    assert {"head.weight", "head.bias", "method.encoder.layer.1.output.dense.bias"} <= set(state)
    assert not any(tensor.requires_grad for tensor in state.values())


def test_a_state_of_another_rank_does_not_fit(build: Build) -> None:
    with pytest.raises(ValueError, match=r"lora_A.default.weight has shape \(8, 32\), expected \(4, 32\)"):
        build("lora", rank=4).load(build("lora", rank=8).state())


def test_a_state_without_the_head_does_not_fit(build: Build) -> None:
    state = {name: tensor for name, tensor in build("lora").state().items() if name.startswith("method.")}
    with pytest.raises(RuntimeError, match="Missing key"):
        build("lora").load(state)


def test_parameters_are_counted(build: Build) -> None:
    trained, total = build("head_only").count_parameters()
    base = sum(parameter.numel() for parameter in build("head_only").trunk.parameters())
    assert (trained, total) == (32 * 2 + 2, base + 32 * 2 + 2)


def test_the_heads_auto_is_settled_by_the_model(build: Build, bert: Backbone) -> None:
    assert build("head_only").head.pooling == "mean"
    assert build("head_only", backbone=replace(bert, pooling="first")).head.pooling == "first"


def test_learned_weights_are_fp32_on_a_half_precision_base(tiny_bert: Path, build: Build, batch: Batch) -> None:
    half = load_backbone(ModelConfig(name=str(tiny_bert), dtype="bfloat16"))
    assembly = build("lora", backbone=half)
    learned = {parameter.dtype for parameter in assembly.parameters() if parameter.requires_grad}
    assert learned == {torch.float32}
    assert assembly.hidden(batch).dtype == torch.bfloat16
    assembly(batch).total.backward()


def test_a_warm_start_reads_every_batch_once_however_many_strengths_it_tries(build: Build, batch: Batch) -> None:
    assembly, passes, answers = build("lora"), [], []
    assembly.trunk.register_forward_pre_hook(lambda *_: passes.append(None))

    def evaluate() -> Mapping[str, float]:
        answers.append(assembly.eval().answers(batch))
        return {"f1": float(len(answers))}

    warm_start(assembly, [batch], [batch], evaluate=evaluate, metric="f1")
    assert len(answers) == len(STRENGTHS)
    assert answers[0] != answers[-1]
    assert len(passes) == 2  # of the training rows, and of the validation rows
    assert assembly.answers(batch) == answers[-1]
    assert len(passes) == 3


def test_nothing_is_remembered_in_training_and_afterwards(build: Build, batch: Batch) -> None:
    assembly = build("lora", dropout=True)
    with assembly.remembering():
        assert _is_random(assembly, batch)
        assembly.eval()
        passes: list[None] = []
        assembly.trunk.register_forward_pre_hook(lambda *_: passes.append(None))
        assert torch.equal(assembly.hidden(batch) * batch.mask[:, :, None], assembly.hidden(batch))
        assert len(passes) == 1
    for _ in range(2):
        assembly.hidden(batch)
    assert len(passes) == 3
