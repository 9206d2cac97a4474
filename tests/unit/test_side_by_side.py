"""The side-by-side benchmark of bench/: rows, scores, sessions and the page, and that both sides do the same work."""

from __future__ import annotations

import importlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities

from adaptune.prepare import prepare
from adaptune.run.kitchen import set_up
from adaptune.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
Module = Callable[[str], Any]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Module:
    """bench("peers.rows"): a module of that folder."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module


def test_training_validation_and_test_rows_are_read_as_the_data_sets_have_them(
    bench: Module, data: Callable[[str], Path]
) -> None:
    folder = data("banking77").parent
    sizes = {
        name: {part: len(rows) for part, rows in task.read(folder).items()}
        for name, task in bench("peers.rows").TASKS.items()
    }
    assert sizes["banking77"]["train"] + sizes["banking77"]["valid"] == 10_003
    assert sizes["banking77"]["test"] == 3_080
    assert sizes["clinc150"] == {"train": 15_100, "valid": 3_100, "test": 5_500}
    assert sizes["sst2"] == {"train": 6_920, "valid": 872, "test": 1_821}
    assert sizes["wnut17"] == {"train": 3_394, "valid": 1_009, "test": 1_287}
    assert sizes["stsb"] == {"train": 5_749, "valid": 1_500, "test": 1_379}
    assert sizes["e2e-nlg"]["train"] + sizes["e2e-nlg"]["valid"] == 547
    assert sizes["e2e-nlg"]["test"] == 200


def test_what_the_standard_library_scores_is_what_the_tasks_score(bench: Module) -> None:
    chance, scores = random.Random(4), bench("peers.scores")
    tags = ["O", "B-person", "I-person", "B-place", "I-place"]
    sides = [[[chance.choice(tags) for _ in range(9)] for _ in range(200)] for _ in range(2)]
    assert scores.score("tag", *sides) == pytest.approx(f1_score(sides[1], sides[0]), abs=1e-12)
    for words in sides[0]:
        assert {(kind, start, end - 1) for start, end, kind in scores.entities(words)} == set(get_entities(words))
    numbers = [[chance.gauss(0, 1) for _ in range(50)] for _ in range(2)]
    expected = TASKS.get("regress")().score(*numbers).values["pearson"]
    assert scores.score("regress", *numbers) == pytest.approx(expected, abs=1e-12)
    assert scores.score("classify", ["a", "b", "a", "a"], ["a", "b", "b", "a"]) == 0.75
    likelihoods = [(-3.0, 4), (-1.5, 2)]
    expected = TASKS.get("pretrain")().score(likelihoods, likelihoods).values["token_probability"]
    assert scores.score("write", likelihoods, ["a", "b"]) == pytest.approx(expected, abs=1e-12)


def order(bench: Module, **given: Any) -> Any:
    """An order on BANKING77 with what a test says of it."""
    usual = {"peer": "bucketed_loop", "task": "banking77", "setting": "tuned", "measure": "quality", "model": ""}
    return bench("peers.session").Order(**{**usual, "data": "", "seed": 1, "started": time.monotonic(), **given})


def test_dropout_off_both_sides_have_the_same_gradients_on_a_literal_batch(
    bench: Module, tiny_bert: Path, tmp_path: Path
) -> None:
    rows, loop, ours = bench("peers.rows"), bench("peers.bucketed_loop"), bench("peers.adaptune")
    literal = [
        rows.Row("where is my card", "card"),
        rows.Row("my card came late again", "card"),
        rows.Row("send money to my bank", "money"),
        rows.Row("the money was sent and it is not there", "money"),
    ]
    told = order(bench, model=str(tiny_bert))
    ours.write_rows(tmp_path, dict.fromkeys(rows.PARTS, literal))
    recipe = ours.recipe_of(told, tmp_path)
    kitchen = set_up(recipe, prepare(recipe))
    assembly = kitchen.assembly
    reader = bench("peers.reading").Reader(assembly.backbone.tokenizer, "classify", literal, standardised=True)
    model = loop.Model(told, reader)
    learned = {name: p for name, p in assembly.trunk.named_parameters() if p.requires_grad}
    theirs = {name: p for name, p in model.trunk.named_parameters() if p.requires_grad}
    pairs = {name: theirs[f"base_model.model.{name}"] for name in learned}
    assert len(pairs) == len(theirs) == 2 * 2 * 4  # A and B of four matrices in two layers
    with torch.no_grad():
        for name, parameter in learned.items():
            parameter.normal_(0, 0.2)
            pairs[name].copy_(parameter)
        model.head.weight.copy_(assembly.layer.weight)
        model.head.bias.copy_(assembly.layer.bias)
    features = reader.features(literal)
    batch = loop.collate(features, reader.tokenizer.pad_token_id)
    model.train()
    model(batch).backward()
    assembly.train()
    for given in kitchen.batches()(0):
        loss = assembly(given)
        (loss.total / len(literal)).backward()
    for name, parameter in learned.items():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0
        torch.testing.assert_close(pairs[name].grad, parameter.grad, rtol=1e-5, atol=1e-7)
