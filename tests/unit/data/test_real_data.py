"""Public data sets, read as they are: the counts are those that their own pages state."""

from __future__ import annotations

import pytest

from adaptune.core.bio import spans
from adaptune.data.config import DataConfig
from adaptune.data.doctor import diagnose
from adaptune.data.guess import guess
from adaptune.data.read import examples_of, read
from adaptune.tasks.classify import Classify
from adaptune.tasks.tag import Tag


def load(path, task, **settings):
    """Examples, and rows that were left out."""
    config = DataConfig(train=str(path), on_bad_row="skip", **settings)
    found = read(path, config, task.columns)
    understood = examples_of(found.rows, task, config)
    return understood.examples, [*found.rejected, *understood.rejected]


@pytest.mark.parametrize(
    ("folder", "file", "rows", "words", "entities"),
    [
        ("wnut17", "wnut17train.conll", 3394, 62730, 1975),
        ("wnut17", "emerging.dev.conll", 1009, 15733, 836),
        ("wnut17", "emerging.test.annotated", 1287, 23394, 1079),
        ("resume-ner-zh", "dev.char.bmes", 463, 13890, 1497),
        ("resume-ner-zh", "test.char.bmes", 477, 15100, 1630),
    ],
)
def test_tagged_sentences_words_and_entities(data, folder, file, rows, words, entities):
    examples, rejected = load(data(folder) / file, Tag())
    assert (len(examples), rejected) == (rows, [])
    assert sum(len(example.expected) for example in examples) == words
    assert sum(len(spans(example.expected)) for example in examples) == entities


def test_four_sentences_of_the_chinese_resumes_have_half_an_entity(data):
    examples, rejected = load(data("resume-ner-zh") / "train.char.bmes", Tag())
    assert len(examples) == 3821 - 4
    assert [row.number for row in rejected] == [62390, 62392, 64412, 64414]
    assert all("'M-ORG'" in row.reason for row in rejected)


@pytest.mark.parametrize(("file", "rows"), [("train.csv", 10003), ("test.csv", 3080)])
def test_banking77(data, file, rows):
    examples, rejected = load(data("banking77") / file, Classify())
    assert (len(examples), rejected) == (rows, [])
    assert len({example.expected for example in examples}) == 77


def test_the_one_empty_hotel_review_is_named(data):
    examples, rejected = load(
        data("chnsenticorp-hotel") / "ChnSentiCorp_htl_all.csv", Classify(), labels={"0": "negative", "1": "positive"}
    )
    assert len(examples) == 7765
    assert [row.reason.split(";")[0] for row in rejected] == ["column 'text': the text '' is empty"]
    assert sum(example.expected == "positive" for example in examples) == 5322


@pytest.mark.parametrize(
    ("file", "rows"),
    [
        ("tweets_GroundTruth.txt", 4200),
        ("movieReviewSnippets_GroundTruth.txt", 10605),
        ("amazonReviewSnippets_GroundTruth.txt", 3708),
        ("nytEditorialSnippets_GroundTruth.txt", 5190),
    ],
)
def test_stray_quotes_of_the_sentiment_sentences_swallow_no_rows(data, file, rows):
    path = data("vader-ground-truth") / file
    examples, rejected = load(path, Classify(), header=False, columns={"text": "3", "label": "2"})
    assert (len(examples), rejected) == (rows, [])


def test_the_five_test_sentences_that_are_also_trained_on_are_found(data):
    folder, task = data("resume-ner-zh"), Tag()
    parts = {"train": load(folder / "train.char.bmes", task)[0], "test": load(folder / "test.char.bmes", task)[0]}
    assert any(
        finding.text.startswith("5 rows of test have a text that is also in train")
        for finding in diagnose(parts, task).all
    )


@pytest.mark.parametrize(
    ("folder", "file", "task", "columns"),
    [
        ("banking77", "train.csv", "classify", {"text": "text", "label": "category"}),
        ("chnsenticorp-hotel", "ChnSentiCorp_htl_all.csv", "classify", {"text": "review", "label": "label"}),
        ("wnut17", "emerging.test.annotated", "tag", {"tokens": "tokens", "tags": "tags"}),
        ("resume-ner-zh", "dev.char.bmes", "tag", {"tokens": "tokens", "tags": "tags"}),
    ],
)
def test_what_a_file_is_for_is_guessed(data, folder, file, task, columns):
    found = guess(data(folder) / file)
    assert (found.task, found.columns) == (task, columns)
