"""A run whose rows stay in a file: it trains, says what it sampled, goes on where it stopped, and keeps its tokens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

import adaptune
from adaptune.core.run_folder import read_json_lines
from adaptune.data import chunks, load, samples, tokens

GOOD = ("good", "great", "excellent", "wonderful")
BAD = ("bad", "terrible", "poor", "worst")
THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river")

STREAMED = """
import sys
from adaptune.data import chunks, load
load.KEPT = 0
chunks.ChunkedBatches.__init__.__kwdefaults__["chunk"] = 50
from adaptune.cli import main
main()
"""
"""The command line with every part stored, in chunks of 50 rows."""


@pytest.fixture
def recipe(tmp_path: Path, tiny_bert: Path) -> Path:
    """A sentiment task whose label is decided by one word, in 256 different rows that are streamed."""
    rows = [
        f"the {thing} was {word} {end},{label}"
        for thing in THINGS
        for label, words in (("positive", GOOD), ("negative", BAD))
        for word in words
        for end in ("today", "again", "at first", "to me")
    ]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"task: classify\ndata: {{train: {tmp_path}/rows.csv, stream: always}}\nmodel: {tiny_bert}\n"
        f"method: {{name: lora, rank: 4, dropout: 0.1}}\n"
        f"train: {{epochs: 4, batch_rows: 8, patience: null, learning_rate: 0.01, device: cpu}}\n"
        f"out: {tmp_path}/run\n"
    )
    return path


@pytest.fixture
def _all_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every part is too large for memory, and worth the cache."""
    monkeypatch.setattr(load, "KEPT", 0)
    monkeypatch.setattr(tokens, "PAYS_FROM", 1)
    monkeypatch.setitem(samples.STREAMED, samples.WARM_START, 100)
    monkeypatch.setitem(samples.STREAMED, samples.LENGTHS, 100)
    monkeypatch.setattr(chunks.ChunkedBatches, "__init__", _in_chunks(50))
    monkeypatch.setenv("ADAPTUNE_CACHE", str(tmp_path / "cache"))


def _in_chunks(rows: int):
    made = chunks.ChunkedBatches.__init__

    def init(self, *arguments, **options) -> None:
        made(self, *arguments, **options, chunk=rows)

    return init


@pytest.mark.usefixtures("_all_stored")
def test_a_streamed_run_learns_says_what_it_sampled_and_repeats_itself_with_cached_tokens(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = adaptune.train(recipe, f"out={tmp_path}/first")
    said = capsys.readouterr().err
    assert "the warm start reads 100 of 207 training rows; train.warm_start_rows" in said
    assert "lengths in tokens are those of 100 of 207 training rows" in said
    assert first.report["examples"] == {"train": 207, "valid": 23, "test": 26}
    assert first.report["test"]["accuracy"] > 0.9
    kept = list((tmp_path / "cache" / "tokens").iterdir())
    assert len(kept) == 3
    times = [(entry / "tokens.npy").stat().st_mtime_ns for entry in kept]
    again = adaptune.train(recipe, f"out={tmp_path}/again")
    assert [(entry / "tokens.npy").stat().st_mtime_ns for entry in kept] == times
    one, other = (load_file(run.bundle / "weights.safetensors") for run in (first, again))
    assert all(one[name].equal(other[name]) for name in one)


def test_a_streamed_run_goes_on_to_the_same_weights_bit_for_bit(recipe: Path, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert _start(recipe, whole).wait(180) == 0
    started = _start(recipe, halves)
    _wait_for_steps(halves / "steps.jsonl", 20, started)
    started.send_signal(signal.SIGTERM)
    assert started.wait(60) == 128 + signal.SIGTERM
    assert _start(recipe, halves, "--resume").wait(180) == 0
    expected, resumed = (load_file(run / "bundle" / "weights.safetensors") for run in (whole, halves))
    assert all(expected[name].equal(resumed[name]) for name in expected)
    steps = [line["step"] for line in read_json_lines(halves / "steps.jsonl")]
    assert steps == list(range(1, len(steps) + 1))


def test_few_streamed_rows_give_the_run_that_they_give_in_memory(recipe: Path, tmp_path: Path) -> None:
    settings = ("train.epochs=1", f"out={tmp_path}/run")
    runs = [adaptune.train(recipe, *settings, f"data.stream={how}", overwrite=True) for how in ("never", "always")]
    reports = [{name: run.report[name] for name in ("test", "valid", "baseline", "training")} for run in runs]
    assert reports[0] == reports[1]


def test_of_rows_in_memory_the_warm_start_reads_as_many_as_it_is_told(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("data.stream=never", "train.max_steps=1", "train.warm_start_rows=50", "evaluate.plain_rows=40")
    report = adaptune.train(recipe, *settings).report
    said = capsys.readouterr().err
    assert "the warm start reads 50 of 207 training rows" in said
    assert "plain models are fitted on 40 of 207 training rows" in said
    assert report["valid"]["accuracy"] > 0.5


def _start(recipe: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", STREAMED, "train", str(recipe), f"out={out}", *options]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)


def _wait_for_steps(log: Path, steps: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not log.exists() or log.read_bytes().count(b"\n") < steps:
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.02)
