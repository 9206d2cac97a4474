"""Few labelled rows, or none: whole runs on a tiny model, and bundles that answer as the run did."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import adaptune
from adaptune.core.errors import DataError, Interrupted, RecipeError, Unsupported
from adaptune.core.head import LossSum
from adaptune.engine.signals import Stop
from adaptune.prepare import prepare
from adaptune.recipe import load_recipe
from adaptune.run.beginning import Beginning
from adaptune.run.kitchen import set_up

WORDS = "the a is and late game bank street red box never again john will send it to her house by train".split()


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """60 rows of three labels, whose texts have their label's word in them."""
    monkeypatch.chdir(tmp_path)
    chance = random.Random(4)
    lines = []
    for number in range(60):
        label = ("red_box", "train", "bank")[number % 3]
        words = [*chance.sample(WORDS, 5), *label.split("_")]
        chance.shuffle(words)
        lines.append(f"{' '.join(words)},{label}")
    Path("rows.csv").write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def _recipe(model: Path, approach: str, **data: Any) -> str:
    data = {"train": "rows.csv", "valid_share": 0.2, "test_share": 0.2} | data
    lines = [f"  {key}: {value}" for key, value in data.items() if value is not None]
    text = f"task: classify\napproach: {approach}\nmodel: {model}\ndata:\n" + "\n".join(lines) + "\n"
    Path("recipe.yaml").write_text(text, encoding="utf-8")
    return "recipe.yaml"


def _answers(bundle: Path) -> list[tuple[str, float]]:
    found = adaptune.load(bundle).predict(["the red box is late", "john will send it by train"])
    return [(one["label"], one["probability"]) for one in found]


def test_contrast_on_a_few_rows_of_each_label(rows: Path, tiny_bert: Path) -> None:
    recipe = _recipe(tiny_bert, "{name: contrast, steps: 4, rows_a_step: 3}", shots=4)
    run = adaptune.train(recipe, "train.device=cpu")
    assert run.report["examples"]["train"] == 12
    assert (run.report["approach"], run.report["method"]) == ("contrast", "top_layers")
    assert run.report["training"]["steps"] == 0
    steps = [json.loads(line) for line in (run.folder / "steps.jsonl").read_text().splitlines()]
    assert [(one["approach"], one["number"], one["total"]) for one in steps] == [
        ("contrast", n, 4) for n in range(1, 5)
    ]
    manifest = json.loads((run.bundle / "manifest.json").read_text())
    assert manifest["parts"][0]["approach"]["steps"] == 4
    again = adaptune.train(recipe, "train.device=cpu", "out=runs/again")
    assert _answers(run.bundle) == _answers(again.bundle)


def test_the_head_alone_needs_no_method(rows: Path, tiny_bert: Path) -> None:
    recipe = _recipe(tiny_bert, "{name: contrast, steps: 0}", shots=2)
    run = adaptune.train(recipe, "method=none", "train.device=cpu")
    assert (run.report["method"], run.report["training"]["steps"]) == ("none", 0)
    assert {label for label, _ in _answers(run.bundle)} <= {"red_box", "train", "bank"}


def test_an_approach_has_rows_in_order_and_keeps_part_of_the_way(rows: Path, tiny_bert: Path) -> None:
    recipe = load_recipe(_recipe(tiny_bert, "contrast", shots=4), ["train.device=cpu"])
    kitchen = set_up(recipe, prepare(recipe))
    start, seen = Beginning(kitchen), list[list[int]]()
    start.add([("red box", "red_box")])
    texts = [*(str(example.sequences[0].first) for example in kitchen.examples("train")), "red box"]
    features, targets = start.features("train")
    torch.testing.assert_close(features, start.features_of(texts), rtol=0, atol=1e-5)
    assert targets.tolist() == start.targets().tolist()

    def loss(read: torch.Tensor, _: torch.Tensor, places: torch.Tensor) -> LossSum:
        seen.append(places.tolist())
        return LossSum(read.square().sum(), torch.tensor(len(read)))

    before = {name: tensor.clone() for name, tensor in kitchen.assembly.state().items()}
    assert len(list(start.learn(loss, [np.array([12, 0, 5])], learning_rate=1e-3))) == 1
    after = {name: tensor.clone() for name, tensor in kitchen.assembly.state().items()}
    learning = [weight for weight in kitchen.assembly.trunk.parameters() if weight.requires_grad]
    start.keep(0.25)
    assert learning
    left = {id(weight) for weight in kitchen.assembly.trunk.parameters()}
    assert {id(weight) for weight in learning} <= left, "the optimizer of epochs that follow holds them"
    found = kitchen.assembly.state()
    assert seen == [[12, 0, 5]]
    assert any(not torch.equal(before[name], after[name]) for name in before)
    for name in before:
        torch.testing.assert_close(found[name], 0.75 * before[name] + 0.25 * after[name])


def test_an_epoch_may_follow_the_contrast(rows: Path, tiny_bert: Path) -> None:
    recipe = _recipe(tiny_bert, "{name: contrast, steps: 2, rows_a_step: 3}", shots=4)
    run = adaptune.train(recipe, "train.epochs=1", "train.device=cpu")
    assert run.report["training"]["steps"] > 0


def test_prototypes_take_no_step_and_are_a_finished_run(rows: Path, tiny_bert: Path) -> None:
    run = adaptune.train(_recipe(tiny_bert, "prototype", shots=2, draw=3), "train.device=cpu")
    assert (run.report["method"], run.report["training"]["steps"]) == ("none", 0)
    assert run.report["interval"]["metric"] == "accuracy"
    assert set(run.report["baseline"]) == {"majority", "tfidf_logistic_regression"}
    assert {label for label, _ in _answers(run.bundle)} <= {"red_box", "train", "bank"}


def test_prototypes_may_be_trained_from_where_they_stand(rows: Path, tiny_bert: Path) -> None:
    run = adaptune.train(_recipe(tiny_bert, "prototype"), "method=lora", "train.epochs=1", "train.device=cpu")
    assert run.report["training"]["steps"] > 0


@pytest.fixture
def tagged(rows: Path) -> Path:
    """40 rows of words, in each of which a thing or a person stands."""
    chance = random.Random(5)
    lines = []
    for number in range(40):
        words, tags = chance.sample(["never", "again", "will", "send", "late", "and"], 4), ["O"] * 4
        found = (["red", "box"], ["B-thing", "I-thing"]) if number % 2 else (["john"], ["B-person"])
        place = chance.randint(0, 4)
        words[place:place], tags[place:place] = found
        lines += [f"{word}\t{tag}" for word, tag in zip(words, tags, strict=True)] + [""]
    Path("rows.conll").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return rows


@pytest.mark.parametrize("approach", ["prototype", "{name: prototype, distance: cosine, name_weight: 0}"])
def test_entities_are_found_by_the_nearest_means_of_few_rows(tagged: Path, tiny_bert: Path, approach: str) -> None:
    recipe = _recipe(tiny_bert, approach, train="rows.conll", shots=3)
    run = adaptune.train(recipe, "task=tag", "train.device=cpu")
    assert (run.report["method"], run.report["examples"]["train"], run.report["training"]["steps"]) == ("none", 6, 0)
    assert run.report["test"]["f1"] > 0.5  # a model that was never trained
    found = adaptune.load(run.bundle).predict(["never send red box again", "send john late"])
    types = {one["type"] for answer in found for one in answer["entities"]}
    assert types
    assert types <= {"thing", "person"}


def test_entities_without_a_row_are_refused(tagged: Path, tiny_bert: Path) -> None:
    with pytest.raises(Unsupported, match="tags words by the means of tagged rows, and there are none"):
        adaptune.train(_recipe(tiny_bert, "prototype", train="rows.conll", shots=0), "task=tag", "train.device=cpu")


def test_no_training_rows_but_classes_and_validation_rows(rows: Path, tiny_bert: Path) -> None:
    approach = "{name: prototype, classes: {bank: money, red_box: a red box, train: trains}}"
    run = adaptune.train(_recipe(tiny_bert, approach, train=None, valid="rows.csv"), "train.device=cpu")
    assert run.report["examples"] == {"train": 0, "valid": 60, "test": 0}
    assert 0 <= run.report["valid"]["accuracy"] <= 1
    manifest = json.loads((run.bundle / "manifest.json").read_text())
    assert manifest["parts"][0]["labels"] == ["bank", "red_box", "train"]


def test_no_labelled_row_at_all(rows: Path, tiny_bert: Path) -> None:
    run = adaptune.train(
        _recipe(tiny_bert, "{name: prototype, classes: [银行, 火车]}", train=None),
        "train.device=cpu",
    )
    assert (run.report["valid"], run.report["test"]) == ({}, {})
    assert {label for label, _ in _answers(run.bundle)} <= {"银行", "火车"}


def test_no_shots_but_the_labels_of_training_rows(rows: Path, tiny_bert: Path) -> None:
    run = adaptune.train(_recipe(tiny_bert, "prototype", shots=0), "train.device=cpu")
    assert run.report["examples"]["train"] == 0
    assert run.report["examples"]["test"] == 12


def test_rows_are_asked_for_where_an_approach_learns_from_them(rows: Path, tiny_bert: Path) -> None:
    for data, message in (
        ({"train": None, "valid": "rows.csv"}, "'data.train' is missing: The training rows"),
        ({"shots": 0}, "data.shots is 0, and approach 'contrast' learns from labelled rows; use approach=prototype"),
    ):
        with pytest.raises(RecipeError) as caught:
            load_recipe(_recipe(tiny_bert, "contrast", **data))
        [problem] = caught.value.problems
        assert message in problem


def test_epochs_without_rows_are_refused(rows: Path, tiny_bert: Path) -> None:
    with pytest.raises(RecipeError, match=r"train.epochs is 2, and there are no training rows; set train.epochs=0"):
        load_recipe(_recipe(tiny_bert, "prototype", shots=0), ["method=lora", "train.epochs=2"])


def test_a_label_that_classes_do_not_name_is_refused_with_its_rows(rows: Path, tiny_bert: Path) -> None:
    approach = "{name: prototype, classes: [bank, trains]}"
    with pytest.raises(DataError, match=r"the label 'train' is none of those .* 'trains'"):
        adaptune.train(_recipe(tiny_bert, approach, train=None, valid="rows.csv"))


def test_what_is_stopped_before_training_begins_anew(
    rows: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _recipe(tiny_bert, "{name: contrast, steps: 4, rows_a_step: 3}", shots=4)
    monkeypatch.setattr(Stop, "__init__", lambda self: setattr(self, "signal", 2))
    with pytest.raises(Interrupted, match=r"stopped in step 1 of 4 of approach 'contrast'.*again to begin anew"):
        adaptune.train(recipe, "train.device=cpu")
    monkeypatch.undo()
    monkeypatch.chdir(rows)
    assert adaptune.train(recipe, "train.device=cpu").report["approach"] == "contrast"
