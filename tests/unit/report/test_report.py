"""The report: what it says of whole runs and comparisons, and of those that did not come to their end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from adaptune.core.errors import AdaptuneError
from adaptune.core.run_folder import RunDir
from adaptune.report import read, write
from adaptune.report.words import FOLDER, Words, language_of_user, parameters, share_of
from adaptune.report.write import add_report, write_report

from .conftest import HTML, INTERVAL, RECIPE, REPORT, Folder


class _Text(HTMLParser):
    """What a reader sees, and every element with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def _read(file: Path) -> _Text:
    found = _Text()
    found.feed(file.read_text(encoding="utf-8"))
    return found


def _words(file: Path) -> str:
    return " ".join(" ".join(_read(file).parts).split())


def test_a_run_begins_with_a_verdict_in_words(run: Folder) -> None:
    text = _words(write_report(run(), language="en"))
    assert "Fine-tuning is worth it here: accuracy 90.0% on test rows, 10.0 points above the best plain model" in text
    assert "Accuracy is 90.0% on 40 test rows." in text
    assert "80.0% to 95.0% (95% interval)" in text
    assert "the gain over it is +10.0 points (+2.0 to +18.0)" in text
    assert "40 test rows tell little" in text
    assert "on average they are off by 3.0 points" in text


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (-0.02, 0.1, "not worth it here: word counts with logistic regression cannot be told from it"),
        (-0.2, -0.1, "not worth it here: word counts with logistic regression is better"),
    ],
)
def test_a_run_that_was_not_worth_it_says_so_plainly(low: float, high: float, says: str, run: Folder) -> None:
    gains = {name: {**REPORT["gains"]["majority"], "low": low, "high": high} for name in ("tfidf_logistic_regression",)}
    assert says in _words(write_report(run(gains=gains), language="en"))


def test_a_run_without_baselines_or_test_rows_says_what_is_not_known(run: Folder) -> None:
    assert "is not known" in _words(write_report(run(baseline={}, gains={}), language="en"))
    without = run(test={}, interval=None, baseline={}, gains={}, per_class={}, confusion={"classes": [], "counts": []})
    text = _words(write_report(without, language="en"))
    assert "There are no test rows" in text
    assert "flatter it, accuracy is 92.5%" in text


def test_a_run_shows_what_it_stands_on(run: Folder) -> None:
    page = _read(write_report(run(), language="en"))
    sections = [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    assert sections == [
        "verdict",
        "data",
        "learning",
        "scores",
        "classes",
        "confusion",
        "calibration",
        "errors",
        "method",
        "reproduce",
        "environment",
    ]
    text = " ".join(page.parts)
    for said in ("1,234 of 100k (1.2%)", "after step 4 of 6", "512 MB", "adaptune train recipe.yaml", "rank=4"):
        assert said in text
    assert "10–20 characters" in text  # a quarter of the rows, by their length
    assert sum(tag == "svg" for tag, _ in page.elements) == 8
    assert "/srv/someone" not in text


def test_texts_and_labels_are_no_html(run: Folder, comparison: Folder) -> None:
    for folder in (run(), comparison()):
        file = write_report(folder, language="en")
        assert HTML not in file.read_text(encoding="utf-8")
        page = _read(file)
        assert HTML in "".join(page.parts)
        assert not {"script", "img", "iframe", "object"} & {tag for tag, _ in page.elements}


def test_nothing_on_a_page_comes_from_elsewhere(run: Folder, comparison: Folder) -> None:
    for folder in (run(), comparison()):
        file = write_report(folder, language="zh")
        links = [
            value
            for _, attributes in _read(file).elements
            for name, value in attributes.items()
            if name in ("src", "href", "srcset", "action")
        ]
        assert [link for link in links if not (link or "").startswith(("#", "data:"))] == []
        assert "url(" not in file.read_text(encoding="utf-8")
        assert file.stat().st_size < 3_000_000


def test_a_comparison_shows_its_verdict_and_every_system_as_a_row(comparison: Folder) -> None:
    text = _words(write_report(comparison(), language="en"))
    for said in (
        "Use bitfit. It is cheapest.",
        "Best on test rows: lora 90.0%",
        "bitfit the one to use 88.0%",
        "lora the best candidate",
        "adapter stopped in round 1, accuracy 84.0% on validation rows",
        "Always the most frequent label baseline 50.0%",
        "less bitfit",
        "+40.0 +30.0 to +50.0",  # lora less the baseline, which was measured the other way round
        "2 seeds became 1",
        "adaptune compare recipe.yaml --candidates lora,bitfit,adapter,prefix --seeds 1 --budget 600s",
    ):
        assert said in text
    assert "at all" not in text  # of an error the first line
    assert f"refused: does not fit {HTML}" in text


def test_what_took_no_step_was_in_no_round(comparison: Folder) -> None:
    folder = comparison()
    found = json.loads((folder / "comparison.json").read_text())
    found["candidates"][2]["rounds"] = 0
    (folder / "comparison.json").write_text(json.dumps(found))
    text = _words(write_report(folder, language="en"))
    assert "adapter not the best of those without steps, accuracy 84.0% on validation rows" in text


def test_a_comparison_in_which_training_is_not_worth_it_says_so_first(comparison: Folder) -> None:
    verdict = {"use": "majority", "best": "lora", "alike": ["bitfit", "lora"], "worth_it": False}
    folder = comparison(
        verdict=verdict | {"english": ["Not worth it: majority is as good."], "chinese": ["不值得：同样好。"]}
    )
    text = _words(write_report(folder, language="en"))
    assert "not worth it here: always the most frequent label is no worse majority is as good." in text
    assert "Always the most frequent label baseline, the one to use" in text
    assert "bitfit cannot be told from the best" in text


def test_a_comparison_speaks_chinese(comparison: Folder) -> None:
    file = write_report(comparison(), language="zh")
    assert "使用 bitfit。" in _words(file)
    assert '<html lang="zh-CN">' in file.read_text(encoding="utf-8")


Damage = Callable[[Path], Any]


def _cut(name: str) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-20])


def _without(*names: str) -> Damage:
    def remove(folder: Path) -> None:
        for name in names:
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()

    return remove


LATE = ("report.json", "bundle", "errors.jsonl", "predictions.jsonl", "counts.json")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_without("report.json"), "report.json is not there"),
        (_without(*LATE), "The last logged step is 6, after 2.00 passes"),
        (_without(*LATE, "scores.jsonl"), "scores.jsonl is not there"),
        (_without(*LATE, "scores.jsonl", "steps.jsonl"), "No optimizer step was logged."),
        (_without(*LATE, "scores.jsonl", "steps.jsonl", "rejected.jsonl", "recipe.yaml"), "recipe.yaml is not there"),
        (_without("environment.json", "scores.jsonl", "steps.jsonl"), "environment.json is not there"),
        (_without("bundle"), "bundle/ is not there: there is no bundle to be used"),
        (_without("counts.json", "predictions.jsonl", "errors.jsonl"), "no texts of wrong answers were kept"),
        (_cut("steps.jsonl"), "steps.jsonl is damaged"),
        (_cut("scores.jsonl"), "scores.jsonl is damaged"),
        (_cut("predictions.jsonl"), "predictions.jsonl is damaged"),
        (_cut("report.json"), "report.json is damaged"),
        (_cut("environment.json"), "environment.json is damaged"),
        (_cut("counts.json"), "Fine-tuning is worth it"),
        (_cut("bundle/manifest.json"), "bundle/ is damaged"),
        (lambda folder: (folder / "recipe.yaml").write_text("task: ["), "recipe.yaml is damaged"),
        (lambda folder: (folder / "steps.jsonl").write_bytes(b"\xff\xfe\n[]\n"), "steps.jsonl is damaged"),
    ],
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_run_that_was_killed_at_any_point_yields_what_there_is(
    damage: Damage, says: str, language: str, run: Folder
) -> None:
    folder = run()
    damage(folder)
    text = _words(write_report(folder, language=language))
    assert says in text or language == "zh"


def test_a_comparison_that_was_killed_yields_its_runs(comparison: Folder) -> None:
    folder = comparison()
    (folder / "comparison.json").unlink()
    (folder / "runs" / "bitfit" / "seed-1" / "report.json").unlink()
    text = _words(write_report(folder, language="en"))
    assert "3 runs were begun, 2 of them finished." in text
    assert "comparison.json is not there" in text
    (folder / "plan.json").write_text("{")
    shutil.rmtree(folder / "runs")
    assert "plan.json is damaged" in _words(write_report(folder, language="en"))


def test_a_comparison_without_a_verdict_says_so(comparison: Folder) -> None:
    text = _words(write_report(comparison(verdict=None, bundle=None, differences=[]), language="en"))
    assert "No candidate came to its end" in text


def test_a_file_that_takes_long_to_read_is_left_out_and_said(run: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run()
    monkeypatch.setattr(read, "MOST_BYTES", (folder / "predictions.jsonl").stat().st_size - 1)
    text = _words(write_report(folder, language="en"))
    assert "predictions.jsonl is too large to be read for a page" in text
    assert "errors.jsonl" not in text.partition("Reproduce")[0]


TASKS = "tasks:\n  reviews: {task: classify}\n  stars: {task: {name: regress}}\nmodel: org/tiny\nadapters: "


def test_several_tasks_with_one_adapter_are_shown_one_after_another(run: Folder) -> None:
    part = {key: value for key, value in REPORT.items() if key not in ("parameters", "training", "seconds")}
    stars = part | {"task": "regress", "metric": "pearson", "interval": {**INTERVAL, "metric": "pearson"}}
    stars |= {"test": {"pearson": 0.7}, "baseline": {}, "gains": {}, "per_class": {}, "confusion": {}}
    folder = run(recipe=TASKS + "shared\n", adapters="shared", tasks={"reviews": part, "stars": stars})
    text = _words(write_report(folder, language="en"))
    assert "2 tasks; for 1 of them fine-tuning is worth it beyond chance" in text
    assert "stars: Pearson's r 0.700 on test rows" in text
    assert "Confusions: reviews" in text
    assert "Confusions: stars" not in text


def test_several_tasks_with_adapters_of_their_own_are_read_from_their_folders(run: Folder) -> None:
    folder = run("both", recipe=TASKS + "separate\n", adapters="separate", tasks={"reviews": {}, "stars": {}})
    run("both/reviews")
    run("both/stars", recipe=RECIPE.replace("classify", "regress"), task="regress", per_class={})
    (folder / "stars" / "scores.jsonl").unlink()
    text = _words(write_report(folder, language="en"))
    assert "Learning: reviews" in text
    assert "Worst errors: reviews The 1 test rows that were answered worst" in text
    assert "10–20 characters" in text
    assert "stars: scores.jsonl is not there" in text


KINDS: list[tuple[str, list[dict[str, Any]], str]] = [
    ("regress", [{"expected": 1.0, "predicted": 1.5}, {"expected": 2.0, "predicted": 1.0}], "beside the prediction"),
    ("rank", [], "Where the first right text stands"),
    ("answer", [], "How much of the answer is right"),
    ("translate", [{"expected": "ein Haus", "predicted": "ein Baum"}], "Lengths of the written texts"),
]


@pytest.mark.parametrize(("kind", "predictions", "says"), KINDS)
def test_other_tasks_have_a_picture_of_their_own(
    kind: str, predictions: list[dict[str, Any]], says: str, run: Folder
) -> None:
    folder = run(recipe=RECIPE.replace("classify", kind), task=kind, per_class={}, confusion={})
    if predictions:
        RunDir(folder).write_predictions(predictions)
    assert says in _words(write_report(folder, language="en"))
    assert says not in _words(write_report(folder, language="zh"))


ERRORS: list[tuple[dict[str, Any], Any, Any, str]] = [
    ({"words": ["in", "New", "York"]}, ["O", "B-place", "I-place"], ["O", "O", "B-place"], "New York place"),
    ({"words": ["张", "三"]}, ["B-人", "I-人"], ["O", "O"], "张三 人"),
    ({"words": ["a", "b"]}, ["O", "I-x"], ["O", "O"], "a/O b/I-x"),
    ({"question": "which?", "options": ["red", "blue"]}, 1, 0, "Expected blue Predicted"),
    ({"query": "q"}, [["right", 1.0]], [["wrong", 0.9], ["right", 0.5]], "wrong · right"),
    ({"query": "q"}, [["wrong", 0.0], ["right", 1.0]], [["wrong", 0.9]], "Expected right Predicted"),
    ({"text": "t"}, ["a", "b"], [], "(none)"),
    ({"text": "t"}, 2.0, 1.23456, "1.235"),
    ({"messages": [{"role": "user", "content": "hello"}]}, "hi", "ho", "user: hello"),
]


@pytest.mark.parametrize(("given", "expected", "predicted", "says"), ERRORS)
def test_errors_are_shown_as_people_read_them(
    given: dict[str, Any], expected: Any, predicted: Any, says: str, run: Folder
) -> None:
    error = {"row": 1, "source": "t", "given": given, "expected": expected, "predicted": predicted, "probability": None}
    assert says in _words(write_report(run(errors=[error]), language="en"))


def test_a_folder_that_holds_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdaptuneError, match="holds neither a run nor a comparison: no such folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(AdaptuneError, match="--language 'fr' is not known; there are: en, zh"):
        write_report(tmp_path, language="fr")


def test_nothing_fails_because_of_a_report(
    run: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    folder = run()
    assert add_report(folder) == folder / "report.html"
    monkeypatch.setattr(write, "run_page", broken)
    assert add_report(folder) is None
    assert "no report was written: ZeroDivisionError: a fault" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "whole", "count", "share"),
    [(999_600, 999_600, "1M", "100%"), (999_400, 9_000_000, "999k", "11%"), (5005, 22_570_381, "5k", "0.022%")],
)
def test_counts_and_shares_are_short(part: int, whole: int, count: str, share: str) -> None:
    assert (parameters(part), share_of(part, whole)) == (count, share)


def test_the_language_is_that_of_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    assert language_of_user() == "en"
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert language_of_user() == "zh"
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert language_of_user() == "en"


def test_both_languages_say_the_same_things() -> None:
    english, chinese = (json.loads((FOLDER / f"words.{language}.json").read_text("utf-8")) for language in ("en", "zh"))
    assert list(english) == list(chinese)

    def gaps(text: str) -> set[str]:
        return {part.partition("}")[0] for part in text.split("{")[1:]}

    assert {key for key in english if gaps(english[key]) != gaps(chinese[key])} == set()


@pytest.mark.parametrize(
    ("metric", "value", "score", "gap"),
    [("accuracy", 0.9, "90.0%", "+90.0"), ("bleu", 0.273, "27.3", "+27.3"), ("pearson", 0.87, "0.870", "+0.870")],
)
def test_scores_are_written_as_people_write_them(metric: str, value: float, score: str, gap: str) -> None:
    words = Words("en")
    assert (words.score(metric, value), words.gap(metric, value)) == (score, gap)
    assert [words.seconds(value) for value in (3.21, 75, 200, 9000)] == ["3.2 s", "75 s", "3 min 20 s", "2 h 30 min"]
