"""From a recipe to a bundle that writes, on tiny models of both kinds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import adaptune
from adaptune.bundle.merge import merge
from adaptune.core.errors import DataError, RecipeError, Unsupported
from adaptune.core.run_folder import read_json_lines
from adaptune.prepare import prepare
from adaptune.recipe import load_recipe

THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river", "street", "school")
KINDS = {"good": "it was good and we want more", "bad": "it was bad and we will not buy it"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def recipe(tmp_path: Path, tiny_gpt2: Path) -> Path:
    """A text that one word decides, in 60 different rows."""
    rows = [
        {"mr": f"{thing} {kind} {end}", "ref": text}
        for thing in THINGS
        for kind, text in KINDS.items()
        for end in ("today", "again", "now")
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"task: write\nhead: {{name: generate, max_new_tokens: 24}}\n"
        f"data: {{train: {tmp_path}/rows.jsonl}}\nmodel: {tiny_gpt2}\nmethod: full\n"
        f"train: {{max_steps: 3, learning_rate: 0.01, device: cpu}}\nout: {tmp_path}/run\n"
    )
    return path


def test_a_bundle_writes_and_the_merged_model_writes_the_same(recipe: Path, tmp_path: Path) -> None:
    run = adaptune.train(recipe)
    report: dict[str, Any] = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["metric"] == "bleu"
    assert set(report["valid"]) == {"log_likelihood", "perplexity"}
    assert set(report["test"]) == {"bleu", "chrf", "rouge1", "rouge2", "rougeL"}
    assert set(report["baseline"]) == {"copied_source", "most_frequent", "unadapted"}
    assert report["gain"]["over"] == "unadapted"
    assert report["gain"]["low"] <= report["gain"]["high"]
    predictions = list(read_json_lines(tmp_path / "run" / "predictions.jsonl"))
    assert [type(line["predicted"]) for line in predictions] == [str] * report["examples"]["test"]

    bundle = adaptune.load(run.bundle)
    (answer,) = bundle.predict(["school good today"])
    assert answer["text"]
    assert 0 < answer["probability"] <= 1
    assert bundle.predict([{"mr": "school good today"}]) == [answer]

    merged = merge(bundle, tmp_path / "merged")
    assert merged.auto == "AutoModelForCausalLM"
    plain = AutoModelForCausalLM.from_pretrained(merged.folder)
    tokenizer = AutoTokenizer.from_pretrained(merged.folder)
    prompt = tokenizer("school good today\n", return_tensors="pt")
    with torch.inference_mode():
        found = plain.generate(**prompt, max_new_tokens=24, do_sample=False, pad_token_id=tokenizer.eos_token_id)
    written = tokenizer.decode(found[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    assert written.strip() == answer["text"]


def test_the_metric_of_written_texts_can_be_watched(recipe: Path) -> None:
    run = adaptune.train(recipe, "train.metric=rougeL", "train.max_steps=1", "evaluate.baselines=false")
    assert run.report["metric"] == "rougeL"
    assert run.report["gain"] is None
    lines = list(read_json_lines(run.folder / "scores.jsonl"))
    assert all("rougeL" in line for line in lines)


def test_an_encoder_is_refused_before_its_weights_are_loaded(recipe: Path, tiny_bert: Path) -> None:
    with pytest.raises(Unsupported, match="'generate' writes texts, and models of the family 'bert' only read them"):
        prepare(load_recipe(recipe, [f"model={tiny_bert}"]))


def test_a_run_in_which_nothing_learns_is_refused(recipe: Path) -> None:
    with pytest.raises(Unsupported, match="nothing would learn: the method 'head_only'"):
        prepare(load_recipe(recipe, ["method=head_only"]))


def test_targets_that_are_too_long_end_the_run_before_training(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"targets have more than 4 tokens .*head\.long_target: cut, or skip"):
        adaptune.train(recipe, "head.max_new_tokens=4")
    assert not (tmp_path / "run" / "steps.jsonl").exists()


def test_a_head_for_labels_is_refused_for_texts(recipe: Path) -> None:
    with pytest.raises(RecipeError, match="'classify' does not learn what task 'write' asks; heads that do: generate"):
        load_recipe(recipe, ["head=classify"])


@pytest.mark.slow
def test_parallel_files_train_a_translator(tmp_path: Path, tiny_llama: Path, data: Callable[[str], Path]) -> None:
    folder = data("multi30k-de-en")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"task: translate\nhead: {{name: generate, max_new_tokens: 24, long_target: skip}}\n"
        f'data: {{train: "{folder}/val.{{de,en}}", train_rows: 60, valid_rows: 10, test_rows: 10}}\n'
        f"model: {tiny_llama}\ntrain: {{max_steps: 3, device: cpu}}\nout: {tmp_path}/run\n"
    )
    report = adaptune.train(path).report
    assert report["examples"] == {"train": 60, "valid": 10, "test": 10}
    assert report["test"]["bleu"] < 0.1
