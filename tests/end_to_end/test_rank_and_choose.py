"""Ranking and multiple choice from rows to a saved bundle that answers, on a tiny model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import adaptune
from adaptune.core.errors import Unsupported
from adaptune.run import train

THINGS = ("river", "bank", "train", "house", "phone", "book", "film", "game")
RECIPE = """
task: {task}
data: {{train: {folder}/rows.jsonl, valid_share: 0.2, test_share: 0.2{more}}}
model: {model}
method: {method}
train: {{epochs: 1, max_steps: 4, device: cpu}}
evaluate: {{samples: 100}}
"""


def _rows(shape: str) -> list[dict[str, Any]]:
    """The thing that a query names is right."""
    rows = []
    for number, thing in enumerate(THINGS * 6):
        query = f"where is the {thing} {'today now again later'.split()[number % 4]} {number % 9}"
        other = THINGS[(number + 3) % 8]
        if shape == "pairs":
            rows.append({"query": query, "positive": f"a {thing}"})
        elif shape == "flat":
            rows += [
                {"query": query, "document": thing, "relevance": 1},
                {"query": query, "document": other, "relevance": 0},
            ]
        else:
            texts = [thing, other] if number % 2 else [other, thing]
            key = "options" if shape == "options" else "candidates"
            rows.append({"query": query, key: texts, "label": texts.index(thing)})
    return rows


def _trained(tmp_path: Path, model: Path, *, shape: str, task: str, method: str = "lora", more: str = "") -> Path:
    lines = [json.dumps(row) for row in _rows(shape)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    text = RECIPE.format(task=task, folder=tmp_path, model=model, method=method, more=more)
    (tmp_path / "recipe.yaml").write_text(text)
    run = train(tmp_path / "recipe.yaml", f"out={tmp_path / 'run'}")
    assert set(run.report["baseline"]) >= {"tfidf_cosine"}
    assert run.report["interval"]["low"] <= run.report["interval"]["high"]
    return run.bundle


@pytest.mark.parametrize(
    ("shape", "family"), [("candidates", "tiny_llama"), ("flat", "tiny_bert"), ("pairs", "tiny_bert")]
)
def test_a_bi_encoder_ranks_candidates_and_a_corpus(
    shape: str, family: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(family)
    task = f"{{name: rank, against: {'all' if shape == 'pairs' else 'own'}}}"
    bundle = adaptune.load(_trained(tmp_path, model, shape=shape, task=task))
    [own] = bundle.predict({"query": "where is the bank", "candidates": ["bank", "river", "house"]})
    [found] = bundle.predict(["where is the bank"], corpus=[*THINGS, "a long way"])
    assert sorted(one["text"] for one in own["ranking"]) == ["bank", "house", "river"]
    assert sorted(one["text"] for one in found["ranking"]) == sorted([*THINGS, "a long way"])
    scores = {one["text"]: one["score"] for one in found["ranking"]}
    assert {one["text"]: one["score"] for one in own["ranking"]} == pytest.approx(
        {text: scores[text] for text in ("bank", "house", "river")}, abs=1e-5
    )
    assert list(scores.values()) == sorted(scores.values(), reverse=True)


@pytest.mark.parametrize(("learns", "family"), [("list", "tiny_bert"), ("points", "tiny_llama")])
def test_a_cross_encoder_ranks_candidates(
    learns: str, family: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(family)
    more = f"}}\nhead: {{name: rerank, learns: {learns}"
    folder = _trained(tmp_path, model, shape="candidates", task="{name: rank, encoder: cross}", more=more)
    [found] = adaptune.load(folder).predict({"query": "where is the bank", "candidates": ["bank", "river", "house"]})
    assert sorted(one["text"] for one in found["ranking"]) == ["bank", "house", "river"]


@pytest.mark.parametrize("family", ["tiny_bert", "tiny_llama"])
def test_a_bundle_chooses_among_any_number_of_options(
    family: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bundle = adaptune.load(_trained(tmp_path, request.getfixturevalue(family), shape="options", task="choose"))
    two, four = bundle.predict(
        [
            {"query": "where is the bank", "options": ["bank", "river"]},
            {"question": "where is the bank", "options": ["bank", "river", "house", "train"]},
        ]
    )
    assert [len(answer["options"]) for answer in (two, four)] == [2, 4]
    assert two["text"] == two["options"][two["choice"]]["text"]
    assert sum(option["probability"] for option in four["options"]) == pytest.approx(1.0)


def test_a_corpus_can_be_searched_from_the_command_line(tmp_path: Path, tiny_bert: Path) -> None:
    (tmp_path / "corpus.txt").write_text("".join(f"a {thing}\n" for thing in (*THINGS, "street")))
    more = f", corpus: {tmp_path / 'corpus.txt'}"
    folder = _trained(tmp_path, tiny_bert, shape="pairs", task="{name: rank, against: all, k: 3}", more=more)
    asked = [str(folder), "where is the bank", "--corpus", str(tmp_path / "corpus.txt")]
    (answer,) = _output("predict", *asked)
    assert len(json.loads(answer)["ranking"]) == 3
    rows = _output(
        "predict", str(folder), "--file", str(tmp_path / "rows.jsonl"), "--corpus", str(tmp_path / "corpus.txt")
    )
    assert len(rows) == len(_rows("pairs"))
    scored = _output("evaluate", str(folder), str(tmp_path / "rows.jsonl"), "--corpus", str(tmp_path / "corpus.txt"))
    assert [line.split()[0] for line in scored] == ["mrr", "ndcg@3", "recall@3"]
    assert json.loads((tmp_path / "run" / "report.json").read_text())["metric"] == "mrr"


def test_nothing_would_learn_under_head_only_without_a_projection(tmp_path: Path, tiny_bert: Path) -> None:
    task = "{name: rank, against: all}"
    with pytest.raises(Unsupported, match="nothing would learn"):
        _trained(tmp_path, tiny_bert, shape="pairs", task=task, method="head_only")
    more = "}\nhead: {name: retrieve, projection: linear"
    assert _trained(tmp_path, tiny_bert, shape="pairs", task=task, method="head_only", more=more).is_dir()


def _output(*arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "adaptune", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
