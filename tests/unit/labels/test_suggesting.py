"""Pool, suggestions, an export of an annotation tool, training again: the loop on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import adaptune
from adaptune.bundle.load import Bundle
from adaptune.core.errors import AdaptuneError, Unsupported
from adaptune.core.types import Example, Row
from adaptune.data.config import DataConfig
from adaptune.data.read import examples_of, read
from adaptune.data.split import same_text
from adaptune.labels.known import known_rows
from adaptune.labels.suggesting import Suggested, Wanted, suggest
from adaptune.labels.tools import form_of, write_suggested
from adaptune.recipe import load_recipe
from adaptune.run import cook

THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river")
SPANS = [{"start": 0, "end": 4, "label": "person"}, {"start": 13, "end": 19, "label": "city"}]
FILES: dict[str, list[dict[str, Any]]] = {
    "classify": [
        {"text": f"the {thing} was {word}", "label": label}
        for thing in THINGS
        for word, label in (("good", "positive"), ("great", "positive"), ("bad", "negative"), ("poor", "negative"))
    ],
    "multilabel": [
        {"text": f"a {thing} {end}", "labels": ["a", "b"][: 1 + place % 2]}
        for place, thing in enumerate(THINGS)
        for end in "123"
    ],
    "regress": [{"text": f"{thing} {place}", "number": place} for place in range(3) for thing in THINGS],
    "match": [
        {"text": f"a {thing}", "pair": f"{word} {thing}", "label": word}
        for thing in THINGS
        for word in ("big", "small")
    ],
    "tag": [{"text": f"mary came to london by {thing}", "spans": SPANS} for thing in THINGS],
    "relate": [
        {"text": f"mary has a {thing}", "head": [0, 4], "tail": [11, 11 + len(thing)], "relation": relation}
        for thing, relation in zip(THINGS, ["has", "Other"] * 4, strict=True)
    ],
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Any:
    """bundles("classify"): the folder of a bundle of that task, made once."""
    folder = tmp_path_factory.mktemp("bundles")

    def made(task: str) -> Path:
        bundle = folder / task / "bundle"
        if not bundle.exists():
            rows = folder / f"{task}.jsonl"
            rows.write_text("".join(json.dumps(row) + "\n" for row in FILES[task]))
            recipe = folder / f"{task}.yaml"
            recipe.write_text(
                f"task: {task}\ndata: {{train: {rows}, test_share: 0, valid_share: 0.2}}\nmodel: {tiny_bert}\n"
                f"method: head_only\ntrain: {{epochs: 0, device: cpu}}\nout: {folder}/{task}\n"
            )
            cook(load_recipe(recipe))
        return bundle

    return made


def _load(folder: Path) -> Bundle:
    loaded = adaptune.load(folder)
    assert isinstance(loaded, Bundle)
    return loaded


def _pool(bundle: Bundle, *rows: dict[str, Any]) -> list[Example]:
    return [bundle.task.example(Row("pool.jsonl", number, row)) for number, row in enumerate(rows, start=1)]


def _texts(found: Suggested) -> list[str]:
    return [str(row.example.row.values["text"]) for row in found.rows]


def test_rows_that_are_labelled_or_repeated_are_left_out_and_counted(bundles: Any) -> None:
    bundle = _load(bundles("classify"))
    texts = ("the film was good", "the  film was bad", "a new film", "a new  film", "an old book", "the river")
    known = known_rows(bundles("classify"), (), ())
    pool = _pool(bundle, *({"text": text} for text in texts))
    found = suggest(bundle, pool, Wanted(10, "uncertainty"), learned=known.learned, held=known.held)
    assert (found.pool, found.labelled, found.repeated) == (6, 2, 1)
    assert sorted(_texts(found)) == ["a new film", "an old book", "the river"]
    assert sum(found.predicted.values()) == 3


def test_uncertainty_is_that_of_the_bundles_own_probabilities(bundles: Any) -> None:
    bundle = _load(bundles("classify"))
    pool = _pool(bundle, *({"text": f"my {thing} {word}"} for thing in THINGS for word in ("good", "old", "now")))
    found = suggest(bundle, pool, Wanted(24, "uncertainty"), learned=())
    sure = {row["label"]: row for row in bundle.predict([found.rows[-1].example.row.values["text"]])}
    least = found.rows[-1].uncertainty
    assert least == pytest.approx(1 - (2 * next(iter(sure.values()))["probability"] - 1), abs=1e-5)
    assert [row.uncertainty for row in found.rows] == sorted((row.uncertainty for row in found.rows), reverse=True)


def test_coverage_and_both_choose_different_texts_and_the_same_again(bundles: Any) -> None:
    bundle = _load(bundles("classify"))
    pool = _pool(
        bundle, *({"text": f"{word} {thing}"} for thing in THINGS for word in ("my", "the good", "an old", "no"))
    )
    known = known_rows(bundles("classify"), (), ())
    for by in ("coverage", "both"):
        first, again = (
            _texts(suggest(bundle, pool, Wanted(6, by), learned=known.learned))  # type: ignore[arg-type]
            for _ in range(2)
        )
        assert first == again
        assert len(set(first)) == 6


def test_what_an_annotator_exports_is_trained_on_with_the_rows_before(bundles: Any, tmp_path: Path) -> None:
    folder = bundles("classify")
    bundle = _load(folder)
    pool = _pool(bundle, {"text": "a wonderful day"}, {"text": "a terrible wait"}, {"text": "a happy dog"})
    found = suggest(bundle, pool, Wanted(3, "both", balance=True), learned=known_rows(folder, (), ()).learned)
    form = form_of(bundle, pool, "label-studio")
    write_suggested(found, form, "label-studio", tmp_path / "next.json")
    tasks = json.loads((tmp_path / "next.json").read_text())
    assert {task["data"]["text"] for task in tasks} == {"a wonderful day", "a terrible wait", "a happy dog"}
    for task in tasks:
        [said] = task["predictions"]
        assert said["model_version"] == "adaptune classify"
        assert said["result"][0]["value"]["choices"][0] in ("positive", "negative")
    assert form.setup().splitlines()[2] == '  <Choices name="label" toName="text" choice="single">'
    rows = tmp_path / "rows"
    rows.mkdir()
    (rows / "first.jsonl").write_text("".join(json.dumps(row) + "\n" for row in FILES["classify"]))
    (rows / "second.json").write_text(
        '[{"id": 1, "data": {"text": "a wonderful day"}, "meta": {"row": 1}, "annotations": [{"id": 9,'
        ' "was_cancelled": false, "result": [{"id": "1", "from_name": "label", "to_name": "text", "type": "choices",'
        ' "value": {"choices": ["positive"]}, "origin": "manual"}]}]}]'
    )
    recipe = load_recipe(folder.parent / "recipe.yaml", [f"data.train={rows}/*", f"out={tmp_path}/second"])
    run = cook(recipe)
    assert sum(run.report["examples"].values()) == len(FILES["classify"]) + 1
    left = known_rows(run.bundle, (), ())
    assert same_text(pool[0]) in {same_text(example) for example in left.learned}


@pytest.mark.parametrize(
    ("task", "row", "kind"),
    [
        ("multilabel", {"text": "an old film"}, "choices"),
        ("match", {"text": "a new film", "pair": "big new film"}, "choices"),
        ("tag", {"text": "john came to paris by bus"}, "labels"),
        ("relate", {"text": "john has a dog", "head": [0, 4], "tail": [9, 14]}, "choices"),
        ("regress", {"text": "film 7"}, "number"),
    ],
)
def test_every_task_comes_back_from_label_studio_as_it_went(
    bundles: Any, tmp_path: Path, task: str, row: dict[str, Any], kind: str
) -> None:
    bundle = _load(bundles(task))
    pool = _pool(bundle, row)
    by = "coverage" if task == "regress" else "uncertainty"
    found = suggest(bundle, pool, Wanted(1, by), learned=())  # type: ignore[arg-type]
    form = form_of(bundle, pool, "label-studio")
    record = form.record("label-studio", found.rows[0])
    assert 'toName="text"' in form.setup()
    results = record["predictions"][0]["result"]
    assert {result["type"] for result in results} <= {kind}
    exported = tmp_path / "export.json"
    exported.write_text(json.dumps([{"id": 1, **record, "annotations": [{"result": results}]}]))
    answer = found.rows[0].answer
    assert answer is not None
    if results or task == "tag":
        config = DataConfig.model_validate({"train": str(exported)})
        [example] = examples_of(read(exported, config, bundle.task.columns).rows, bundle.task, config).examples
        expected = pytest.approx(answer.value, abs=1e-3) if task == "regress" else answer.value
        assert example.expected == expected


def test_answers_that_say_not_how_sure_they_are_are_refused_but_for_coverage(bundles: Any) -> None:
    bundle = _load(bundles("regress"))
    pool = _pool(bundle, {"text": "film 9"}, {"text": "book 9"})
    with pytest.raises(Unsupported, match="are numbers, which carry no probability"):
        suggest(bundle, pool, Wanted(1, "both"), learned=())
    with pytest.raises(Unsupported, match="--balance: task 'regress' predicts no labels"):
        suggest(bundle, pool, Wanted(1, "coverage", balance=True), learned=())
    assert len(suggest(bundle, pool, Wanted(1, "coverage"), learned=()).rows) == 1
    with pytest.raises(Unsupported, match="can be read back"):
        form_of(bundle, pool, "doccano")


def test_doccano_gets_texts_with_labels_or_spans(bundles: Any) -> None:
    bundle = _load(bundles("tag"))
    pool = _pool(bundle, {"text": "mary came to london by bus"})
    found = suggest(bundle, pool, Wanted(1, "uncertainty"), learned=())
    line = form_of(bundle, pool, "doccano").record("doccano", found.rows[0])
    assert line["text"] == "mary came to london by bus"
    assert all(line["text"][start:end] and kind in ("person", "city") for start, end, kind in line["label"])
    words = _pool(bundle, {"tokens": ["mary", "came"]})
    with pytest.raises(Unsupported, match="has words and no text to be shown"):
        form_of(bundle, words, "label-studio")


def test_a_column_of_the_row_is_never_replaced(bundles: Any) -> None:
    bundle = _load(bundles("classify"))
    pool = _pool(bundle, {"text": "the film was good", "source": "a letter", "row": "north"})
    found = suggest(bundle, pool, Wanted(1, "uncertainty"), learned=())
    line = form_of(bundle, pool, "jsonl").record("jsonl", found.rows[0])
    assert (line["text"], line["source"], line["row"]) == ("the film was good", "a letter", "north")


def test_rows_of_a_bundle_whose_recipe_names_files_that_are_gone_are_asked_for(bundles: Any, tmp_path: Path) -> None:
    folder = bundles("classify")
    run = tmp_path / "run"
    run.mkdir()
    (run / "bundle").symlink_to(folder)
    text = (folder.parent / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(text.replace("classify.jsonl", "gone.jsonl"))
    with pytest.raises(AdaptuneError, match="name files of labelled rows by --known FILE"):
        known_rows(run / "bundle", (), ())
    (tmp_path / "known.csv").write_text("text\nthe film was good\n")
    assert len(known_rows(run / "bundle", [str(tmp_path / "known.csv")], ()).learned) == 1
    (run / "recipe.yaml").unlink()
    assert known_rows(run / "bundle", (), ()).learned == ()
