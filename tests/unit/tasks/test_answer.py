"""Answers that stand in a context: how they are read, and how they are scored against a second implementation."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

import adaptune
from adaptune.bundle.golden import SENTENCES, SHORTER
from adaptune.cli import app
from adaptune.core.errors import DataError
from adaptune.core.run_folder import RunDir, read_json_lines
from adaptune.tasks._answer_scores import answer_counts, segments

PAIRS = [
    ("Denver Broncos", "The Denver Broncos!"),
    ("the Broncos", "Denver Broncos"),
    ("in 1999", "1999"),
    ("", ""),
    ("", "Paris"),
    ("Paris", ""),
    ("a cat, a cat", "cat"),
    ("an apple's core", "apples core of the tree"),
]


def plain_english(given: str, reference: str) -> tuple[float, float]:
    """SQuAD's exact match and F1, written out step by step."""

    def words(text: str) -> list[str]:
        lowered = re.sub("[" + re.escape(string.punctuation) + "]", "", text.lower())
        return [word for word in lowered.split() if word not in ("a", "an", "the")]

    one, other = words(given), words(reference)
    exact = float(" ".join(one) == " ".join(other))
    if not one or not other:
        return exact, exact
    common = sum(min(count, Counter(other)[word]) for word, count in Counter(one).items())
    if not common:
        return exact, 0.0
    precision, recall = common / len(one), common / len(other)
    return exact, 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize(("given", "reference"), PAIRS)
def test_english_scores_are_those_of_a_plain_implementation(given: str, reference: str) -> None:
    references = (reference,) if reference else ()
    found = answer_counts([given], [references], "en")[0].tolist()
    assert found == pytest.approx(plain_english(given, reference))


def test_the_best_of_several_references_counts() -> None:
    counts = answer_counts(["Broncos"], [("Denver Broncos", "Broncos", "the team")], "en")
    assert counts.tolist() == [[1.0, 1.0]]


def test_chinese_scores_count_the_longest_run_of_characters() -> None:
    # 北京大学 against 北京的大学: the longest common run is 北京 or 大学, 2 of 4 and 2 of 5 characters.
    found = answer_counts(["北京大学", "《北京大学》。"], [("北京的大学",), ("北京大学",)], "zh").tolist()
    assert found == [[0.0, pytest.approx(2 * 2 / 9)], [1.0, 1.0]]
    assert segments("NBA的1998年") == ["nba", "的", "1998", "年"]


THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river")
PLACES = ("london", "paris", "york", "the park", "the city", "the school", "the shop", "the street")


def squad(path: Path, *, wrong: bool = False) -> Path:
    """64 questions in SQuAD's form; the answer of the first starts one character late if it is to be wrong."""
    paragraphs = []
    for thing in THINGS:
        for place in PLACES:
            context = f"We had no time today. The {thing} is in {place} again, they said."
            start = context.index(place) + int(wrong and not paragraphs)
            answer = {"text": place, "answer_start": start}
            asked = {"id": f"{thing} {place}", "question": f"Where is the {thing}?", "answers": [answer]}
            paragraphs.append({"context": context, "qas": [asked]})
    path.write_text(json.dumps({"data": [{"title": p["context"], "paragraphs": [p]} for p in paragraphs]}))
    return path


def recipe(folder: Path, model: Path, data: str) -> Path:
    """One epoch on a tiny model that reads 64 tokens."""
    path = folder / "recipe.yaml"
    path.write_text(
        f"task: answer\nmodel: {{name: {model}, max_length: 64}}\nmethod: lora\nout: {folder}/run\n"
        f"data: {data}\ntrain: {{epochs: 1, batch_rows: 8, device: cpu}}\n"
    )
    return path


def test_a_bundle_answers_with_the_place_of_the_answer_in_the_text(tiny_bert: Path, tmp_path: Path) -> None:
    file = squad(tmp_path / "train.json")
    run = adaptune.train(recipe(tmp_path, tiny_bert, f"{{train: {file}}}"))
    assert 0 <= run.report["test"]["exact_match"] <= run.report["test"]["f1"] <= 1
    assert "sentence_most_like_the_question" in run.report["baseline"]
    context = "We had no time today. The film is in london again, they said."
    [answer] = adaptune.load(run.bundle).predict([{"question": "Where is the film?", "context": context}])
    assert context[answer["start"] : answer["end"]] == answer["answer"]
    assert 0 < answer["probability"] <= 1
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"question": "Where is the film?", "context": context}) + "\n")
    done = CliRunner().invoke(app, ["predict", str(run.bundle), "--file", str(rows)], catch_exceptions=False)
    assert json.loads(done.stdout) == {"row": 1} | answer
    with pytest.raises(DataError, match=r"reads rows of {'question': ..., 'context': ...}; give those .*--file"):
        adaptune.load(run.bundle).predict(["Where is the film?"])


def test_an_answer_that_does_not_stand_there_is_refused_or_left_out_by_its_row(tiny_bert: Path, tmp_path: Path) -> None:
    file = squad(tmp_path / "train.json", wrong=True)
    with pytest.raises(DataError, match=r"train\.json, row 1, .* 'london' should start at character 38 .* at 37"):
        adaptune.train(recipe(tmp_path, tiny_bert, f"{{train: {file}}}"))
    run = adaptune.train(recipe(tmp_path, tiny_bert, f"{{train: {file}, on_bad_row: skip}}"))
    assert sum(run.report["examples"].values()) == 63
    assert len(list(read_json_lines(RunDir(tmp_path / "run").path / "rejected.jsonl"))) == 1


def test_a_model_that_reads_few_tokens_still_becomes_a_bundle(tiny_bert: Path, tmp_path: Path) -> None:
    file = squad(tmp_path / "train.json")
    path = recipe(tmp_path, tiny_bert, f"{{train: {file}}}")
    run = adaptune.train(path, "model.max_length=20", "train.max_steps=1", "evaluate.baselines=false")
    recorded = adaptune.load(run.bundle).manifest.golden
    assert len(recorded) == len(SENTENCES)
    assert max(len(record.values["question"]) for record in recorded) <= max(SHORTER)


def test_texts_of_the_user_that_cannot_be_read_are_left_out_with_a_warning(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = squad(tmp_path / "train.json")
    path = recipe(tmp_path, tiny_bert, f"{{train: {file}}}")
    run = adaptune.train(path, "bundle.examples=['in London', ' ']", "train.max_steps=1", "evaluate.baselines=false")
    assert adaptune.load(run.bundle).manifest.golden == ()
    assert "keeps 0 of the 2 texts of bundle.examples" in " ".join(capsys.readouterr().err.split())
