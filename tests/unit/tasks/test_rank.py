from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from adaptune.core.errors import DataError, Unsupported
from adaptune.core.types import Answer, Example, OfCandidate, OfDocument, Row, Sequence
from adaptune.tasks.rank import Rank

OWN, ALL, CROSS = Rank(), Rank(against="all"), Rank(encoder="cross")


def _row(number: int = 2, **values: Any) -> Row:
    return Row("rows.jsonl", number, values)


def _expected(task: Rank, **values: Any) -> Any:
    return task.example(_row(query="a", **values)).expected


def test_a_cross_encoder_reads_the_query_with_each_candidate() -> None:
    example = CROSS.example(_row(query="a", candidates=["x", "y"], relevance=[0, 2]))
    assert example.sequences == (Sequence("a", "x", OfCandidate(0.0)), Sequence("a", "y", OfCandidate(2.0)))
    assert (CROSS.default_head, CROSS.target) == ("rerank", OfCandidate)
    assert (OWN.default_head, OWN.target) == ("retrieve", OfDocument)


@pytest.mark.parametrize(
    ("relevance", "grades"),
    [
        ([0, 1, 0], (0, 1, 0)),
        ([False, True, True], (0, 1, 1)),
        (["0", "2.5", "1"], (0, 2.5, 1)),
        ("[0, 1, 0]", (0, 1, 0)),
        (np.array([0, 1, 0]), (0, 1, 0)),
        (1, (0, 1, 0)),
        (1.0, (0, 1, 0)),
        ("1", (0, 1, 0)),
        ("y", (0, 1, 0)),
        (["z", "y"], (0, 1, 1)),
        ('["z", "y"]', (0, 1, 1)),
    ],
)
def test_relevance_is_a_grade_each_or_says_which_are_right(relevance: Any, grades: tuple[float, ...]) -> None:
    found = _expected(OWN, candidates=["x", "y", "z"], relevance=relevance)
    assert found == tuple(zip("xyz", grades, strict=True))


def test_a_number_that_is_a_candidate_is_that_candidate() -> None:
    assert _expected(OWN, candidates=["1", "0"], relevance="0") == (("1", 0.0), ("0", 1.0))


@pytest.mark.parametrize(
    "values",
    [
        {"positive": "x", "negatives": ["y", "z"]},
        {"positive": ["x"], "negatives": '["y", "z"]'},
        {"positive": "x", "negatives": {"negative_1": "y", "negative_2": "z", "negative_3": None}},
    ],
)
def test_a_positive_and_negatives_are_candidates(values: Any) -> None:
    assert _expected(OWN, **values) == (("x", 1.0), ("y", 0.0), ("z", 0.0))


def test_rows_of_one_query_and_one_document_each_belong_together() -> None:
    rows = [
        _row(2, query="a", document="x", relevance="0"),
        _row(3, query="b", document="x", relevance="1"),
        _row(4, query="a", document="y", relevance="1"),
        _row(5, query="b", document="z", relevance="0"),
    ]
    first, second = (OWN.example(row) for row in OWN.gathered(rows))
    assert (first.row.where, first.expected) == ("rows.jsonl, row 2", (("x", 0.0), ("y", 1.0)))
    assert (second.row.where, second.expected) == ("rows.jsonl, row 3", (("x", 1.0), ("z", 0.0)))


def test_a_flat_row_that_cannot_be_read_is_refused_by_its_own_number() -> None:
    rows = [_row(2, query="a", document="x", relevance=1), _row(3, query="a", document=" ", relevance=0)]
    first, second = OWN.gathered(rows)
    assert first is rows[0]
    with pytest.raises(DataError, match=r"rows\.jsonl, row 3, column 'document'"):
        OWN.example(second)


def test_flat_rows_without_relevance_are_pairs_that_fit_where_there_is_a_corpus() -> None:
    rows = [_row(2, query="a", document="x"), _row(3, query="a", document="y")]
    assert ALL.example(ALL.gathered(rows)[0]).expected == (("x", 1.0), ("y", 1.0))
    assert OWN.example(OWN.gathered(rows)[0]).expected is None


def test_a_flat_file_may_name_a_document_of_a_query_once() -> None:
    rows = [_row(2, query="a", document="x", relevance=1), _row(3, query="a", document="x", relevance=0)]
    with pytest.raises(DataError, match=r"rows\.jsonl, row 2, column 'document': 'x' stands there twice"):
        OWN.example(OWN.gathered(rows)[0])


def test_nothing_to_tell_apart_is_refused_unless_there_is_a_corpus() -> None:
    with pytest.raises(
        DataError, match=r"row 2: its one text is right, .* set task\.encoder: bi and task\.against: all"
    ):
        OWN.example(_row(query="a", positive="x"))
    assert _expected(ALL, positive="x") == (("x", 1.0),)


def test_without_a_corpus_file_all_texts_of_the_rows_are_ranked_each_once() -> None:
    examples = [ALL.example(_row(query=query, positive=text)) for query, text in (("a", "x"), ("b", "y"), ("c", "x"))]
    pooled = ALL.pooled(examples, None)
    assert [sequence.first for sequence in pooled[0].corpus] == ["x", "y"]
    assert all(example.corpus is pooled[0].corpus for example in pooled)


def test_a_right_text_that_the_corpus_lacks_is_refused_by_row() -> None:
    examples = [ALL.example(_row(7, query="a", positive="x"))]
    with pytest.raises(DataError, match=r"rows\.jsonl, row 7: the right text 'x' is not in the corpus"):
        ALL.pooled(examples, ["y", "z"])


@pytest.mark.parametrize(("corpus", "has"), [([], "no texts"), (["x", " "], "' ' among its texts"), ([3], "3 among")])
def test_a_corpus_must_hold_texts(corpus: Any, has: str) -> None:
    with pytest.raises(DataError, match=f"the corpus has {has}"):
        ALL.pooled([ALL.example(_row(query="a", positive="x"))], corpus)


def test_wrong_texts_need_not_stand_in_the_corpus() -> None:
    examples = [OWN.example(_row(query="a", positive="x", negatives=["y"]))]
    assert len(OWN.pooled(examples, ["x", "z"])[0].corpus) == 2


def test_a_cross_encoder_searches_no_corpus() -> None:
    with pytest.raises(ValidationError, match="cannot search a corpus"):
        Rank(encoder="cross", against="all")
    with pytest.raises(Unsupported, match="searches no corpus"):
        CROSS.pooled([], ["x"])


def test_a_cross_encoder_needs_candidates() -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl, row 2 has a query without candidates"):
        CROSS.example(_row(query="a"))


def test_k_names_the_metrics() -> None:
    assert Rank(k=3).metrics == ("mrr", "ndcg@3", "recall@3")
    answers = [(("x", 3.0), ("y", 2.0), ("z", 1.0))]
    expected = [(("x", 0.0), ("y", 0.0), ("z", 1.0))]
    assert Rank(k=2).score(answers, expected).values == pytest.approx({"mrr": 1 / 3, "ndcg@2": 0, "recall@2": 0})


def test_plain_models_rank_by_words_and_by_how_often_a_text_is_right() -> None:
    texts = ["lost_card help", "pay in cash", "open a branch"]
    rows = [("my card is lost", 0), ("the lost card", 0), ("cash to pay in", 1), ("a branch nearby", 2)]
    train = [OWN.example(_row(query=query, candidates=texts, relevance=right)) for query, right in rows]
    found = OWN.baselines(train, train)
    assert found["most_often_right"][3][0][0] == "lost_card help"
    assert dict(found["most_often_right"][3]) == {"lost_card help": 2.0, "pay in cash": 1.0, "open a branch": 1.0}
    assert [ranked[0][0] for ranked in found["tfidf_cosine"]] == [texts[right] for _, right in rows]


def test_plain_models_search_the_same_corpus() -> None:
    examples = [ALL.example(_row(query=f"the {text}", positive=text)) for text in ("river", "bank", "train")]
    pooled = ALL.pooled(examples, ["bank", "house", "river", "train"])
    found = ALL.baselines(examples, pooled)
    assert [ranked[0][0] for ranked in found["tfidf_cosine"]] == ["river", "bank", "train"]
    assert {len(ranked) for answers in found.values() for ranked in answers} == {4}


def test_an_answer_shows_its_first_places() -> None:
    answer = Answer((("x", 0.5), ("y", 0.25), ("z", 0.125)), 0.7)
    example: Example = OWN.example(_row(query="a", candidates=["x", "y", "z"]))
    assert Rank(k=2).describe(example, answer) == {
        "ranking": [{"text": "x", "score": 0.5}, {"text": "y", "score": 0.25}]
    }
    assert example.expected is None
