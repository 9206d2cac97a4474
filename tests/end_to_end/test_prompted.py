"""Tasks put as prompts, from a recipe to a bundle that answers alone and served: without training, and with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, BertForMaskedLM

import adaptune
from adaptune.bundle.load import load_bundle
from adaptune.core.errors import AdaptuneError, RecipeError
from adaptune.core.types import Answer
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.serve.compute import Asked, answer_all
from adaptune.serve.pool import Pool

GOOD = ("good", "great", "excellent", "wonderful")
BAD = ("bad", "terrible", "poor", "worst")
THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river")
WORDS = "{pos: [good, great], neg: [bad]}"


@pytest.fixture(scope="module")
def masked(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT with an output layer over words."""
    folder = tmp_path_factory.mktemp("models") / "masked"
    torch.manual_seed(0)
    BertForMaskedLM.from_pretrained(tiny_bert).eval().save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """One word decides."""
    lines = [
        f"the {thing} was {word} {end},{label}"
        for thing in THINGS
        for label, words in (("pos", GOOD), ("neg", BAD))
        for word in words
        for end in ("today", "again")
    ]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    return tmp_path / "rows.csv"


def write(folder: Path, rows: Path, model: Path, approach: str, **more: Any) -> Path:
    content = {
        "task": "classify",
        "data": {"train": str(rows)},
        "model": str(model),
        "method": "none",
        "train": {"epochs": 0, "device": "cpu"},
        "out": str(folder / "run"),
        "evaluate": {"samples": 100},
        **more,
    }
    text = f"approach: {approach}\n" + "".join(f"{key}: {json.dumps(value)}\n" for key, value in content.items())
    (folder / "recipe.yaml").write_text(text)
    return folder / "recipe.yaml"


def test_labels_are_scored_without_training_by_the_best_of_what_was_tried(
    rows: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    approach = (
        f'{{name: score, template: ["{{text}} it was {{answer}}", "{{text}}: {{answer}}"], verbalizer: {WORDS}, '
        "select: [template, verbalizer], calibrate: content_free}"
    )
    run = adaptune.train(write(tmp_path, rows, tiny_llama, approach))
    put, report = run.report["put"], run.report
    assert (report["approach"], report["parameters"]["trained"], report["training"]["steps"]) == ("score", 0, 0)
    scores = [one["score"] for one in put["tried"]]
    assert len(scores) == 6
    assert scores == sorted(scores, reverse=True)
    assert report["valid"]["accuracy"] == pytest.approx(scores[0])
    assert (put["template"], put["verbalizer"]) == (put["tried"][0]["template"], put["tried"][0]["verbalizer"])
    bundle = adaptune.load(run.bundle)
    prior = bundle.assembly.layer.get_buffer("prior")
    assert prior.exp().sum() == pytest.approx(1.0, abs=1e-4)
    assert not torch.equal(prior, torch.zeros(2))
    [answer] = bundle.predict("the film was good today")
    assert answer["label"] in ("pos", "neg")


def test_texts_without_content_are_answered_evenly_once_that_is_taken_off(
    rows: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """Of one such text alone: its logits are then all equal."""
    approach = f'{{name: score, template: "{{text}}: {{answer}}", verbalizer: {WORDS}, calibrate: content_free}}'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adaptune.approaches._prompted.EMPTY", ("N/A",))
        run = adaptune.train(write(tmp_path, rows, tiny_llama, approach))
    [answer] = adaptune.load(run.bundle).predict("N/A")
    assert answer["probability"] == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("choose", ["random", "similar", "diverse", "diverse, by: model"])
def test_demonstrations_stay_with_the_bundle(rows: Path, tiny_llama: Path, tmp_path: Path, choose: str) -> None:
    approach = (
        f'{{name: in_context, template: "{{text}}: {{answer}}", verbalizer: {WORDS}, demonstrations: 3, pool: 20, '
        f"choose: {choose}}}"
    )
    run = adaptune.train(write(tmp_path, rows, tiny_llama, approach))
    rows.unlink()
    manifest = json.loads((run.bundle / "manifest.json").read_text())
    shown = manifest["parts"][0]["approach"]["shown"]
    assert len(shown) == (20 if choose == "similar" else 3)
    [answer] = adaptune.load(run.bundle).predict("the film was good today")
    assert 0 < answer["probability"] <= 1


@pytest.mark.parametrize(
    ("template", "method"),
    [
        ("{text} it was {answer}.", "lora"),
        ("{text} {soft:3} {answer}", "head_only"),
        ("{answer}: {text}", "prompt"),
        ("{text} it was {soft:2} {answer}.", "lora"),
        ("{text} it was {answer}., demonstrations: 2, choose: similar, pool: 20", "lora"),
    ],
)
def test_a_cloze_learns_through_the_words_of_its_labels(
    rows: Path, masked: Path, tmp_path: Path, template: str, method: str
) -> None:
    """Hard tokens, soft ones, both; with demonstrations in front, in training as in answers."""
    train = {"epochs": 6, "batch_rows": 8, "learning_rate": 0.02, "patience": None, "device": "cpu"}
    template, _, more = template.partition(", ")
    approach = f'{{name: cloze, template: "{template}", verbalizer: {WORDS}{", " if more else ""}{more}}}'
    run = adaptune.train(write(tmp_path, rows, masked, approach, method=method, train=train))
    losses = [step["loss"] for step in map(json.loads, (tmp_path / "run/steps.jsonl").read_text().splitlines())]
    assert sum(losses[-10:]) < sum(losses[:10])
    # Behind demonstrations a model of random weights finds the row itself less well; half is chance.
    assert run.report["valid"]["accuracy"] > (0.6 if more else 0.9) or method != "lora"
    bundle = adaptune.load(run.bundle)
    assert bundle.assembly.state().keys() >= {"head.prior"}
    assert len(bundle.predict(["the town was great", "the town was terrible"])) == 2


def test_a_calibrated_bundle_answers_by_its_temperature(rows: Path, tiny_llama: Path, tmp_path: Path) -> None:
    approach = f'{{name: score, template: "{{text}}: {{answer}}", verbalizer: {WORDS}}}'
    data = {"train": str(rows), "valid_share": 0.5}
    evaluate = {"calibrate": True, "abstain": 0.5, "samples": 100}
    run = adaptune.train(write(tmp_path, rows, tiny_llama, approach, data=data, evaluate=evaluate))
    assert run.report["calibration"]["temperature"] != 1.0
    [answer] = adaptune.load(run.bundle).predict("the film was good today")
    assert answer["abstained"] in (True, False)


def test_served_prompts_answer_as_their_bundles_do_alone(rows: Path, tiny_llama: Path, tmp_path: Path) -> None:
    base = load_backbone(ModelConfig(name=str(tiny_llama)), words=True)
    pool = Pool(base)
    texts = [f"the {thing} was {word}" for thing, word in zip(THINGS, (*GOOD, *BAD), strict=True)]
    few = {"epochs": 1, "max_steps": 2, "device": "cpu", "learning_rate": 0.02, "batch_rows": 4}
    score = f'name: score, template: "{{text}}: {{answer}}", verbalizer: {WORDS}'
    cases: list[tuple[str, dict[str, Any]]] = [
        (f"{{{score}}}", {}),
        (f"{{{score.replace('score', 'in_context')}, demonstrations: 2}}", {}),
        (f"{{{score}}}", {"method": "lora", "train": few}),
        ('{name: score, template: "{text} {soft:2} {answer}"}', {"method": "lora", "train": few}),
        ("finetune", {"method": "lora", "train": few}),
        (f"{{{score}}}", {"method": "prompt", "train": few}),
    ]
    asked, expected = [], []
    for number, (approach, more) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        run = adaptune.train(write(folder, rows, tiny_llama, approach, **more))
        registered, alone = pool.load(run.bundle, f"bundle-{number}"), load_bundle(run.bundle, backbone=base)
        task = registered.of(None)
        examples = task.examples([{"text": text} for text in texts])
        asked += [Asked(registered, one) for one in task.encode(examples, base, base.tokenizer)]
        expected += alone.answers(examples)
    for one, other in zip(answer_all(pool, asked, batch_tokens=400), expected, strict=True):
        assert isinstance(one, Answer)
        assert one.value == other.value
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_what_is_wrong_with_a_prompt_is_told_before_the_model_is_loaded(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"approach: the template '\{text\} \{label\}' has a place '\{label\}'"):
        adaptune.train(write(tmp_path, rows, tmp_path, '{name: score, template: "{text} {label}"}'))


def test_a_base_that_reads_otherwise_is_refused(rows: Path, masked: Path, tmp_path: Path) -> None:
    with pytest.raises(AdaptuneError, match=r"approach 'score' reads how a text goes on, .* 'bert' are no decoders"):
        adaptune.train(write(tmp_path, rows, masked, "score"))


def test_texts_are_written_by_the_model_as_it_comes(tiny_llama: Path, tmp_path: Path) -> None:
    """By instruction alone: method none is a finished run with a bundle that writes."""
    lines = [{"source": f"red box {number}", "target": f"box {number}"} for number in range(30)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    task = {"name": "write", "template": "Say it shorter: {source}\nShorter: "}
    head = {"name": "generate", "max_new_tokens": 8, "long_target": "cut"}
    run = adaptune.train(write(tmp_path, tmp_path / "rows.jsonl", tiny_llama, "finetune", task=task, head=head))
    assert run.report["parameters"]["trained"] == 0
    assert run.report["training"]["steps"] == 0
    assert run.report["gain"]["low"] == run.report["gain"]["high"] == 0
    [answer] = adaptune.load(run.bundle).predict("red box 3")
    assert isinstance(answer["text"], str)
