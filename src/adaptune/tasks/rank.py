"""Which of several texts fit a query, best first: search, re-ranking, recommendation. Knows no output layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Several
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from adaptune.core.errors import DataError, Unsupported
from adaptune.core.task import Column, Task
from adaptune.core.types import (
    RANKED,
    Answer,
    Array,
    Example,
    Labels,
    OfCandidate,
    OfDocument,
    Row,
    Scores,
    Sequence,
    Target,
)
from adaptune.tasks._candidates import one_or_several, refuse_repeated, relevance_of, texts_of
from adaptune.tasks._plain import tfidf_cosines
from adaptune.tasks._ranking import measure
from adaptune.tasks._rows import all_labelled, some_to_score, text_of

FEW = 4
"""A right text of fewer rows is no stratum of its own."""
Graded = list[tuple[str, float]]


class Rank(Task):
    """Search, re-ranking, recommendation: each row has a query and texts, of which some are right."""

    encoder: Literal["bi", "cross"] = "bi"
    """bi: query and texts are read each by itself and compared by the cosine of their vectors, so that a whole corpus
    can be searched. cross: the query with each text as one sequence, so that few texts are ordered well."""
    against: Literal["own", "all"] = "own"
    """What a query's texts are ranked among where rows are scored. own: the texts of its row. all (bi alone): those of
    the corpus that data.corpus names, else of all rows of the part; rows may then have right texts alone."""
    k: int = Field(default=10, ge=1, le=100)
    """How many first places ndcg and recall look at, and how many an answer shows."""

    metric: ClassVar[str] = "mrr"
    by_row: ClassVar[bool] = False
    columns = (
        Column("query", "what is looked for, text", ("question", "anchor", "user", "search", "text")),
        Column("candidates", "texts to be ranked: a list", ("documents", "passages", "items"), False, several=True),
        Column("document", "one text a row; rows of one query belong together", ("passage", "doc", "item"), False),
        Column("positive", "the right text, or a list of them", ("positives", "pos"), False),
        Column("negatives", "wrong texts beside it", ("negative", "negs", "neg"), False, several=True),
        Column(
            "relevance",
            "of each candidate 0, 1 or a grade; or the number, from 0, or the text of the right one",
            ("label", "labels", "score", "grade", "clicked"),
            False,
            label=True,
            implied=True,
        ),
    )

    @model_validator(mode="after")
    def _search_with_vectors(self) -> Self:
        if self.encoder == "cross" and self.against == "all":
            raise ValueError(
                "encoder: cross reads the query with every text and cannot search a corpus; set against: own, or "
                "encoder: bi"
            )
        return self

    @property
    def metrics(self) -> tuple[str, ...]:  # type: ignore[override]  # they name k
        return ("mrr", f"ndcg@{self.k}", f"recall@{self.k}")

    @property
    def target(self) -> type[Target]:  # type: ignore[override]
        return OfDocument if self.encoder == "bi" else OfCandidate

    @property
    def default_head(self) -> str:  # type: ignore[override]
        return "retrieve" if self.encoder == "bi" else "rerank"

    @property
    def pools(self) -> bool:
        return self.against == "all"

    def gathered(self, rows: Several[Row]) -> list[Row]:
        """Rows of one text each, those of a query as one; one that cannot be read stays by itself, to be refused."""
        found: dict[str, list[Row]] = {}
        for place, row in enumerate(rows):
            key = f"{row.source}\x1f{row.values['query']}" if _is_one_of_several(row) else f"\x1e{place}"
            found.setdefault(key, []).append(row)
        return [_as_one(same) if len(same) > 1 else same[0] for same in found.values()]

    def example(self, row: Row) -> Example:
        query = text_of(row, "query")
        graded = self._graded(row)
        if self.encoder == "cross" and not graded:
            raise DataError(f"{row.where} has a query without candidates; give some, or remove the row")
        known = [(text, grade) for text, grade in graded if grade is not None]
        if len(known) < len(graded) or not graded:
            return Example(row, self._sequences(query, [(text, None) for text, _ in graded]), group=query)
        self._check(row, known)
        expected = [pair for pair in known if pair[1] > 0] if self.pools else known
        return Example(row, self._sequences(query, graded), tuple(expected), group=query)

    def pooled(self, examples: Several[Example], corpus: Several[str] | None) -> list[Example]:
        if self.encoder == "cross":
            raise Unsupported("a cross-encoder reads each query with its own candidates and searches no corpus")
        if corpus is None:
            corpus = [text for example in examples for text in _own(example)]
        wrong = next((text for text in corpus if not _is_text(text)), None)
        if wrong is not None or (examples and not corpus):
            what = f"{wrong!r} among its texts" if corpus else "no texts"
            raise DataError(f"the corpus has {what}; expected texts to be searched, none of them empty")
        texts = dict.fromkeys(corpus)
        for example in examples:
            _refuse_absent(example, texts)
        sequences = tuple(Sequence(text) for text in texts)
        return [replace(example, corpus=sequences) for example in examples]

    def labels(self, examples: Several[Example]) -> Labels:
        all_labelled(examples)
        return Labels(())

    def score(self, predicted: Several[Any], expected: Several[Any]) -> Scores:
        some_to_score(expected)
        rows = [measure(given, wanted, self.k) for given, wanted in zip(predicted, expected, strict=True)]
        return Scores(dict(zip(self.metrics, np.array(rows).mean(axis=0).tolist(), strict=True)))

    def counts(self, predicted: Several[Any], expected: Several[Any]) -> Array:
        """(R, 2) reciprocal rank, and 1"""
        pairs = zip(predicted, expected, strict=True)
        return np.array([(measure(given, wanted, self.k).reciprocal_rank, 1.0) for given, wanted in pairs])

    def metric_of(self, totals: Array) -> Array:
        return totals[..., 0] / totals[..., 1]

    def strata(self, examples: Several[Example]) -> list[str]:
        """The first right text where several rows share it, else how many are right."""
        rights = [[text for text, grade in example.expected if grade > 0] for example in examples]
        rows = Counter(texts[0] for texts in rights)
        return [texts[0] if rows[texts[0]] >= FEW else f"{min(len(texts), 5)} right" for texts in rights]

    def sample(self, values: Mapping[str, str]) -> dict[str, Any]:
        made: dict[str, Any] = dict(values)
        if "candidates" in made:
            made["candidates"] = [made["candidates"], made["query"]]
        if "negatives" in made:
            made["negatives"] = [made["negatives"]]
        return made

    def describe(self, example: Example, answer: Answer) -> dict[str, Any]:
        return {"ranking": [{"text": text, "score": score} for text, score in list(answer.value)[: self.k]]}

    def baselines(self, train: Several[Example], test: Several[Example]) -> Mapping[str, list[Any]]:
        often = Counter(text for example in train for text, grade in example.expected if grade > 0)
        known = [text for example in train for text in (_query(example), *_own(example))]
        offered = _offered(test)
        most = RANKED if test[0].corpus else None
        near = zip(offered, tfidf_cosines(known, map(_query, test), offered), strict=True)
        popular = {id(texts): _best(texts, [float(often[text]) for text in texts], most) for texts in _once(offered)}
        return {
            "most_often_right": [popular[id(texts)] for texts in offered],
            "tfidf_cosine": [_best(texts, cosines, most) for texts, cosines in near],
        }

    def _sequences(self, query: str, graded: Several[tuple[str, float | None]]) -> tuple[Sequence, ...]:
        if self.encoder == "cross":
            return tuple(Sequence(query, text, None if grade is None else OfCandidate(grade)) for text, grade in graded)
        labelled = bool(graded) and graded[0][1] is not None
        documents = (Sequence(text, target=None if grade is None else OfDocument(grade)) for text, grade in graded)
        return (Sequence(query, target=OfDocument(0.0) if labelled else None), *documents)

    def _graded(self, row: Row) -> list[tuple[str, float | None]]:
        """Every text with its grade, None where the row does not say; no text where a corpus is asked.

        Raises DataError.
        """
        forms = [name for name in ("candidates", "document", "positive") if name in row.values]
        _refuse_mixed(row, forms)
        if not forms:
            return []
        if forms == ["positive"]:
            rights = one_or_several(row, "positive")
            wrong = one_or_several(row, "negatives") if _has_negatives(row) else []
            refuse_repeated(row, "negatives", [*rights, *wrong])
            return [*((text, 1.0) for text in rights), *((text, 0.0) for text in wrong)]
        texts = texts_of(row, "candidates") if forms == ["candidates"] else one_or_several(row, "document")
        if "relevance" not in row.values:
            return [(text, 1.0 if forms == ["document"] and self.pools else None) for text in texts]
        if forms == ["document"] and len(texts) == 1 and not isinstance(row.values["relevance"], list):
            row = Row(row.source, row.number, {**row.values, "relevance": [row.values["relevance"]]})
        return list(zip(texts, relevance_of(row, texts), strict=True))

    def _check(self, row: Row, graded: Graded) -> None:
        rights = sum(grade > 0 for _, grade in graded)
        if not rights:
            raise DataError(f"{row.where}: none of its {len(graded)} texts is right; mark one, or remove the row")
        if rights == len(graded) and not self.pools:
            one = "its one text is right" if rights == 1 else f"all of its {rights} texts are right"
            raise DataError(
                f"{row.where}: {one}, so that there is nothing to tell apart; give wrong ones, too, or set "
                "task.encoder: bi and task.against: all"
            )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_one_of_several(row: Row) -> bool:
    """Whether a row has a query and one text, which it can share with others."""
    other = any(name in row.values for name in ("candidates", "positive", "negatives"))
    return _is_text(row.values.get("query")) and _is_text(row.values.get("document")) and not other


def _as_one(rows: Several[Row]) -> Row:
    """Rows of one text each as one of several, under the number of the first."""
    values: dict[str, Any] = {"query": rows[0].values["query"], "document": [row.values["document"] for row in rows]}
    if any("relevance" in row.values for row in rows):
        values["relevance"] = [row.values.get("relevance") for row in rows]
    return Row(rows[0].source, rows[0].number, values)


def _refuse_mixed(row: Row, forms: Several[str]) -> None:
    """Raises DataError where columns of several forms have values, or of none although it is said what is right."""
    given = [*forms, *(name for name in ("negatives", "relevance") if name in row.values)]
    fits = [{"candidates", "relevance"}, {"document", "relevance"}, {"positive", "negatives"}]
    if (given and not forms) or not any(set(given) <= form for form in fits):
        raise DataError(
            f"{row.where} has {' and '.join(map(repr, given))} beside its query; expected candidates (with relevance), "
            "or document (with relevance), or positive (with negatives); name the columns of one form in data.columns"
        )


def _has_negatives(row: Row) -> bool:
    value = row.values.get("negatives")
    if isinstance(value, Mapping):
        return any(value.values())
    return value is not None and value not in ("", [], ())


def _refuse_absent(example: Example, texts: Mapping[str, Any]) -> None:
    """Raises DataError for a right text that the corpus lacks."""
    for text, grade in example.expected or ():
        if grade > 0 and text not in texts:
            raise DataError(
                f"{example.row.where}: the right text {text[:60]!r} is not in the corpus and could never be found; add "
                "it, or remove the row"
            )


def _query(example: Example) -> str:
    return str(example.sequences[0].first)


def _own(example: Example) -> list[str]:
    """The texts of the row itself."""
    if example.sequences[0].second is not None:
        return [str(sequence.second) for sequence in example.sequences]
    return [str(sequence.first) for sequence in example.sequences[1:]]


def _offered(examples: Several[Example]) -> list[list[str]]:
    """The texts that each query's answer is chosen from; those of a corpus are one list for all."""
    corpus = [str(sequence.first) for sequence in examples[0].corpus]
    return [corpus if example.corpus else _own(example) for example in examples]


def _once(offered: Several[list[str]]) -> Iterable[list[str]]:
    """Every list that is an object of its own."""
    return {id(texts): texts for texts in offered}.values()


def _best(texts: Several[str], scores: Several[float], most: int | None) -> Graded:
    """So many of them, best first."""
    pairs = sorted(zip(texts, scores, strict=True), key=lambda pair: -pair[1])
    return pairs[:most]
