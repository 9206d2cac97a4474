"""Every verb that needs a bundle, on one that a tiny model learned."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForTokenClassification

from adaptune import cli

SENTENCES = """\
john O
lives O
in O
london B-place

mary O
saw O
paris B-place

the O
river O

"""


@pytest.fixture(scope="module")
def folder(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `adaptune train` has made the run `run`."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "words.conll").write_text(SENTENCES * 20, encoding="utf-8")
    (folder / "recipe.yaml").write_text(
        "task: tag\n"
        "data: {train: words.conll, valid: words.conll, test: words.conll}\n"
        f"model: {tiny_bert}\n"
        "method: {name: lora, rank: 2}\n"
        "train: {max_steps: 2, device: cpu}\n"
        "bundle: {examples: [john saw london]}\n",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["adaptune", "train", "recipe.yaml", "out=run", "-q"])
        with pytest.raises(SystemExit) as end:
            cli.main()
    assert end.value.code == 0
    return folder


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def _say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["adaptune", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    printed = capsys.readouterr()
    assert end.value.code == 0, printed.err
    return printed.out


def test_train_prints_what_came_of_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _say(capsys, monkeypatch, "train", "recipe.yaml", "out=again", "--quiet").splitlines()
    first = [line.split()[0] for line in lines]
    assert first == ["f1", "baseline:", "validation", "test", "no", "expected", "test", "report:", "bundle:"]
    assert lines[-1] == "bundle: again/bundle"


def test_predict_answers_texts_one_line_of_json_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = _say(capsys, monkeypatch, "predict", "run/bundle", "john lives in london", "the river").splitlines()
    assert [[one["text"] for one in json.loads(line)["entities"]] for line in lines] == [["london"], []]


def test_predict_answers_the_rows_of_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("in.jsonl").write_text('{"tokens": ["mary", "saw", "paris"]}\n{"tokens": ["the"]}\n', encoding="utf-8")
    out = _say(capsys, monkeypatch, "predict", "run/bundle", "--file", "in.jsonl", "--out", "out.jsonl")
    assert out == ""
    records = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["row"] for record in records] == [1, 2]
    assert [len(record["entities"]) for record in records] == [1, 0]


def test_evaluate_prints_every_score_and_writes_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = _say(capsys, monkeypatch, "evaluate", "run/bundle", "words.conll", "--out", "scores.json").splitlines()
    scores = json.loads(Path("scores.json").read_text(encoding="utf-8"))
    report = json.loads(Path("run/report.json").read_text(encoding="utf-8"))
    assert scores["values"] == pytest.approx(report["test"])
    assert f"f1  {scores['values']['f1']:.4f}" in [" ".join(line.split()).replace("f1 ", "f1  ") for line in lines]
    assert lines[-1].split()[0] == "place"


def test_show_says_what_a_bundle_holds(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out = _say(capsys, monkeypatch, "show", "run/bundle")
    assert "labels         3: O, B-place, I-place\n" in out
    manifest = json.loads(_say(capsys, monkeypatch, "show", "run/bundle", "--json"))
    assert manifest["golden"][0]["values"]["text"] == "john saw london"


def test_merge_names_the_class_that_loads_the_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = _say(capsys, monkeypatch, "merge", "run/bundle", "merged")
    assert out.endswith("merged loads with transformers.AutoModelForTokenClassification, head included\n")
    assert AutoModelForTokenClassification.from_pretrained("merged").config.id2label[1] == "B-place"


def test_doctor_counts_tokens_as_a_model_reads_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny_bert: Path
) -> None:
    out = _say(capsys, monkeypatch, "doctor", "words.conll", "--task", "tag", "--model", str(tiny_bert))
    assert "the longest 9; the model reads 128" in out
