"""Ten deliberate mistakes at the command line: each is named with its remedy, soon, and without a stack trace."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AlbertConfig, AlbertModel, AutoModel

import adaptune

SECONDS = 3.0
"""Of processor time; the clock on the wall depends on what else the machine does."""
ROWS = """\
text,label
a good film,good
a bad film,bad
a great book,good
a terrible book,bad
an excellent song,good
a poor song,bad
a wonderful day,good
a sad day,bad
"""
RECIPE = """\
task: classify
data:
  train: train.csv
  valid: valid.csv
  test: test.csv
model: MODEL
method: head_only
train:
  epochs: 0
evaluate:
  baselines: false
"""
Refused = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, its data, and the run that it made."""
    folder = tmp_path_factory.mktemp("mistakes")
    for part in ("train", "valid", "test"):
        (folder / f"{part}.csv").write_text(ROWS, encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE.replace("MODEL", str(tiny_bert)), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        adaptune.train("recipe.yaml", "out=run")
    return folder


@pytest.fixture
def refused(folder: Path) -> Refused:
    """refused("train", ...): what the command says as it ends with 2, in little time and in plain words."""

    def run(*arguments: str) -> str:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", "from adaptune.cli import main; main()", *arguments],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < SECONDS
        return done.stderr

    return run


def test_1_a_misspelt_method(refused: Refused) -> None:
    message = refused("train", "recipe.yaml", "method=lorra")
    assert message.startswith(
        "error: recipe.yaml: 1 problem\n  - method=lorra: method: 'lorra' is no method; did you mean 'lora'?"
    )


def test_2_a_missing_column(refused: Refused, folder: Path) -> None:
    (folder / "no_label.csv").write_text("text,size\na good film,3\n", encoding="utf-8")
    assert refused("train", "recipe.yaml", "data.train=no_label.csv").startswith(
        "error: no_label.csv has no column for 'label' (its class: text, a number, true or false); it has: "
        "'text', 'size'; say which it is: data.columns: {label: NAME}"
    )


def test_3_a_label_that_only_the_test_rows_have(refused: Refused, folder: Path) -> None:
    (folder / "more.csv").write_text(ROWS + "so so,mixed\n", encoding="utf-8")
    assert refused("train", "recipe.yaml", "data.test=more.csv") == (
        "error: test: the label 'mixed' stands in no training row; "
        "add training rows of it, or correct or remove this row [more.csv, row 10]\n"
    )


def test_4_a_value_of_the_wrong_type(refused: Refused) -> None:
    assert refused("train", "recipe.yaml", "train.epochs=three") == (
        "error: recipe.yaml: 1 problem\n  - train.epochs=three: train.epochs: expected a number, got 'three'\n"
    )


def test_5_a_file_that_is_not_there(refused: Refused) -> None:
    assert refused("train", "recipe.yaml", "data.train=trian.csv") == (
        "error: recipe.yaml: 1 problem\n"
        "  - data.train=trian.csv: data.train: there is no 'trian.csv'; did you mean 'train.csv'?\n"
    )


def test_6_a_metric_that_does_not_exist(refused: Refused) -> None:
    message = refused("train", "recipe.yaml", "train.metric=acuracy")
    assert message.startswith(
        "error: recipe.yaml: 1 problem\n"
        "  - train.metric=acuracy: train.metric: task 'classify' has no 'acuracy'; did you mean 'accuracy'? "
        "(it has: accuracy, "
    )


def test_7_a_method_that_does_not_fit_the_model(refused: Refused, folder: Path) -> None:
    AlbertModel(AlbertConfig(hidden_size=32, num_attention_heads=4, intermediate_size=64)).save_pretrained(
        folder / "albert"
    )
    assert refused("train", "recipe.yaml", "model=albert", "method=top_layers") == (
        "error: method 'top_layers' needs layers of their own, and models of the family 'albert' use one set of "
        "weights at every depth; use lora or full instead\n"
    )


def test_8_a_bundle_on_another_base(refused: Refused, folder: Path, tiny_bert: Path) -> None:
    torch.manual_seed(1)
    other = AutoModel.from_pretrained(tiny_bert)
    torch.nn.init.normal_(other.embeddings.word_embeddings.weight)
    other.save_pretrained(folder / "other")
    for file in tiny_bert.glob("*token*"):
        (folder / "other" / file.name).write_bytes(file.read_bytes())
    message = refused("predict", "run/bundle", "a good film", "--model", "other")
    assert message.startswith(f"error: bundle 'run' was trained on '{tiny_bert}' (weights ")
    assert ", this is 'other' (weights " in message
    assert message.endswith("); name the one it was trained on: --model NAME, or `model` in a recipe\n")


def test_9_a_corrupt_bundle(refused: Refused, folder: Path) -> None:
    broken = folder / "broken"
    broken.mkdir()
    for file in (folder / "run" / "bundle").iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = bytearray((broken / "weights.safetensors").read_bytes())
    weights[-5] ^= 0xFF
    (broken / "weights.safetensors").write_bytes(weights)
    message = refused("predict", "broken", "a good film")
    assert message.startswith("error: broken/weights.safetensors is damaged: its SHA-256 is ")
    assert "; copy the bundle again from where it was made" in message


def test_10_a_half_written_line(refused: Refused, folder: Path) -> None:
    lines = [
        json.dumps({"text": text, "label": label})
        for text, label in (("good", "good"), ("bad", "bad"), ("so so", "bad"))
    ]
    (folder / "half.jsonl").write_text("\n".join(lines)[:-9], encoding="utf-8")
    message = refused("train", "recipe.yaml", "data.train=half.jsonl")
    assert message.startswith("error: half.jsonl, row 3: not valid JSON at position 19 ")
    assert "it is the last line and was probably cut off: complete or remove it" in message
