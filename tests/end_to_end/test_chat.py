"""From conversations to a bundle that replies, on a tiny decoder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import adaptune
from adaptune.core.errors import DataError, Unsupported
from adaptune.core.run_folder import read_json_lines
from adaptune.core.types import Row
from adaptune.prepare import prepare
from adaptune.recipe import load_recipe
from adaptune.tasks import TASKS

THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river", "street", "school")
ANSWERS = {"good": "we want more", "bad": "no not now"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def recipe(tmp_path: Path, tiny_gpt2: Path) -> Path:
    """Conversations of two exchanges; the last question decides the reply."""
    rows = [
        {"messages": [_said("user", thing), _said("assistant", "yes"), _said("user", kind), _said("assistant", answer)]}
        for thing in THINGS
        for kind, answer in ANSWERS.items()
    ]
    return _recipe(tmp_path, tiny_gpt2, rows)


def _said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def _recipe(folder: Path, model: Path, rows: list[dict[str, Any]]) -> Path:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    path = folder / "recipe.yaml"
    path.write_text(
        f"task: {{name: chat, template: plain}}\nhead: {{name: generate, max_new_tokens: 24}}\n"
        f"data: {{train: {folder}/rows.jsonl, test: {folder}/rows.jsonl}}\nmodel: {model}\nmethod: full\n"
        f"train: {{max_steps: 3, learning_rate: 0.01, device: cpu}}\nout: {folder}/run\n"
    )
    return path


def test_a_bundle_replies_to_texts_and_to_conversations(recipe: Path, tmp_path: Path) -> None:
    run = adaptune.train(recipe)
    report: dict[str, Any] = run.report
    assert report["metric"] == "bleu"
    assert set(report["valid"]) == {"log_likelihood", "perplexity"}
    own = {"bleu", "chrf", "rouge1", "rouge2", "rougeL", "exact_match"}
    assert set(report["test"]) == set(report["baseline"]["unadapted"]) == own | {"loss", "perplexity"}
    assert report["test"]["loss"] < report["baseline"]["unadapted"]["loss"]
    assert set(report["baseline"]) == {"most_frequent", "copied_question", "unadapted"}
    assert report["gain"]["over"] == "unadapted"
    predictions = list(read_json_lines(tmp_path / "run" / "predictions.jsonl"))
    assert [line["expected"] for line in predictions] == [*ANSWERS.values()] * len(THINGS)

    bundle = adaptune.load(run.bundle)
    (reply,) = bundle.predict(["good"])
    assert set(reply) == {"text", "probability"}
    assert bundle.predict([{"messages": [_said("user", "good")]}]) == [reply]
    talk = [_said("user", "film"), _said("assistant", "yes"), _said("user", "good")]
    (waiting,) = bundle.predict([{"messages": talk}])
    # A reply that stands there already is written anew.
    assert bundle.predict([{"messages": [*talk, _said("assistant", "we want more")]}]) == [waiting]
    with pytest.raises(DataError, match="input, row 1, turn 1: the role 'narrator' is not known"):
        bundle.predict([{"messages": [_said("narrator", "good")]}])

    task = TASKS.make({"name": "chat", "template": "plain"})
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    examples = [task.example(Row("rows.jsonl", n, row)) for n, row in enumerate(rows, 1)]
    assert bundle.evaluate(examples).values == pytest.approx(report["test"])


def test_packed_and_padded_training_learn_alike(recipe: Path) -> None:
    losses = {}
    for packing in ("true", "false"):
        # Weights that all learn keep their dropout, whose draws depend on the shape of a batch.
        options = ["method=lora", "train.max_steps=2", "data.test=null", "data.test_share=0", "train.batch_tokens=4096"]
        run = adaptune.train(recipe, f"train.packing={packing}", *options, overwrite=True)
        losses[packing] = [line["loss"] for line in read_json_lines(run.folder / "steps.jsonl")]
    assert losses["true"] == pytest.approx(losses["false"], rel=1e-5)


def test_packing_that_cannot_be_is_refused_before_the_model_is_loaded(recipe: Path) -> None:
    with pytest.raises(Unsupported, match=r"train.packing is true, and method 'prompt' .*; set train.packing=auto"):
        prepare(load_recipe(recipe, ["train.packing=true", "method=prompt"]))


def test_a_conversation_that_ends_with_a_question_cannot_be_learned(tmp_path: Path, tiny_gpt2: Path) -> None:
    rows = [{"messages": [_said("user", "a"), _said("assistant", "b")]}, {"messages": [_said("user", "a")]}]
    with pytest.raises(DataError, match=r"rows.jsonl, row 2 has no label.*the last turn has to be the assistant's"):
        adaptune.train(_recipe(tmp_path, tiny_gpt2, rows))


def test_a_model_without_a_chat_template_is_refused_before_training(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"has no chat template; .*task\.template"):
        adaptune.train(recipe, "task.template=null")
    assert not (tmp_path / "run" / "steps.jsonl").exists()
