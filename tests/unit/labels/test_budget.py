"""Score against labels on a tiny model: rows, folders, time, and what is said of each point."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from adaptune.core.errors import AdaptuneError, DataError, Unsupported
from adaptune.labels import budget as budget_module
from adaptune.labels.budget import Asked, curve
from adaptune.labels.curve_settings import parse_shots, settled
from adaptune.labels.curve_values import Budget
from adaptune.prepare import prepare
from adaptune.recipe import load_recipe
from adaptune.run import cook
from adaptune.show import print_budget

THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river")


@pytest.fixture
def recipe(tmp_path: Path, tiny_bert: Path) -> Path:
    rows = [
        f"the {thing} was {word} {end},{label}"
        for thing in THINGS
        for label, words in (("positive", ("good", "great")), ("negative", ("bad", "terrible")))
        for word in words
        for end in ("today", "again")
    ]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"task: classify\ndata: {{train: {tmp_path}/rows.csv, test_share: 0.2, valid_share: 0.2}}\nmodel: {tiny_bert}\n"
        f"method: head_only\ntrain: {{epochs: 1, device: cpu}}\nout: {tmp_path}/run\n"
    )
    return path


def _curve(recipe: Path, shots: str, *overrides: str, draws: int = 2, budget: float = 600, **options: Any) -> Budget:
    part = options.pop("part", "valid")
    numbers = parse_shots(shots)
    whole = settled(load_recipe(recipe, overrides), None, part, numbers)
    return curve(whole, prepare(whole), Asked(numbers, draws, budget, part), **options)


def test_a_curve_has_a_run_a_draw_of_each_number_and_a_point_a_number(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _curve(recipe, "1,4,all")
    folder = tmp_path / "run-curve"
    assert Budget.model_validate_json((folder / "curve.json").read_bytes()) == found
    assert (folder / "curve.png").read_bytes()[1:4] == b"PNG"
    assert [(run.shots, run.draw, run.labels) for run in found.runs] == [
        (1, 1, 2),
        (4, 1, 8),
        (None, 1, found.rows["train"]),
        (1, 2, 2),
        (4, 2, 8),
    ]
    assert sorted(one.name for one in (folder / "runs").iterdir()) == [
        "shots-1-draw-1",
        "shots-1-draw-2",
        "shots-4-draw-1",
        "shots-4-draw-2",
        "shots-all",
    ]
    assert [(point.shots, point.draws) for point in found.points] == [(1, 2), (4, 2), (None, 1)]
    one, other = (run.score for run in found.runs if run.shots == 4)
    assert found.points[1].score == pytest.approx((one + other) / 2)
    assert found.points[2].interval is None
    assert found.estimate.gain is None
    assert "4 are needed" in str(found.estimate.refused)
    print_budget(found)
    printed = capsys.readouterr().out
    assert "what 100 more labels would bring cannot be said" in printed
    assert "test rows were not scored" in printed


def test_a_point_is_the_run_that_its_recipe_alone_gives(recipe: Path, tmp_path: Path) -> None:
    _curve(recipe, "1,4", draws=1)
    folder = tmp_path / "run-curve" / "runs" / "shots-4-draw-1"
    report = json.loads((folder / "report.json").read_bytes())
    assert report["test"] == {}
    alone = cook(load_recipe(folder / "recipe.yaml", [f"out={tmp_path}/alone"]))
    assert alone.report["valid"] == report["valid"]
    assert alone.report["examples"]["train"] == 8
    first, second = (load_file(path / "bundle" / "weights.safetensors") for path in (folder, tmp_path / "alone"))
    assert all((tensor - second[name]).abs().max() < 1e-5 for name, tensor in first.items())


def test_finished_points_are_reused_and_others_added(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _curve(recipe, "1,2", draws=1)
    with pytest.raises(AdaptuneError, match="holds a curve; go on with it"):
        _curve(recipe, "1,2", draws=1)
    cooked = []
    cook_on = budget_module.cook_on
    monkeypatch.setattr(budget_module, "cook_on", lambda *of: cooked.append(cook_on(*of)))
    second = _curve(recipe, "1,2,4", draws=1, resume=True)
    assert second.runs[:2] == first.runs
    with pytest.raises(AdaptuneError, match="with another recipe"):
        _curve(recipe, "1,2", "method=lora", draws=1, resume=True)
    with pytest.raises(AdaptuneError, match="other scored rows"):
        _curve(recipe, "1,2", draws=1, resume=True, part="test")
    assert [stretch.seconds > 0 for stretch in cooked] == [False, False, True]


def test_what_goes_wrong_with_one_point_is_its_row(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cook_on = budget_module.cook_on

    def failing(pantry: Any, recipe: Any, prepared: Any) -> Any:
        if recipe.data.shots == 2:
            raise ValueError("no")
        return cook_on(pantry, recipe, prepared)

    monkeypatch.setattr(budget_module, "cook_on", failing)
    found = _curve(recipe, "1,2", draws=1)
    assert [run.status for run in found.runs] == ["scored", "failed"]
    assert found.points[1].score is None
    assert found.points[1].why == "1 of 1: ValueError: no"


def test_no_point_begins_when_time_is_up(recipe: Path) -> None:
    found = _curve(recipe, "1,2", draws=1, budget=0)
    assert [run.status for run in found.runs] == ["out of time", "out of time"]
    assert "2 of 2 runs were not begun" in found.notes[1]


def test_numbers_that_take_every_row_are_one_point(recipe: Path) -> None:
    found = _curve(recipe, "500,600,all", draws=2)
    assert [(run.shots, run.draw) for run in found.runs] == [(None, 1)]


def test_test_rows_are_scored_where_they_are_asked_for(recipe: Path, tmp_path: Path) -> None:
    found = _curve(recipe, "1", draws=1, part="test")
    report = json.loads((tmp_path / "run-curve" / "runs" / "shots-1-draw-1" / "report.json").read_bytes())
    assert found.runs[0].score == report["test"]["accuracy"]
    assert found.notes == (f"scored on {found.rows['test']} test rows, once a run",)


def test_a_file_of_test_rows_is_not_read_for_a_curve_on_validation_rows(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("there,are\nno,rows\n")
    found = _curve(recipe, "1", f"data.test={tmp_path}/other.csv", draws=1)
    assert found.rows["test"] == 0


def test_answers_that_are_no_labels_and_settings_that_are_in_the_way_are_refused(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"data\.shots is 3 in the recipe, and a curve sets"):
        _curve(recipe, "1", "data.shots=3")
    with pytest.raises(Unsupported, match="0 is no labelled row"):
        _curve(recipe, "0,1")
    with pytest.raises(AdaptuneError, match="'x' is no number of labelled rows"):
        parse_shots("1,x")
    (tmp_path / "numbers.csv").write_text("text,number\n" + "".join(f"film {place},{place}\n" for place in range(40)))
    with pytest.raises(DataError, match="is none"):
        _curve(recipe, "1", "task=regress", f"data.train={tmp_path}/numbers.csv")
