from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from adaptune.core.types import Example, Labels, OfText, Row, Sequence
from adaptune.data.batches import collate
from adaptune.data.encode import encode
from adaptune.evaluate.likelihood import likelihood
from adaptune.heads import HEADS
from adaptune.heads import generate as module
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone

ROWS = (("the bank", "is open now"), ("we will walk", "to the river and again to the street"), ("a", "b"))


@pytest.fixture
def assembly(tiny_gpt2: Path) -> Assembly:
    backbone = load_backbone(ModelConfig(name=str(tiny_gpt2)), words=True)
    return Assembly(backbone, METHODS.make({"name": "lora"}), HEADS.make({"name": "generate"}), Labels(()), seed=0)


def test_the_log_likelihood_is_that_of_transformers_loss_on_the_targets(assembly: Assembly, tiny_gpt2: Path) -> None:
    examples = [Example(Row("rows", 1, {}), (Sequence(source, target=OfText(text)),), text) for source, text in ROWS]
    tokenizer = assembly.backbone.tokenizer
    encoded = encode(examples, tokenizer, assembly.labels, max_length=128, segments=False, writing=assembly.writing)
    plain = AutoModelForCausalLM.from_pretrained(tiny_gpt2).eval()
    total, count = 0.0, 0
    for source, text in ROWS:
        prompt = tokenizer(source + "\n")["input_ids"]
        target = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
        ids, labels = torch.tensor([prompt + target]), torch.tensor([[-100] * len(prompt) + target])
        with torch.no_grad():
            total += float(plain(input_ids=ids, labels=labels).loss) * len(target)
        count += len(target)
    assembly.train()
    found = likelihood(assembly, encoded, batch_tokens=64)
    assert found == pytest.approx({"log_likelihood": -total / count, "perplexity": math.exp(total / count)}, rel=1e-5)
    assert assembly.training


def test_chunks_of_the_vocabulary_give_the_same_loss_and_gradient(
    assembly: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = [Example(Row("rows", 1, {}), (Sequence(source, target=OfText(text)),), text) for source, text in ROWS]
    encoded = encode(
        examples,
        assembly.backbone.tokenizer,
        assembly.labels,
        max_length=128,
        segments=False,
        writing=assembly.writing,
    )
    batch = collate(encoded, assembly.backbone.tokenizer.pad_token_id)
    found = []
    for cells in (module.CELLS, 3 * 500):
        monkeypatch.setattr(module, "CELLS", cells)
        assembly.zero_grad()
        loss = assembly(batch)
        loss.total.backward()
        grads = {name: p.grad.clone() for name, p in assembly.named_parameters() if p.grad is not None}
        found.append((float(loss.total.detach()), float(loss.items), grads))
    (one, items, first), (two, same, second) = found
    assert one == pytest.approx(two, rel=1e-6)
    assert items == same == sum(len(sequence.tokens) for sequence in encoded)
    assert first.keys() == second.keys()
    assert any(grad.abs().sum() > 0 for grad in first.values())
    for name, grad in first.items():
        torch.testing.assert_close(second[name], grad)
