"""Labels to look at again, labels that a model gives itself, and those of a teacher: the verbs, on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import adaptune
from adaptune.cli import app
from adaptune.core.errors import AdaptuneError, DataError, Unsupported
from adaptune.core.files import write_json_lines
from adaptune.labels import selftrain as verb
from adaptune.labels.distil import distil, identity
from adaptune.labels.mistrust import mistrust
from adaptune.labels.pool import read_pool
from adaptune.labels.selftrain import Asked, SelfTraining, selftrain
from adaptune.prepare import prepare
from adaptune.recipe import Recipe, load_recipe

THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river")
WORDS = {"positive": ("good", "great", "excellent"), "negative": ("bad", "terrible", "poor")}
ENDS = ("today", "again", "to me")


def _rows(ends: tuple[str, ...] = ENDS, things: tuple[str, ...] = THINGS) -> list[dict[str, Any]]:
    return [
        {"text": f"the {thing} was {word} {end}", "label": label}
        for thing in things
        for label, words in WORDS.items()
        for word in words
        for end in ends
    ]


def _recipe(folder: Path, model: Path, rows: list[dict[str, Any]], **sections: Any) -> Recipe:
    write_json_lines(folder / "rows.jsonl", rows)
    content = {
        "task": "classify",
        "data": {"train": str(folder / "rows.jsonl"), "test_share": 0.2},
        "model": str(model),
        "method": "head_only",
        "train": {"epochs": 1, "device": "cpu"},
        "out": str(folder / "run"),
    }
    (folder / "recipe.yaml").write_text(json.dumps(content | sections))
    return load_recipe(folder / "recipe.yaml")


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Rows without labels, of words that the labelled ones do not have."""
    write_json_lines(tmp_path / "pool.jsonl", [{"text": row["text"]} for row in _rows(("this week", "last night"))])
    return tmp_path / "pool.jsonl"


def test_a_wrong_label_and_unequal_twins_are_listed_and_the_data_stay(tmp_path: Path, tiny_bert: Path) -> None:
    rows = _rows()
    assert rows[9] == {"text": "the film was bad today", "label": "negative"}
    rows[9]["label"] = "positive"
    rows.append({"text": "The film was GOOD, today!", "label": "negative"})
    recipe = _recipe(tmp_path, tiny_bert, rows)
    before = (tmp_path / "rows.jsonl").read_bytes()
    done = CliRunner().invoke(app, ["doctor", str(tmp_path / "recipe.yaml"), "--labels", "--folds", "4"])
    assert done.exit_code == 0, done.output
    listed = [json.loads(line) for line in (tmp_path / "run-mistrusted.jsonl").read_text().splitlines()]
    [first] = [one for one in listed if one["row"] == 10]
    assert first["label"] == "positive"
    assert first["suggested"] == "negative"
    assert first["confidence"] > 0.5 > first["quality"]
    twins = {one["row"]: one["twin"] for one in listed if one["twin"]}
    assert twins[1] == {"where": f"{tmp_path}/rows.jsonl, row {len(rows)}", "label": "negative", "alike": 1.0}
    assert twins[len(rows)]["label"] == "positive"
    assert (tmp_path / "rows.jsonl").read_bytes() == before
    assert "positive" in done.output
    assert f"of {len(rows)} rows to look at again" in done.output
    again = CliRunner().invoke(app, ["doctor", str(tmp_path / "recipe.yaml"), "--labels"])
    assert again.exit_code == 2
    assert "perhaps with notes of yours" in again.output
    assert not recipe.out.exists()


def test_of_tagged_words_each_tag_is_judged(tmp_path: Path, tiny_bert: Path) -> None:
    rows = [
        {"tokens": ["we", "saw", name, verb_, end], "tags": ["O", "O", "B-person", "O", "O"]}
        for name in ("john", "mary", "smith")
        for verb_ in ("buy", "sell", "read")
        for end in ENDS
    ]
    rows[3]["tags"] = ["O"] * 5
    recipe = _recipe(tmp_path, tiny_bert, rows, task="tag")
    found = mistrust(recipe, prepare(recipe), folds=3)
    assert (found.rows, found.items) == (27, 135)
    doubt = next(doubt for doubt in found.doubts if doubt.example.row.number == 4)
    assert (doubt.word, doubt.text, doubt.label, doubt.suggested) == (2, "john", "O", "B-person")
    assert doubt.record()["word"] == 3


def test_of_several_labels_a_set_is_suggested(tmp_path: Path, tiny_bert: Path) -> None:
    rows = [{"text": row["text"], "labels": [row["label"]] + ["book"] * ("book" in row["text"])} for row in _rows()]
    rows[0]["labels"] = ["negative"]
    recipe = _recipe(tmp_path, tiny_bert, rows, task="multilabel")
    found = mistrust(recipe, prepare(recipe), folds=3)
    doubt = next(doubt for doubt in found.doubts if doubt.example.row.number == 1)
    assert doubt.label == ["negative"]
    assert doubt.suggested == ["positive"]


def test_a_label_that_every_row_has_is_no_doubt(tmp_path: Path, tiny_bert: Path) -> None:
    rows = [{"text": row["text"], "labels": [row["label"], "thing"]} for row in _rows()]
    rows[0]["labels"] = ["negative", "thing"]
    recipe = _recipe(tmp_path, tiny_bert, rows, task="multilabel")
    found = mistrust(recipe, prepare(recipe), folds=3)
    doubt = next(doubt for doubt in found.doubts if doubt.example.row.number == 1)
    assert "thing" in doubt.suggested
    alike = [row | {"labels": ["thing"]} for row in rows]
    recipe = _recipe(tmp_path, tiny_bert, alike, task="multilabel")
    assert mistrust(recipe, prepare(recipe), folds=3).doubts == ()


def test_a_recipe_of_few_shots_is_judged_by_all_its_rows(tmp_path: Path, tiny_bert: Path) -> None:
    few = {"train": str(tmp_path / "rows.jsonl"), "shots": 3, "draw": 2, "test_share": 0.2}
    _recipe(tmp_path, tiny_bert, _rows(), data=few)
    done = CliRunner().invoke(app, ["doctor", str(tmp_path / "recipe.yaml"), "--labels", "--folds", "3"])
    assert done.exit_code == 0, (done.output, done.exception)
    assert "144" in done.output


def test_of_marked_pairs_and_of_two_texts_each_row_is_judged(tmp_path: Path, tiny_bert: Path) -> None:
    pairs = [
        {"text": f"<e1>{one}</e1> {verb_} <e2>{other}</e2> {end}", "relation": relation}
        for one, other in (("john", "mary"), ("mary", "john"), ("john", "london"), ("mary", "london"))
        for verb_, relation in (("found", "finds"), ("paid", "pays"))
        for end in ENDS
    ]
    pairs[0]["relation"] = "pays"
    recipe = _recipe(tmp_path, tiny_bert, pairs, task="relate")
    found = mistrust(recipe, prepare(recipe), folds=3)
    doubt = next(doubt for doubt in found.doubts if doubt.example.row.number == 1)
    assert (doubt.label, doubt.suggested, doubt.twin) == ("pays", "finds", None)
    texts = [{"text": row["text"], "pair": "it was good", "label": row["label"]} for row in _rows()]
    recipe = _recipe(tmp_path, tiny_bert, texts, task={"name": "match", "encoder": "bi"})
    assert mistrust(recipe, prepare(recipe), folds=3).items == len(texts)


def test_rows_without_labels_are_refused_by_the_name_of_their_task(tmp_path: Path, tiny_bert: Path) -> None:
    rows = [{"text": row["text"], "label": float(place)} for place, row in enumerate(_rows())]
    recipe = _recipe(tmp_path, tiny_bert, rows, task="regress")
    with pytest.raises(Unsupported, match="'regress' has no labels that could be mistrusted"):
        mistrust(recipe, prepare(recipe))
    with pytest.raises(Unsupported, match="`adaptune selftrain` is for rows of one label each"):
        selftrain(recipe, prepare(recipe), Asked(unlabelled="none"))


def test_a_label_with_fewer_texts_than_folds_is_refused(tmp_path: Path, tiny_bert: Path) -> None:
    rows = [*_rows(), *[{"text": f"send {number} books", "label": "order"} for number in ("two", "three", "four")]]
    recipe = _recipe(tmp_path, tiny_bert, rows)
    with pytest.raises(DataError, match=r"as there are folds \(5\); fewer have: 'order' \(3 texts\)"):
        mistrust(recipe, prepare(recipe))


FEW = {"shots": 6, "draw": 1, "test_share": 0.2, "valid_share": 0.3}


def test_a_model_learns_from_its_own_sure_answers_and_the_best_round_is_kept(
    tmp_path: Path, tiny_bert: Path, pool: Path
) -> None:
    _recipe(tmp_path, tiny_bert, _rows(), data={"train": str(tmp_path / "rows.jsonl"), **FEW})
    asked = ["selftrain", str(tmp_path / "recipe.yaml"), "--unlabelled", str(pool), "--rounds", "2"]
    done = CliRunner().invoke(app, [*asked, "--confidence", "0.6"])
    assert done.exit_code == 0, done.output
    out = tmp_path / "run-selftrain"
    found = SelfTraining.model_validate_json((out / "selftraining.json").read_text())
    assert [one.number for one in found.rounds] == list(range(len(found.rounds)))
    assert found.rounds[0].added == {}
    assert found.rounds[0].rows == 12
    for before, one in zip(found.rounds, found.rounds[1:], strict=False):
        assert one.rows == 12 + sum(one.added.values())
        assert 0 < max(one.added.values()) <= max(1, before.sure // 2)
    best = max(found.rounds, key=lambda one: one.score)
    report = json.loads((out / "report.json").read_text())
    assert report["valid"]["accuracy"] == pytest.approx(best.score)
    assert report["examples"]["train"] == best.rows
    assert ("Round 0 was best" in done.output) == (best.number == 0)
    assert adaptune.load(out / "bundle").predict(["the film was good today"])[0]["label"] in WORDS
    assert [path for path in out.rglob("bundle") if path.is_dir()] == [out / "bundle"]
    again = CliRunner().invoke(app, asked)
    assert isinstance(again.exception, AdaptuneError)
    assert "holds a self-training" in str(again.exception)


def test_stopped_between_rounds_it_goes_on_to_the_same_end(
    tmp_path: Path, tiny_bert: Path, pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _recipe(tmp_path, tiny_bert, _rows(), data={"train": str(tmp_path / "rows.jsonl"), **FEW})
    prepared, asked = prepare(recipe), Asked(unlabelled=str(pool), rounds=2, confidence=0.6)
    whole, _ = selftrain(recipe, prepared, asked)
    other = recipe.model_copy(update={"out": tmp_path / "stopped"})
    learn = verb.learn

    def stop(kitchen: Any, folder: Any, **how: Any) -> Any:
        if folder.path.name == "round-1" and not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            raise KeyboardInterrupt
        return learn(kitchen, folder, **how)

    monkeypatch.setattr(verb, "learn", stop)
    with pytest.raises(AdaptuneError, match="give the same command with --resume"):
        selftrain(other, prepared, asked)
    with pytest.raises(AdaptuneError, match="continue it with --resume"):
        selftrain(other, prepared, asked)
    with pytest.raises(AdaptuneError, match="with another recipe, other rows or other options"):
        selftrain(other, prepared, Asked(unlabelled=str(pool), rounds=1, confidence=0.6), resume=True)
    found, run = selftrain(other, prepared, asked, resume=True)
    strip = {"seconds"}
    assert [one.model_dump(exclude=strip) for one in found.rounds] == [
        one.model_dump(exclude=strip) for one in whole.rounds
    ]
    assert run.bundle == tmp_path / "stopped" / "bundle"


def test_texts_of_the_recipes_own_rows_are_not_learned_from(
    tmp_path: Path, tiny_bert: Path, pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = _recipe(tmp_path, tiny_bert, _rows())
    prepared = prepare(recipe)
    assert len(read_pool(str(pool), recipe, prepared).examples) == 96
    write_json_lines(tmp_path / "both.jsonl", [{"text": row["text"]} for row in _rows(("today", "this week"))])
    assert len(read_pool(str(tmp_path / "both.jsonl"), recipe, prepared).examples) == 48
    assert "48 of 96 rows have texts of the recipe's own and are left out" in capsys.readouterr().err
    with pytest.raises(DataError, match="every row has a text of the recipe's own rows"):
        read_pool(str(tmp_path / "rows.jsonl"), recipe, prepared)


def test_where_nothing_is_sure_the_bundle_is_of_round_0(tmp_path: Path, tiny_bert: Path, pool: Path) -> None:
    few = {"train": str(tmp_path / "rows.jsonl"), **FEW}
    recipe = _recipe(tmp_path, tiny_bert, _rows(), data=few, train={"epochs": 0, "device": "cpu"})
    found, _ = selftrain(recipe, prepare(recipe), Asked(unlabelled=str(pool), confidence=1.0))
    assert [one.number for one in found.rounds] == [0]
    assert found.ended == "no row of the pool is answered with a probability of 1 or more"
    assert found.verdict.startswith("Round 0 was best")


def test_a_student_that_is_taught_is_better_than_alone_and_the_teacher_is_asked_once(
    tmp_path: Path, tiny_bert: Path, pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    large = _recipe(teacher, tiny_bert, _rows(), train={"epochs": 6, "device": "cpu"}, method="lora")
    assert adaptune.train(teacher / "recipe.yaml").report["test"]["accuracy"] > 0.8
    # What the student has seen of each label by itself is two rows.
    few = {"train": str(tmp_path / "rows.jsonl"), "shots": 2, "test_share": 0.4, "valid_share": 0.3}
    recipe = _recipe(tmp_path, tiny_bert, _rows(), data=few)
    alone = adaptune.train(tmp_path / "recipe.yaml", f"out={tmp_path}/alone").report["test"]["accuracy"]
    asked = ["distil", str(large.out / "bundle"), str(tmp_path / "recipe.yaml"), "--unlabelled", str(pool)]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "run-distil" / "report.json").read_text())
    assert report["examples"]["train"] == 4 + 96
    assert report["test"]["accuracy"] > alone
    [answers] = tmp_path.glob("run-distil-teacher-*.jsonl")
    first = json.loads(answers.read_text().splitlines()[0])["probabilities"]
    assert sum(first.values()) == pytest.approx(1)

    def never() -> Any:
        bundle = adaptune.load(large.out / "bundle")
        bundle.answers = None  # type: ignore[method-assign]  # a teacher that is asked again fails
        return bundle

    bundle = adaptune.load(large.out / "bundle")
    known = identity(bundle)
    bundle.manifest = bundle.manifest.model_copy(update={"method": {"name": "bitfit"}})
    assert identity(bundle) != known, "another teacher with weights of the same bytes"

    again = recipe.model_copy(update={"out": tmp_path / "run-distil"})
    same = distil(never, again, prepare(recipe), str(pool), overwrite=True)
    assert same.report["test"] == report["test"]


def test_a_teacher_of_other_labels_and_a_head_that_cannot_be_taught_are_refused(
    tmp_path: Path, tiny_bert: Path, pool: Path
) -> None:
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    _recipe(teacher, tiny_bert, [row | {"label": row["label"][:3]} for row in _rows()])
    bundle = adaptune.load(adaptune.train(teacher / "recipe.yaml").bundle)
    recipe = _recipe(tmp_path, tiny_bert, _rows())
    with pytest.raises(Unsupported, match=r"does not know \['negative', 'positive'\] and knows \['neg', 'pos'\]"):
        distil(lambda: bundle, recipe, prepare(recipe), str(pool))
    other = _recipe(tmp_path, tiny_bert, _rows(), head="as_transformers")
    with pytest.raises(Unsupported, match="head 'as_transformers' with approach 'finetune' does not learn from"):
        distil(lambda: bundle, other, prepare(other), str(pool))


def test_what_stands_in_a_file_of_templates_is_part_of_the_recipe(tmp_path: Path, tiny_llama: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("en: {follows: ['{text}: {answer}'], words: {positive: [good], negative: [bad]}}\n")
    approach = {"name": "score", "template": str(file)}
    recipe = _recipe(tmp_path, tiny_llama, _rows(), approach=approach, method="none", train={"epochs": 0})
    before = prepare(recipe).fingerprint
    assert prepare(recipe).fingerprint == before
    file.write_text(file.read_text().replace("{text}: ", "{text} It was "))
    assert prepare(recipe).fingerprint != before
