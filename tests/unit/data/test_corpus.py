from __future__ import annotations

from pathlib import Path

import pytest

from adaptune.core.errors import DataError
from adaptune.core.types import Example, Labels, OfDocument, Row, Sequence
from adaptune.data.config import DataConfig
from adaptune.data.corpus import read_corpus
from adaptune.data.encode import encode
from adaptune.data.load import load_splits
from adaptune.tasks.classify import Classify
from adaptune.tasks.rank import Rank

ROWS = "query,positive\n" + "".join(f"query {number},text {number % 7}\n" for number in range(60))


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    (tmp_path / "pairs.csv").write_text(ROWS)
    return str(tmp_path / "pairs.csv")


def test_the_texts_of_a_corpus_are_read_once_each_in_order(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("one, two\nthree\n\none, two\n")
    (tmp_path / "films.csv").write_text("id,film\n1,Heat\n2,Alien\n")
    texts, fingerprint = read_corpus(tmp_path / "corpus.txt", DataConfig(train="x"))
    assert texts == ("one, two", "three")
    assert len(fingerprint) == 64
    assert read_corpus(tmp_path / "films.csv", DataConfig(train="x", corpus_column="film"))[0] == ("Heat", "Alien")


def test_an_empty_text_of_a_corpus_is_refused_by_row(tmp_path: Path) -> None:
    (tmp_path / "corpus.csv").write_text('text,id\none,1\n" ",2\n')
    with pytest.raises(DataError, match=r"corpus\.csv, row 3: ' ' is no text that could be searched"):
        read_corpus(tmp_path / "corpus.csv", DataConfig(train="x"))


def test_scored_rows_are_answered_from_the_corpus_and_training_rows_from_their_own(pairs: str, tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("".join(f"text {number}\n" for number in range(9)))
    config = DataConfig(train=pairs, corpus=str(tmp_path / "corpus.txt"))
    splits = load_splits(config, Rank(against="all"), seed=1)
    assert "corpus" in splits.fingerprints
    for part in (splits.valid, splits.test):
        assert [sequence.first for sequence in part[0].corpus] == [f"text {number}" for number in range(9)]
    assert splits.train[0].corpus == ()


def test_without_a_corpus_file_the_rows_of_a_part_are_its_corpus(pairs: str) -> None:
    splits = load_splits(DataConfig(train=pairs), Rank(against="all"), seed=1)
    texts = {text for example in splits.test for text, _ in example.expected}
    assert {sequence.first for sequence in splits.test[0].corpus} == texts


@pytest.mark.parametrize("task", [Rank(), Classify()])
def test_a_corpus_that_nothing_would_read_is_refused(tmp_path: Path, task: Rank | Classify) -> None:
    rows = "query,candidates,label,text\n" + 'a,"[""x"", ""y""]",0,t\nb,"[""x"", ""y""]",1,u\n' * 20
    (tmp_path / "rows.csv").write_text(rows)
    columns = {"query": "query"} if isinstance(task, Rank) else {"text": "text"}
    config = DataConfig(train=str(tmp_path / "rows.csv"), columns=columns, corpus="corpus.txt")
    with pytest.raises(DataError, match=r"data\.corpus is 'corpus\.txt', and nothing would read it"):
        load_splits(config, task, seed=1)


def test_a_corpus_is_encoded_once_before_the_queries(tiny_bert: Path) -> None:
    from transformers import AutoTokenizer

    corpus = (Sequence("the river"), Sequence("a bank"))
    examples = [
        Example(Row("x", number, {}), (Sequence(query, target=OfDocument(0.0)), Sequence("a bank")), (), corpus=corpus)
        for number, query in enumerate(("where is it", "who is it"))
    ]
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    found = encode(examples, tokenizer, Labels(()), max_length=32, segments=True)
    assert [(one.row, one.text) for one in found] == [
        (-1, "the river"),
        (-1, "a bank"),
        (0, "where is it"),
        (1, "who is it"),
    ]
