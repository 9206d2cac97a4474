"""`adaptune curve` and `adaptune suggest` from the command line, on a tiny model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from adaptune import cli

ROWS = [
    (f"the {thing} was {word}", label)
    for thing in ("film", "book", "phone", "train", "game", "house")
    for word, label in (("good", "positive"), ("great", "positive"), ("bad", "negative"), ("poor", "negative"))
]


def test_a_curve_then_a_run_then_rows_to_label(
    tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("question,mood\n" + "".join(f"{text},{label}\n" for text, label in ROWS))
    Path("pool.jsonl").write_text(
        '{"question": "the film was good"}\n{"question": "an old boat"}\n{"question": "now"}\n'
    )
    Path("recipe.yaml").write_text(
        "task: classify\ndata: {train: rows.csv, test_share: 0, columns: {text: question, label: mood}}\n"
        f"model: {tiny_bert}\nmethod: head_only\ntrain: {{epochs: 0, device: cpu}}\nout: run\n"
    )

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["adaptune", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        return capsys.readouterr().out

    printed = run("curve", "recipe.yaml", "--shots", "1,2", "--draws", "2", "--budget", "5m", "--quiet")
    assert printed.splitlines()[0].split()[:4] == ["shots", "labels", "valid", "accuracy"]
    assert printed.splitlines()[-1] == "curve: run-curve/curve.json"
    run("train", "recipe.yaml", "--quiet")
    printed = run("suggest", "run/bundle", "pool.jsonl", "--format", "label-studio", "--out", "next.json", "--quiet")
    assert "2 of 3 rows; 1 were labelled already and 0 repeated" in printed
    assert '<Text name="text" value="$question"/>' in printed
    assert '<Choices name="mood" toName="text" choice="single">' in printed
    assert {task["data"]["question"] for task in json.loads(Path("next.json").read_text())} == {"an old boat", "now"}
    run("suggest", "run/bundle", "pool.jsonl", "--by", "uncertainty", "-n", "1", "--out", "next.jsonl", "--quiet")
    [line] = map(json.loads, Path("next.jsonl").read_text().splitlines())
    assert line["suggested"]["label"] in ("positive", "negative")
    assert 0 <= line["uncertainty"] <= 1
    assert (line["source"], line["row"]) in (("pool.jsonl", 2), ("pool.jsonl", 3))
