"""Two tasks on one tiny model: both learn in one adapter, resume is exact, and separate adapters are single runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel
from typer.testing import CliRunner

import adaptune
from adaptune.bundle.several import MultiTaskBundle
from adaptune.cli import app
from adaptune.core.errors import AdaptuneError, BundleError, DataError
from adaptune.core.run_folder import read_json_lines
from adaptune.engine.checkpoint import Checkpoint, save_checkpoint

GOOD = ("good", "great", "excellent", "wonderful")
BAD = ("bad", "terrible", "poor", "worst")
THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river")
PLACES = ("paris", "london", "york")
OTHERS = ("mary", "john", "people")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Reviews whose label one word decides, and sentences in which places are tagged."""
    monkeypatch.chdir(tmp_path)
    reviews = [
        {"text": f"the {thing} was {word} {end}", "label": label}
        for thing in THINGS
        for label, words in (("positive", GOOD), ("negative", BAD))
        for word in words
        for end in ("today", "again", "at first", "to me")
    ]
    tagged = [
        {"tokens": f"the {thing} in {name} was {end}".split(), "tags": ["O", "O", "O", tag, "O", "O"]}
        for thing in THINGS
        for names, tag in ((PLACES, "B-place"), (OTHERS, "O"))
        for name in names
        for end in ("new", "old")
    ]
    for file, rows in (("reviews.jsonl", reviews), ("places.jsonl", tagged)):
        (tmp_path / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def recipe(desk: Path, tiny_bert: Path) -> Callable[..., Path]:
    """recipe(adapters="shared"): the file of a recipe; None leaves a key out."""

    def write(name: str = "both", **changes: Any) -> Path:
        content = {
            "tasks": {
                "mood": {"task": "classify", "data": {"train": "reviews.jsonl"}},
                "places": {"task": "tag", "data": {"train": "places.jsonl"}},
            },
            "adapters": "shared",
            "model": str(tiny_bert),
            "method": {"name": "lora", "rank": 4, "dropout": 0.1},
            "train": {
                "epochs": 6,
                "batch_rows": 8,
                "warm_start": False,
                "learning_rate": 0.01,
                "patience": None,
                "device": "cpu",
            },
        }
        kept = {key: value for key, value in (content | changes).items() if value is not None}
        (desk / f"{name}.yaml").write_text(yaml.safe_dump(kept))
        return desk / f"{name}.yaml"

    return write


def _answers(model: Any) -> list[Any]:
    texts = ["the film was wonderful today", "the film was terrible today", "the house in paris was old"]
    answers = model.predict(texts)
    places = [entity["words"] for entity in answers[2]["places"]["entities"]]
    return [[one["mood"]["label"] for one in answers[:2]], places]


def test_both_tasks_learn_in_one_adapter_and_the_bundle_answers_for_each(recipe: Callable[..., Path]) -> None:
    run = adaptune.train(recipe(mixing={"by": "equal"}))
    tasks = run.report["tasks"]
    # Scores of the same seed differ a little with the number of threads.
    assert tasks["mood"]["test"]["accuracy"] > 0.9
    assert tasks["places"]["test"]["f1"] > 0.8
    assert run.report["test"]["mean"] == pytest.approx(
        (tasks["mood"]["test"]["accuracy"] + tasks["places"]["test"]["f1"]) / 2
    )
    assert tasks["mood"]["interval"]["metric"] == "accuracy"
    assert set(tasks["places"]["baseline"]) == {"most_frequent_tag"}
    assert tasks["mood"]["examples"]["train"] + tasks["mood"]["examples"]["test"] > 200
    model = adaptune.load(run.bundle)
    assert isinstance(model, MultiTaskBundle)
    assert _answers(model) == [["positive", "negative"], [["paris"]]]
    [mood] = model.predict("the film was wonderful today", task="mood")
    assert mood["label"] == "positive"
    assert mood == model.predict(["the film was wonderful today"])[0]["mood"]
    with pytest.raises(BundleError, match="has no task 'moods'; did you mean 'mood'"):
        model.predict(["good"], task="moods")


def test_the_files_of_a_shared_run_are_each_tasks(recipe: Callable[..., Path]) -> None:
    run = adaptune.train(recipe(), "train.max_steps=4")
    assert len(list(read_json_lines(run.folder / "predictions.mood.jsonl"))) == 26
    expected = [line["expected"] for line in read_json_lines(run.folder / "predictions.places.jsonl")]
    assert set(expected[0]) <= {"O", "B-place"}
    watched = list(read_json_lines(run.folder / "scores.jsonl"))[-1]
    assert watched["mean"] == pytest.approx((watched["mood.accuracy"] + watched["places.f1"]) / 2)
    manifest = json.loads((run.bundle / "manifest.json").read_text())
    assert [part["own"]["name"] for part in manifest["parts"]] == ["mood", "places"]
    assert all(part["own"]["golden"] for part in manifest["parts"])
    card = (run.bundle / "README.md").read_text()
    assert "## mood: text classification with 2 labels" in card


def test_every_head_is_warm_started_and_no_step_need_be_taken(recipe: Callable[..., Path]) -> None:
    run = adaptune.train(recipe(), "train.epochs=0", "train.warm_start=true")
    assert run.report["training"]["steps"] == 0
    assert run.report["tasks"]["mood"]["test"]["accuracy"] > 0.9
    assert run.report["tasks"]["places"]["test"]["f1"] > 0.6


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_shared_run_that_was_stopped_goes_on_to_the_same_weights_bit_for_bit(
    recipe: Callable[..., Path], desk: Path, monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    path = recipe(mixing={"by": "temperature", "temperature": 3.0})
    limits = [
        "train.max_steps=100",
        "train.evaluate_every=30",
        "train.learning_rate=0.01",
        f"train.accumulate={accumulate}",
    ]
    whole = adaptune.train(path, *limits, "out=whole")
    saves = 0

    def stop(folder: Path, checkpoint: Checkpoint) -> None:
        nonlocal saves
        saves += 1
        save_checkpoint(folder, checkpoint)
        if saves == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("adaptune.run.training.save_checkpoint", stop)
        with pytest.raises(KeyboardInterrupt):
            adaptune.train(path, *limits, "out=halves")
    resumed = adaptune.train(path, *limits, "out=halves", resume=True)
    _assert_same(whole.bundle, resumed.bundle)
    losses = [[line["loss"] for line in read_json_lines(run.folder / "steps.jsonl")] for run in (whole, resumed)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 100
    assert whole.report["training"]["best_step"] > 0


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_a_shared_adapter_is_a_peft_folder_with_the_same_hidden_states(
    recipe: Callable[..., Path], tiny_bert: Path
) -> None:
    run = adaptune.train(recipe(), "train.max_steps=6")
    model = adaptune.load(run.bundle)
    plain = PeftModel.from_pretrained(AutoModel.from_pretrained(tiny_bert), run.bundle).eval()
    trunk = model.of("mood").assembly.trunk
    assert trunk is model.of("places").assembly.trunk
    ids = torch.tensor([[2, 60, 61, 62, 3]])
    with torch.no_grad():
        expected = plain(input_ids=ids).last_hidden_state
        torch.testing.assert_close(trunk(input_ids=ids).last_hidden_state, expected, atol=1e-5, rtol=1e-5)


def test_separate_adapters_are_those_of_two_single_runs_tensor_for_tensor(
    recipe: Callable[..., Path], desk: Path
) -> None:
    both = adaptune.train(recipe(adapters="separate"), "train.max_steps=8", "out=both")
    assert list(both.bundles) == ["mood", "places"]
    with pytest.raises(AdaptuneError, match="separate adapters, a bundle for each task"):
        _ = both.bundle
    for name, task, file in (("mood", "classify", "reviews.jsonl"), ("places", "tag", "places.jsonl")):
        path = recipe("single", tasks=None, adapters=None, task=task, data={"train": file})
        single = adaptune.train(path, "train.max_steps=8", f"out={name}-alone")
        _assert_same(single.bundle, both.bundles[name])
        own, alone = both.report["tasks"][name], single.report
        assert all(own[key] == alone[key] for key in alone if key not in ("seconds", "peak_memory_mb"))
    assert json.loads((desk / "both" / "report.json").read_text()) == both.report


def test_the_failure_of_one_task_names_it_and_resume_keeps_what_the_others_did(
    recipe: Callable[..., Path], desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recipe(adapters="separate")
    calls = []

    def fail_second(folder: Path, checkpoint: Checkpoint) -> None:
        calls.append(folder)
        if "places" in str(folder):
            raise AdaptuneError("the disk is full")
        save_checkpoint(folder, checkpoint)

    with monkeypatch.context() as patch:
        patch.setattr("adaptune.run.training.save_checkpoint", fail_second)
        with pytest.raises(AdaptuneError, match="task 'places': the disk is full"):
            adaptune.train(path, "train.max_steps=4", "out=both")
    with pytest.raises(AdaptuneError, match=r"not finished \(mood\); continue it with --resume"):
        adaptune.train(path, "train.max_steps=4", "out=both")
    before = (desk / "both" / "mood" / "report.json").read_bytes()
    run = adaptune.train(path, "train.max_steps=4", "out=both", resume=True)
    assert (desk / "both" / "mood" / "report.json").read_bytes() == before
    assert list(run.report["tasks"]) == ["mood", "places"]
    with pytest.raises(AdaptuneError, match="nothing to resume"):
        adaptune.train(path, "train.max_steps=4", "out=both", resume=True)
    with pytest.raises(AdaptuneError, match="holds a finished run"):
        adaptune.train(path, "train.max_steps=4", "out=both")


def test_bad_rows_of_one_task_are_told_with_its_name(recipe: Callable[..., Path], desk: Path) -> None:
    (desk / "places.jsonl").write_text('{"tokens": ["a"], "tags": ["B-x", "O"]}\n')
    with pytest.raises(DataError, match=r"task 'places': places\.jsonl: none of its 1 rows can be used"):
        adaptune.train(recipe())


def test_another_task_goes_on_from_the_trunk_that_several_trained(recipe: Callable[..., Path]) -> None:
    first = adaptune.train(recipe(), "train.max_steps=6", "out=first")
    path = recipe("single", tasks=None, adapters=None, task="classify", data={"train": "reviews.jsonl"})
    second = adaptune.train(path, f"method.start={first.bundle}", "train.epochs=0", "out=second")
    old, new = (load_file(run.bundle / "weights.safetensors") for run in (first, second))
    methods = [name for name in new if name.startswith("method.")]
    assert methods
    assert all(new[name].equal(old[name]) for name in methods)
    assert adaptune.load(second.bundle).manifest.lineage[0].name == "first"


def test_the_command_line_trains_shows_answers_and_scores_each_task(recipe: Callable[..., Path], desk: Path) -> None:
    def adapt(*arguments: str) -> str:
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    trained = adapt("train", str(recipe()), "train.max_steps=30", "out=run", "--quiet")
    assert "task mood:" in trained
    assert trained.rstrip().endswith("bundle: run/bundle")
    assert "task places:" in adapt("show", "run/bundle")
    answers = [json.loads(line) for line in adapt("predict", "run/bundle", "the film was bad today").splitlines()]
    assert [set(one) for one in answers] == [{"mood", "places"}]
    [one] = [
        json.loads(line)
        for line in adapt("predict", "run/bundle", "--task", "mood", "the film was bad today").splitlines()
    ]
    assert one == answers[0]["mood"]
    assert "accuracy" in adapt("evaluate", "run/bundle", "reviews.jsonl", "--task", "mood")
    with pytest.raises(BundleError, match=r"holds 2 tasks \(mood, places\).*name it: --task NAME"):
        CliRunner().invoke(app, ["evaluate", "run/bundle", "reviews.jsonl"], catch_exceptions=False)
    assert "places.jsonl" in adapt("show-example", "both.yaml", "--task", "places")


def _assert_same(one: Path, other: Path) -> None:
    expected, found = (load_file(bundle / "weights.safetensors") for bundle in (one, other))
    assert expected.keys() == found.keys()
    assert all(expected[name].equal(found[name]) for name in expected)
