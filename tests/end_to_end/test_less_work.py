"""Whole runs that keep what frozen layers give, that leave out rows, and that are estimated before they begin."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

import adaptune
from adaptune.cli import app
from adaptune.core.errors import Interrupted, Unsupported
from adaptune.core.run_folder import RunDir, read_json_lines
from adaptune.engine import signals
from adaptune.recipe import load_recipe
from adaptune.run.estimating import estimate

THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river")


@pytest.fixture
def recipe(tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [
        f"the {thing} was {word} {end},{label}"
        for thing in THINGS
        for word, label in (("good", "yes"), ("bad", "no"), ("great", "yes"), ("poor", "no"))
        for end in ("today", "again", "to me")
    ]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"task: classify\ndata: {{train: rows.csv}}\nmodel: {tiny_bert}\n"
        "method: {name: lora, rank: 2, skip_layers: 1}\ntrain: {epochs: 3, batch_rows: 8, device: cpu}\n"
    )
    return path


def test_a_run_says_what_it_keeps_and_ends_as_it_would_without(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = adaptune.train(recipe, f"out={tmp_path}/kept")
    said = capsys.readouterr().err
    assert "1 of 2 layers are frozen: what they give for" in said
    assert "MB in memory" in said
    plain = adaptune.train(recipe, f"out={tmp_path}/plain", "train.trunk_cache=off")
    assert "layers are frozen" not in capsys.readouterr().err
    assert kept.report["training"] == plain.report["training"]
    one, other = (load_file(run.bundle / "weights.safetensors") for run in (kept, plain))
    for name, tensor in one.items():
        assert tensor.allclose(other[name], atol=1e-3), name
    with pytest.raises(Unsupported, match="'memory', and method 'lora' changes the first layer"):
        adaptune.train(recipe, f"out={tmp_path}/whole", "method.skip_layers=0", "train.trunk_cache=memory")


def test_tasks_that_share_an_adapter_share_what_is_kept(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "numbers.csv").write_text(
        (tmp_path / "rows.csv").read_text().replace(",yes", ",1").replace(",no", ",0")
    )
    one, other = "{task: classify, data: {train: rows.csv}}", "{task: regress, data: {train: numbers.csv}}"
    lines = recipe.read_text().replace("task: classify\n", f"tasks:\n  one: {one}\n  other: {other}\n")
    recipe.write_text(lines.replace("data: {train: rows.csv}\nmodel", "adapters: shared\nmodel"))
    kept = adaptune.train(recipe, f"out={tmp_path}/kept", "train.trunk_cache=memory")
    read = [task["examples"][part] for task in kept.report["tasks"].values() for part in ("train", "valid")]
    said = re.search(r"what they give for (\d+) sequences is kept", capsys.readouterr().err)
    assert said is not None
    assert max(read) < int(said[1]) < sum(read)  # texts that both tasks read are kept once
    plain = adaptune.train(recipe, f"out={tmp_path}/plain", "train.trunk_cache=off")
    one_state, other_state = (load_file(run.bundle / "weights.safetensors") for run in (kept, plain))
    for name, tensor in one_state.items():
        assert tensor.allclose(other_state[name], atol=1e-3), name
    with pytest.raises(Unsupported, match="tasks that share adapters are mixed by their numbers of rows"):
        adaptune.train(recipe, f"out={tmp_path}/pruned", "train.prune=0.5")


@pytest.mark.parametrize("settings", [("train.trunk_cache=disk",), ("train.prune=0.7", "train.epochs=4")])
def test_an_interrupted_run_goes_on_to_the_same_weights_bit_for_bit(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    whole = adaptune.train(recipe, f"out={tmp_path}/whole", *settings)
    log = RunDir.log_step
    monkeypatch.setattr(RunDir, "log_step", _interrupting_at(13))
    with pytest.raises(Interrupted):
        adaptune.train(recipe, f"out={tmp_path}/halves", *settings)
    monkeypatch.setattr(RunDir, "log_step", log)
    halves = adaptune.train(recipe, f"out={tmp_path}/halves", *settings, resume=True)
    assert halves.report["training"] == whole.report["training"]
    one, other = (load_file(run.bundle / "weights.safetensors") for run in (whole, halves))
    assert all(one[name].equal(other[name]) for name in one)


@pytest.mark.parametrize("step", [4, 10, 14])
def test_a_run_whose_layers_settle_goes_on_from_before_and_after_that_bit_for_bit(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], step: int
) -> None:
    settings = ("train.settle=1", "method.skip_layers=0", "method.dropout=0.1", "train.warm_start=false")
    whole = adaptune.train(recipe, f"out={tmp_path}/whole", *settings)
    said = capsys.readouterr().err
    assert "1 of 2 layers learn no more after step 10 (epoch 1)" in said
    assert "1 of 2 layers are frozen: what they give for" in said
    assert whole.report["training"]["settled"] == [{"step": 10, "layers": 1}]
    log = RunDir.log_step
    monkeypatch.setattr(RunDir, "log_step", _interrupting_at(step))
    with pytest.raises(Interrupted):
        adaptune.train(recipe, f"out={tmp_path}/halves", *settings)
    monkeypatch.setattr(RunDir, "log_step", log)
    halves = adaptune.train(recipe, f"out={tmp_path}/halves", *settings, resume=True)
    assert halves.report["training"] == whole.report["training"]
    one, other = (load_file(run.bundle / "weights.safetensors") for run in (whole, halves))
    assert all(one[name].equal(other[name]) for name in one)
    losses = [[line["loss"] for line in read_json_lines(RunDir(tmp_path / run).steps)] for run in ("whole", "halves")]
    assert losses[0] == losses[1]


def test_a_run_in_which_no_layer_settles_is_one_without_the_option(recipe: Path, tmp_path: Path) -> None:
    plain = adaptune.train(recipe, f"out={tmp_path}/plain", "method.skip_layers=0")
    runs = [
        adaptune.train(recipe, f"out={tmp_path}/{limit}", "method.skip_layers=0", f"train.settle={limit}")
        for limit in ("0", "0.001")
    ]
    expected = load_file(plain.bundle / "weights.safetensors")
    for run in runs:
        assert run.report["training"] == plain.report["training"]
        found = load_file(run.bundle / "weights.safetensors")
        assert all(found[name].equal(expected[name]) for name in expected)


def _interrupting_at(step: int):
    log = RunDir.log_step

    def write(self: RunDir, record: dict[str, object]) -> None:
        log(self, record)
        if record["step"] == step:
            signal.raise_signal(signals.SIGNALS[1])

    return write


def test_an_estimate_tells_time_memory_disk_and_tokens_and_writes_nothing(recipe: Path, tmp_path: Path) -> None:
    before = set(tmp_path.rglob("*"))
    done = CliRunner().invoke(app, ["estimate", str(recipe), "train.epochs=4", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert set(tmp_path.rglob("*")) == before
    run = adaptune.train(recipe, f"out={tmp_path}/run", "train.epochs=4", "train.patience=null")
    assert found["steps"] == run.report["training"]["steps"]
    assert found["tokens"] == pytest.approx(run.report["training"]["tokens"], rel=0.02)
    assert found["tokens"] == pytest.approx(4 * found["tokens_an_epoch"], rel=0.01)
    learned = sum(tensor.numel() * 4 for tensor in load_file(run.bundle / "weights.safetensors").values())
    assert found["bundle_mb"] == pytest.approx(learned / 1e6)
    parts = [found[f"{name}_seconds"] for name in ("warm_start", "step", "evaluation")]
    assert found["total_seconds"] == pytest.approx(sum(parts))
    assert all(part > 0 for part in parts)
    assert found["memory_mb"] > 50
    assert found["device_memory_mb"] is None
    limited = CliRunner().invoke(app, ["estimate", str(recipe), "train.max_seconds=0.01", "train.trunk_cache=off"])
    assert limited.exit_code == 0, limited.output
    assert "at most on cpu, measured on 8 steps" in limited.stdout
    assert "0.0 MB kept of frozen layers" in limited.stdout


def test_averages_that_would_be_wrong_are_refused_before_seconds_are_spent_on_an_estimate(recipe: Path) -> None:
    told = "train.average is 0.2, and method 'adalora' decides at steps which weights there are"
    with pytest.raises(Unsupported, match=told):
        estimate(load_recipe(recipe, ["method={name: adalora, rank: 2}", "train.average=0.2"]))
