"""Raw text first, a task after it: masked and from left to right, on tiny models."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM

import adaptune
from adaptune.bundle.merge import merge
from adaptune.core.errors import ModelError, Unsupported
from adaptune.core.run_folder import read_json_lines
from adaptune.engine.checkpoint import Checkpoint, save_checkpoint
from adaptune.prepare import prepare
from adaptune.recipe import load_recipe

THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river", "street", "school")
ENDS = ("was late, so we went home", "is open again today", "came to the city by the river")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def with_words(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT with an output layer over words."""
    folder = tmp_path_factory.mktemp("models") / "bert-with-words"
    torch.manual_seed(0)
    BertForMaskedLM.from_pretrained(tiny_bert).eval().save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    return folder


@pytest.fixture
def recipe(tmp_path: Path, with_words: Path) -> Path:
    """60 lines of raw text."""
    lines = [f"the {size} {thing} {end}" for thing in THINGS for end in ENDS for size in ("old", "new")]
    (tmp_path / "texts.txt").write_text("\n".join(lines) + "\n")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"task: pretrain\ndata: {{train: {tmp_path}/texts.txt}}\nmodel: {with_words}\nmethod: {{name: lora, rank: 8}}\n"
        f"train: {{max_steps: 40, batch_rows: 16, learning_rate: 0.01, device: cpu}}\nout: {tmp_path}/run\n"
    )
    return path


def test_pseudo_perplexity_falls_and_is_that_of_the_plain_model(recipe: Path, tmp_path: Path) -> None:
    run = adaptune.train(recipe)
    report = run.report
    assert report["metric"] == "token_probability"
    assert report["test"]["perplexity"] < report["baseline"]["unadapted"]["perplexity"]
    assert report["gain"]["low"] > 0
    bundle = adaptune.load(run.bundle)
    (answer,) = bundle.predict(["the old bank is open again today"])
    folder = merge(bundle, tmp_path / "merged").folder
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("the old bank is open again today", return_tensors="pt")["input_ids"]
    total = 0.0
    with torch.inference_mode():
        for place in range(1, ids.shape[1] - 1):
            hidden = ids.clone()
            hidden[0, place] = tokenizer.mask_token_id
            total += float(model(input_ids=hidden).logits[0, place].log_softmax(-1)[ids[0, place]])
    assert answer["tokens"] == ids.shape[1] - 2
    assert answer["log_likelihood"] == pytest.approx(total, abs=1e-3)
    assert answer["perplexity"] == pytest.approx(math.exp(-total / answer["tokens"]), rel=1e-4)


def test_a_decoder_reads_from_left_to_right(recipe: Path, tmp_path: Path, tiny_gpt2: Path) -> None:
    run = adaptune.train(recipe, f"model={tiny_gpt2}", "method=full", "train.max_steps=10")
    assert run.report["test"]["loss"] < run.report["baseline"]["unadapted"]["loss"]
    bundle = adaptune.load(run.bundle)
    (answer,) = bundle.predict(["the old bank is open again today"])
    folder = merge(bundle, tmp_path / "merged").folder
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([[*tokenizer("the old bank is open again today")["input_ids"], tokenizer.eos_token_id]])
    with torch.inference_mode():
        loss = float(model(input_ids=ids, labels=ids).loss)
    assert answer["tokens"] == ids.shape[1] - 1
    assert -answer["log_likelihood"] / answer["tokens"] == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("task", ["classify", "tag"])
def test_its_bundle_is_the_start_of_a_task(recipe: Path, tmp_path: Path, task: str) -> None:
    first = adaptune.train(recipe, "train.max_steps=3").bundle
    words = [(thing, end) for thing in THINGS for end in ENDS]
    rows = [f"{' '.join(pair)}\tx" for pair in words] + [f"no {' '.join(pair)}\ty" for pair in words]
    if task == "tag":
        rows = [f"{thing} {size}\tB-thing O" for thing in THINGS for size in ("old", "new", "big", "small")]
    columns = "tokens\ttags" if task == "tag" else "text\tlabel"
    (tmp_path / "rows.tsv").write_text("\n".join([columns, *rows]) + "\n")
    options = [f"task={task}", f"data.train={tmp_path}/rows.tsv", f"out={tmp_path}/second", f"method.start={first}"]
    second = adaptune.train(recipe, *options, "train.max_steps=2", "train.learning_rate=1e-9", "train.warm_start=false")
    before, after = adaptune.load(first), adaptune.load(second.bundle)
    assert [ancestor.name for ancestor in after.manifest.lineage] == ["run"]
    old, new = (bundle.assembly.method.state(bundle.assembly.trunk) for bundle in (before, after))
    assert any(float(tensor.abs().max()) > 1e-3 for name, tensor in old.items() if "lora_B" in name)
    for name, tensor in new.items():
        torch.testing.assert_close(tensor, old[name], atol=1e-6, rtol=0)


def test_resume_hides_the_same_tokens(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = adaptune.train(recipe, "train.max_steps=8", "train.evaluate_every=2")
    losses = [line["loss"] for line in read_json_lines(whole.folder / "steps.jsonl")]
    again = [f"out={tmp_path}/again", "train.max_steps=8", "train.evaluate_every=2"]
    saves = 0

    def stop(folder: Path, checkpoint: Checkpoint) -> None:
        nonlocal saves
        saves += 1
        save_checkpoint(folder, checkpoint)
        if saves == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("adaptune.run.training.save_checkpoint", stop)
        with pytest.raises(KeyboardInterrupt):
            adaptune.train(recipe, *again)
    resumed = adaptune.train(recipe, *again, resume=True)
    assert [line["loss"] for line in read_json_lines(resumed.folder / "steps.jsonl")] == losses


def test_a_model_without_an_output_layer_is_refused_by_name(recipe: Path, tiny_bert: Path) -> None:
    with pytest.raises(ModelError, match=r"tiny-bert.*its output layer over words would be random"):
        adaptune.train(recipe, f"model={tiny_bert}")


def test_models_of_two_stacks_are_refused_before_their_weights_are_loaded(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "t5").mkdir()
    (tmp_path / "t5" / "config.json").write_text('{"model_type": "t5", "num_layers": 2}')
    with pytest.raises(Unsupported, match="'words' predicts a text's own tokens, and models of the family 't5'"):
        prepare(load_recipe(recipe, [f"model={tmp_path}/t5"]))
