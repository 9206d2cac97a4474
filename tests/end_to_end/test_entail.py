"""Zero-shot labels by an inference model: as transformers' own pipeline says them, in a bundle, alone and served."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, pipeline

import adaptune
from adaptune.bundle.load import load_bundle
from adaptune.core.errors import AdaptuneError
from adaptune.core.types import Row
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.serve.compute import Asked, answer_all
from adaptune.serve.pool import Pool

THINGS = ("film", "bank")
OTHERS = "the a it was late again today very here now we when and old new".split()
CLASSES = {0: "contradiction", 1: "neutral", 2: "entailment"}
TEMPLATE = "this is about {}."


def _text(thing: str, chance: random.Random) -> str:
    return f"{chance.choice(OTHERS)} {thing} {chance.choice(OTHERS)}"


@pytest.fixture(scope="module")
def inference(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with a classifier, which learned for a second that what a text names is what it is about."""
    tokenizer, chance = AutoTokenizer.from_pretrained(tiny_bert), random.Random(0)
    names = {"id2label": CLASSES, "label2id": {name: place for place, name in CLASSES.items()}}
    plain = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.2}
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig.from_pretrained(tiny_bert, num_labels=3, **names, **plain))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    loss = torch.tensor(1.0)
    for _ in range(400):
        if loss < 0.01:
            break
        held, said = (chance.choices(THINGS, k=16) for _ in range(2))
        hypotheses = [TEMPLATE.format(one) for one in said]
        batch = tokenizer([_text(one, chance) for one in held], hypotheses, padding=True, return_tensors="pt")
        loss = model(**batch, labels=2 * torch.tensor([a == b for a, b in zip(held, said, strict=True)])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("models") / "inference"
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    chance = random.Random(3)
    things = [THINGS[number % 2] for number in range(40)]
    lines = [{"text": _text(one, chance), "label": one, "labels": [one]} for one in things]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return tmp_path / "rows.jsonl"


def _recipe(rows: Path, model: Path, **more: Any) -> Path:
    content = {
        "task": "classify",
        "approach": {"name": "entail", "templates": [TEMPLATE]},
        "data": {"train": str(rows), "shots": 0, "valid_share": 0.3, "test_share": 0.5},
        "model": str(model),
        "train": {"device": "cpu"},
        "evaluate": {"samples": 100},
        "out": str(rows.parent / "run"),
        **more,
    }
    file = rows.parent / "recipe.yaml"
    file.write_text(json.dumps(content))
    return file


@pytest.mark.parametrize("task", ["classify", "multilabel"])
def test_probabilities_are_those_of_the_pipeline(rows: Path, inference: Path, task: str) -> None:
    run = adaptune.train(_recipe(rows, inference, task=task))
    report = run.report
    assert (report["method"], report["parameters"]["trained"], report["training"]["steps"]) == ("none", 0, 0)
    bundle = load_bundle(run.bundle)
    texts = [json.loads(line)["text"] for line in rows.read_text().splitlines()][:12]
    texts.append(" ".join(OTHERS * 12))  # longer than the model
    theirs = pipeline("zero-shot-classification", model=str(inference), tokenizer=str(inference), device="cpu")
    names = bundle.manifest.labels.names
    expected = theirs(texts, list(names), hypothesis_template=TEMPLATE, multi_label=task == "multilabel")
    examples = [bundle.task.example(row) for row in _as_rows(texts)]
    for answer, other in zip(bundle.answers(examples), expected, strict=True):
        scores = dict(zip(other["labels"], other["scores"], strict=True))
        assert answer.probabilities == pytest.approx([scores[name] for name in names], abs=1e-5)
        assert answer.value == (
            other["labels"][0] if task == "classify" else tuple(name for name in names if scores[name] > 0.5)
        )
    assert report["test"]["accuracy" if task == "classify" else "micro_f1"] > 0.9


def test_no_row_at_all_and_labels_in_another_language(rows: Path, inference: Path) -> None:
    templates = ["这段文字是关于{}的。", TEMPLATE]
    approach = {"name": "entail", "classes": {"电影": "film", "银行": "bank"}, "templates": templates}
    run = adaptune.train(_recipe(rows, inference, approach=approach, data={}))
    assert (run.report["valid"], run.report["test"]) == ({}, {})
    assert run.report["put"] == {"template": "这段文字是关于{}的。", "tried": {}}
    [answer] = adaptune.load(run.bundle).predict("the film was old")
    assert answer["label"] in ("电影", "银行")


def test_the_best_template_is_chosen_on_validation_rows(rows: Path, inference: Path) -> None:
    data = {"train": str(rows), "shots": 0, "valid_share": 0.5, "test_share": 0.3}
    approach = {"name": "entail", "templates": ["{} again", TEMPLATE]}
    run = adaptune.train(_recipe(rows, inference, approach=approach, data=data))
    tried = run.report["put"]["tried"]
    assert run.report["put"]["template"] == max(tried, key=lambda one: tried[one])
    assert run.report["valid"]["accuracy"] == pytest.approx(max(tried.values()))


def test_bundles_bring_the_classifier_to_a_base_that_was_loaded_without(
    rows: Path, inference: Path, tmp_path: Path
) -> None:
    """Beside others on one trunk; the files of the base need not hold it."""
    run = adaptune.train(_recipe(rows, inference))
    plain = tmp_path / "plain"
    BertForSequenceClassification.from_pretrained(inference).bert.save_pretrained(plain)
    AutoTokenizer.from_pretrained(inference).save_pretrained(plain)
    base = load_backbone(ModelConfig(name=str(plain)))
    assert not base.classifier
    lora = {"approach": "finetune", "method": "lora", "out": str(tmp_path / "lora")}
    other = adaptune.train(
        _recipe(rows, plain, **lora, data={"train": str(rows)}, train={"epochs": 1, "device": "cpu"})
    )
    pool = Pool(base)
    asked, expected = [], []
    for name, one in (("entail", run), ("lora", other)):
        registered, alone = pool.load(one.bundle, name), load_bundle(one.bundle, backbone=base)
        task = registered.of(None)
        examples = task.examples(["the film was old", "we paid the bank today"])
        asked += [Asked(registered, sequences) for sequences in task.encode(examples, base, base.tokenizer)]
        expected += alone.answers(examples)
    for found, answer in zip(answer_all(pool, asked, batch_tokens=400), expected, strict=True):
        assert not isinstance(found, BaseException)
        assert found.probabilities == pytest.approx(answer.probabilities, abs=1e-5)


def test_a_method_learns_through_the_frozen_classifier(rows: Path, inference: Path) -> None:
    """That each label is what the other one's description says."""
    train = {"epochs": 4, "learning_rate": 0.01, "batch_rows": 4, "device": "cpu", "patience": None}
    approach = {"name": "entail", "templates": [TEMPLATE], "classes": {"film": "bank", "bank": "film"}}
    learns = {"approach": approach, "method": "lora", "train": train, "data": {"train": str(rows)}}
    run = adaptune.train(_recipe(rows, inference, **learns))
    losses = [step["loss"] for step in map(json.loads, (run.folder / "steps.jsonl").read_text().splitlines())]
    assert sum(losses[-8:]) < sum(losses[:8])
    before = BertForSequenceClassification.from_pretrained(inference).classifier.weight
    after = load_bundle(run.bundle).assembly.layer.state_dict()["classifier.weight"]
    assert torch.equal(before, after)


def test_a_model_without_a_classifier_is_refused(rows: Path, tiny_bert: Path) -> None:
    with pytest.raises(AdaptuneError, match="hold no classifier over texts"):
        adaptune.train(_recipe(rows, tiny_bert))


def _as_rows(texts: list[str]) -> list[Row]:
    return [Row("texts", number, {"text": text}) for number, text in enumerate(texts, start=1)]
