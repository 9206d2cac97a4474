"""Several methods on one task become one verdict, and settings of one are searched, on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertForMaskedLM

import adaptune
from adaptune.compare import comparing
from adaptune.compare.candidates import parse_candidates
from adaptune.compare.comparing import compare
from adaptune.compare.settle import settled
from adaptune.compare.tuning import Asked, tune
from adaptune.compare.values import Comparison, Row, Tuning
from adaptune.core.errors import AdaptuneError, Interrupted, Unsupported
from adaptune.prepare import prepare
from adaptune.recipe import load_recipe
from adaptune.show import print_comparison, print_tuning

THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river")
LABELS = ("positive", "negative")
CANDIDATES = "lora(rank=2),bitfit,ia3,head_only,lora(rank=64,initialisation=pissa)"


@pytest.fixture
def recipe(tmp_path: Path, tiny_bert: Path) -> Path:
    rows = [
        f"the {thing} was {word} {end},{label}"
        for thing in THINGS
        for label, words in (("positive", ("good", "great", "excellent")), ("negative", ("bad", "terrible", "poor")))
        for word in words
        for end in ("today", "again", "to me")
    ]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"task: classify\ndata: {{train: {tmp_path}/rows.csv, test_share: 0.3}}\nmodel: {tiny_bert}\n"
        f"train: {{epochs: 2, batch_rows: 16, device: cpu, patience: 1}}\nout: {tmp_path}/run\n"
    )
    return path


def _compared(recipe: Path, candidates: str = CANDIDATES, *, resume: bool = False, seeds: int = 2) -> Comparison:
    given = load_recipe(recipe)
    whole = settled(given, None)
    asked = parse_candidates(candidates, given)
    return compare(whole, prepare(whole), asked, seeds=seeds, budget=600, resume=resume)


def _row(found: Comparison, name: str) -> Row:
    return next(row for row in found.candidates if row.name == name)


def test_a_comparison_ends_in_a_verdict_with_its_reasons(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _compared(recipe)
    folder = tmp_path / "run-compare"
    assert Comparison.model_validate_json((folder / "comparison.json").read_bytes()) == found
    refused = _row(found, "lora(rank=64,initialisation=pissa)")
    assert refused.status == "refused"
    assert "at most 32 directions" in str(refused.error)
    compared = [row for row in found.candidates if row.status == "compared"]
    stopped = [row for row in found.candidates if row.status == "stopped"]
    assert (len(compared), len(stopped)) == (3, 1)
    assert [run.steps for run in _row(found, "head_only").runs] == [0, 0], "the warm start is its optimum"
    assert stopped[0].score is None
    assert all(run.test == {} and not run.finished for run in stopped[0].runs)
    for row in compared:
        assert [run.seed for run in row.runs] == [1, 2]
        assert row.score == pytest.approx(fmean(run.test["accuracy"] for run in row.runs))
        assert row.interval is not None
        assert row.interval.low <= row.score <= row.interval.high
        assert row.runs[0].curve[0].step == 0
    assert {one.name for one in found.baselines} == {
        "majority",
        "tfidf_logistic_regression",
        "nearest_neighbour",
        "label_names",
    }
    assert found.verdict is not None
    assert found.verdict.best in [row.name for row in compared]
    assert adaptune.load(folder / "bundle").predict(["the film was good"])[0]["label"] in ("positive", "negative")
    print_comparison(found)
    assert found.verdict.english[0] in capsys.readouterr().out


def test_a_run_of_a_comparison_is_its_recipe_carried_out_alone(recipe: Path, tmp_path: Path) -> None:
    """In rounds, on a warm start that others computed, with tokens that others made."""
    found = _compared(recipe, "lora(rank=2),bitfit,lora(rank=4)")
    run = next(run for row in found.candidates for run in row.runs if run.finished and run.seed == 2)
    beside = tmp_path / "run-compare" / run.folder
    assert load_recipe(beside / "recipe.yaml").train.patience is None, "it would end before the rate has fallen"
    alone = adaptune.train(beside / "recipe.yaml", f"out={tmp_path}/alone")
    assert alone.report["test"] == run.test
    weights, expected = (load_file(folder / "weights.safetensors") for folder in (beside / "bundle", alone.bundle))
    assert weights.keys() == expected.keys()
    assert all(torch.allclose(weights[name], expected[name], atol=1e-6) for name in weights)


def test_finished_runs_are_reused_and_candidates_added(recipe: Path, tmp_path: Path) -> None:
    first = _compared(recipe, "lora(rank=2),bitfit")
    reports = {file: file.stat().st_mtime_ns for file in (tmp_path / "run-compare").rglob("report.json")}
    assert len(reports) == 4
    with pytest.raises(AdaptuneError, match="go on with it, or add candidates, by --resume"):
        _compared(recipe, "lora(rank=2),bitfit")
    again = _compared(recipe, "lora(rank=2),bitfit,ia3", resume=True)
    assert all(file.stat().st_mtime_ns == reports[file] for file in reports)
    added = _row(again, "ia3")
    assert added.status in ("stopped", "compared")
    assert (added.rounds, len(again.plan.rounds)) == (1, 1)
    assert [_row(again, name).score for name in ("lora(rank=2)", "bitfit")] == [
        _row(first, name).score for name in ("lora(rank=2)", "bitfit")
    ]


def test_what_takes_steps_can_be_added_to_what_takes_none(recipe: Path) -> None:
    assert _compared(recipe, "head_only,prototype", seeds=1).plan.steps == 0
    again = _compared(recipe, "head_only,prototype,lora(rank=2),bitfit,ia3", seeds=1, resume=True)
    assert again.plan.steps > 0
    assert len(again.plan.rounds) == 1
    assert sum(row.rounds for row in again.candidates) == 3, "each of three has run one round"


CLOZE = (
    'cloze(template=["{text} {answer}","{answer}: {text}"],select=template,'
    "verbalizer={positive: good,negative: bad})+lora"
)


def test_approaches_race_beside_methods(recipe: Path, tiny_bert: Path, tmp_path: Path) -> None:
    """One that takes no step is evaluated once, and one that the base cannot do is a row with the reason."""
    torch.manual_seed(0)
    BertForMaskedLM.from_pretrained(tiny_bert).eval().save_pretrained(tmp_path / "masked")
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path / "masked")
    recipe.write_text(recipe.read_text().replace(str(tiny_bert), str(tmp_path / "masked")))
    names = ("contrast(steps=2)+lora", "prototype", "lora(rank=2)", "score")
    found = _compared(recipe, ",".join((CLOZE, *names)), seeds=1)
    refused = _row(found, "score")
    assert (refused.status, refused.rounds) == ("refused", 0)
    assert "no decoders of one stack" in str(refused.error)
    assert {row.status for row in found.candidates if row is not refused} == {"compared", "stopped"}
    prototype = _row(found, "prototype")
    assert [point.step for run in prototype.runs for point in run.curve] == [0]
    [cloze] = [row for row in found.candidates if row.name.startswith("cloze")]
    kept = load_recipe(tmp_path / "run-compare" / cloze.runs[0].folder / "recipe.yaml")
    assert (kept.approach.name, kept.head.name, kept.method.name) == ("cloze", "verbal", "lora")
    assert found.verdict is not None
    assert adaptune.load(tmp_path / "run-compare/bundle").predict(["the film was good"])[0]["label"] in LABELS


def test_an_approach_in_a_comparison_is_its_recipe_carried_out_alone(
    recipe: Path, tiny_llama: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    """Without steps alone; templates are chosen on validation rows, once, and the best two are compared."""
    recipe.write_text(recipe.read_text().replace(str(tiny_bert), str(tiny_llama)))
    words = "verbalizer={positive: good,negative: bad}"
    two = 'template=["{text} {answer}","{text}: {answer}"],select=template,calibrate=content_free'
    names = (
        f"score({two},{words})",
        f'score(template="a {{text}} is {{answer}}",{words})',
        f'in_context(template="{{text}}: {{answer}}",demonstrations=2,{words})',
    )
    found = _compared(recipe, ",".join(f"{name}+none" for name in names), seeds=1)
    assert (found.plan.steps, found.plan.rounds) == (0, ())
    assert sorted(row.status for row in found.candidates) == ["compared", "compared", "stopped"]
    last = next(row for row in found.candidates if row.status == "stopped")
    assert all((row.valid or 0) >= (last.valid or 0) for row in found.candidates)
    run = next(row for row in found.candidates if row.score is not None).runs[0]
    alone = adaptune.train(tmp_path / "run-compare" / run.folder / "recipe.yaml", f"out={tmp_path}/alone")
    assert alone.report["test"] == run.test
    beside = json.loads((tmp_path / "run-compare" / run.folder / "report.json").read_text())
    assert beside["put"] == alone.report["put"]


def test_a_cloze_on_a_base_without_its_words_is_refused_in_its_row(recipe: Path) -> None:
    found = _compared(recipe, f"{CLOZE},prototype", seeds=1)
    assert [row.status for row in found.candidates] == ["compared", "refused"]
    assert "its output layer over words would be random" in str(found.candidates[1].error)


def test_a_candidate_that_fails_is_a_row_with_its_error(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = comparing.train_to

    def fails(track: Any, entry: Any, *rest: Any) -> None:
        if entry.candidate.name == "bitfit":
            raise RuntimeError("out of luck")
        trained(track, entry, *rest)

    monkeypatch.setattr(comparing, "train_to", fails)
    found = _compared(recipe, "bitfit,lora(rank=2),head_only", seeds=1)
    failed = _row(found, "bitfit")
    assert (failed.status, failed.error) == ("failed", "RuntimeError: out of luck")
    assert sorted(row.name for row in found.candidates if row.status == "compared") == ["head_only", "lora(rank=2)"]
    assert found.verdict is not None
    assert any("One seed was run" in text for text in found.verdict.english)


def test_an_interrupted_comparison_goes_on(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(kitchen: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="with --resume"):
        patch.setattr(comparing, "baseline_answers", interrupted)
        _compared(recipe, "lora(rank=2),bitfit", seeds=1)
    assert len([row for row in _compared(recipe, "lora(rank=2),bitfit", seeds=1, resume=True).candidates if row.score])


def test_without_test_rows_nothing_is_compared(recipe: Path) -> None:
    with pytest.raises(Unsupported, match="decided on test rows"):
        settled(load_recipe(recipe, ["data.test_share=0"]), None)


def test_a_search_tries_the_usual_settings_first_and_goes_on(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    asked = Asked(str(recipe), ("seed=3",), None, tmp_path / "tuned", trials=5, budget=600)
    found = tune(asked, prepare(asked.load()))
    assert Tuning.model_validate_json((tmp_path / "tuned" / "tuning.json").read_bytes()) == found
    assert len(found.trials) == 5
    first = next(trial for trial in found.trials if trial.number == 0)
    assert first.overrides == ("train.learning_rate=0.004", "method.rank=8", "method.targets=attention")
    assert found.usual == first.score
    assert found.best == max(
        trial.score for trial in found.trials if trial.state == "complete" and trial.score is not None
    )
    pasted = load_recipe(recipe, found.overrides)
    assert (pasted.seed, pasted.method.name) == (3, "lora")
    more = tune(Asked(**{**_fields(asked), "trials": 7}), prepare(asked.load()), resume=True)
    assert len(more.trials) == 7
    assert {trial.number: trial.score for trial in found.trials}.items() <= {
        trial.number: trial.score for trial in more.trials
    }.items()
    print_tuning(more)
    assert f"adaptune train {recipe} seed=3 train.learning_rate=" in capsys.readouterr().out
    with pytest.raises(AdaptuneError, match="go on with it by --resume"):
        tune(asked, prepare(asked.load()))


def test_a_search_through_the_words_of_labels_watches_the_metric_of_the_task(
    recipe: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    pytest.importorskip("optuna")
    approach = '{name: score, template: "{text}: {answer}", verbalizer: {positive: good, negative: bad}}'
    overrides = (f"model={tiny_llama}", f"approach={approach}", "train.max_steps=4")
    asked = Asked(str(recipe), overrides, None, tmp_path / "tuned", trials=1, budget=600)
    found = tune(asked, prepare(asked.load()))
    assert (found.watched, [trial.state for trial in found.trials]) == ("accuracy", ["complete"])
    assert found.best == found.usual


@pytest.mark.slow
def test_two_processes_search_together(recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    asked = Asked(str(recipe), (), None, tmp_path / "tuned", trials=6, budget=600, workers=2)
    found = tune(asked, prepare(asked.load()))
    assert len(found.trials) in (6, 7)  # both may begin the last one
    assert json.loads((tmp_path / "tuned" / "plan.json").read_text())["steps"] > 0


def _fields(asked: Asked) -> dict[str, Any]:
    return {name: getattr(asked, name) for name in asked.__dataclass_fields__}
