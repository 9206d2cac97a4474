"""Plain models without pretraining, the yardsticks of several tasks. Know no rows and no scores."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from adaptune.core.bio import OUTSIDE
from adaptune.core.lazy import sklearn_exceptions, sklearn_linear_model, sklearn_text
from adaptune.core.words import unspaced

A = TypeVar("A", bound=Hashable)

MOST_ROWS = 50_000
"""Rows that the regression is fitted on, spread evenly over longer data: seconds, not minutes."""
MOST_FEATURES = 100_000


def most_common(values: Sequence[A]) -> A:
    """The most frequent value; of several the one that comes first."""
    return Counter(values).most_common(1)[0][0]


def majority(answers: Sequence[A], rows: int) -> list[A]:
    """The most frequent training answer for every row."""
    return [most_common(answers)] * rows


def tfidf_regression(train: Sequence[str], answers: Sequence[str], test: Sequence[str]) -> list[str]:
    """The answers of a logistic regression on TF-IDF weighted words; characters and their pairs in unspaced scripts.

    Words alone: with pairs of words it is slower and, on BANKING77, CLINC150 and SST-2, no better.
    """
    chosen = _spread(len(train))
    if len({answers[row] for row in chosen}) == 1:
        return majority(list(answers), len(test))
    vectors, features = _tfidf([train[row] for row in chosen])
    # SAG: 0.4 s on 10,003 rows of 77 classes, L-BFGS 1.9 s, at the same accuracy.
    model = sklearn_linear_model.LogisticRegression(C=10, solver="sag", tol=1e-2, max_iter=50, random_state=0)
    with warnings.catch_warnings():
        # A yardstick stopped a little short of its optimum is as good.
        warnings.simplefilter("ignore", sklearn_exceptions.ConvergenceWarning)
        # A row or two of each label are no mistake.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        model.fit(features, [answers[row] for row in chosen])
    return [str(answer) for answer in model.predict(vectors.transform(test))]


def tfidf_labels(
    train: Sequence[str], answers: Sequence[tuple[str, ...]], test: Sequence[str]
) -> list[tuple[str, ...]]:
    """Several labels a row: a logistic regression on TF-IDF for each label that some rows have and some have not."""
    chosen = _spread(len(train))
    vectors, features = _tfidf([train[row] for row in chosen])
    tests = vectors.transform(test)
    found: list[list[str]] = [[] for _ in test]
    for label in dict.fromkeys(label for row in chosen for label in answers[row]):
        has = np.array([label in answers[row] for row in chosen])
        if has.all():
            given = np.ones(len(test), dtype=bool)
        else:
            model = sklearn_linear_model.LogisticRegression(C=10, solver="liblinear", random_state=0)
            given = model.fit(features, has).predict(tests)
        for row in np.flatnonzero(given):
            found[row].append(label)
    return [tuple(labels) for labels in found]


def tfidf_ridge(train: Sequence[str], numbers: Sequence[float], test: Sequence[str]) -> list[float]:
    """The numbers that a ridge regression on TF-IDF gives."""
    chosen = _spread(len(train))
    vectors, features = _tfidf([train[row] for row in chosen])
    model = sklearn_linear_model.Ridge(alpha=1.0, solver="sparse_cg")
    model.fit(features, [numbers[row] for row in chosen])
    return [float(number) for number in model.predict(vectors.transform(test))]


def tfidf_similarity(
    train: Sequence[tuple[str, str]], answers: Sequence[Any], test: Sequence[tuple[str, str]]
) -> list[Any]:
    """Labels or numbers by a regression on one feature, the cosine of the two texts' TF-IDF vectors."""
    chosen = _spread(len(train))
    vectors, _ = _tfidf([text for row in chosen for text in train[row]])

    def cosines(pairs: Sequence[tuple[str, str]]) -> Any:
        """(N, 1)"""
        firsts, seconds = (vectors.transform([pair[side] for pair in pairs]) for side in (0, 1))
        return np.asarray(firsts.multiply(seconds).sum(axis=1)).reshape(-1, 1)

    known = [answers[row] for row in chosen]
    if isinstance(known[0], str):
        if len(set(known)) == 1:
            return majority(known, len(test))
        model = sklearn_linear_model.LogisticRegression(C=100)
    else:
        model = sklearn_linear_model.LinearRegression()
    model.fit(cosines([train[row] for row in chosen]), known)
    return list(model.predict(cosines(test)).tolist())


def tfidf_cosines(
    train: Sequence[str], queries: Iterable[str], offered: Sequence[Sequence[str]]
) -> Iterator[list[float]]:
    """Of each query the cosines with the texts offered to it, by TF-IDF vectors; words_like_this are read apart."""
    vectors, _ = _tfidf([_apart(train[row]) for row in _spread(len(train))])
    last: Sequence[str] = ()
    matrix: Any = None
    for query, texts in zip(queries, offered, strict=True):
        if texts is not last or matrix is None:
            last, matrix = texts, vectors.transform(map(_apart, texts))
        yield (matrix @ vectors.transform([_apart(query)]).T).toarray()[:, 0].tolist()


def _apart(text: str) -> str:
    return text.replace("_", " ")


def _tfidf(texts: Sequence[str]) -> tuple[Any, Any]:
    """The vectoriser and the vectors of the texts it was made from."""
    if unspaced("\n".join(texts[:1000])):
        vectors = sklearn_text.TfidfVectorizer(
            analyzer="char", ngram_range=(1, 2), sublinear_tf=True, max_features=MOST_FEATURES
        )
    else:
        vectors = sklearn_text.TfidfVectorizer(
            token_pattern=r"\w+|[^\w\s]", sublinear_tf=True, max_features=MOST_FEATURES
        )
    return vectors, vectors.fit_transform(texts)


def most_frequent_tags(tagged: Iterable[tuple[str, str]], rows: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """Each word's most frequent tag, as legal BIO: I- where no span of its type goes on starts one; O for new words."""
    counts: dict[str, Counter[str]] = {}
    for word, tag in tagged:
        counts.setdefault(word, Counter())[tag] += 1
    best = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}
    return [_legal([best.get(word, OUTSIDE) for word in words]) for words in rows]


def _legal(tags: Sequence[str]) -> tuple[str, ...]:
    before = [OUTSIDE, *tags]
    return tuple(
        f"B-{tag[2:]}" if tag.startswith("I-") and last[2:] != tag[2:] else tag
        for last, tag in zip(before, tags, strict=False)
    )


def _spread(rows: int) -> list[int]:
    return [int(row) for row in np.linspace(0, rows - 1, min(rows, MOST_ROWS)).round()]
