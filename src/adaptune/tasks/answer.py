"""A question and the text that answers it: the answer is a part of that text, or it holds none. Knows no tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Sequence as Several
from typing import Any, Literal

from adaptune.core.errors import DataError
from adaptune.core.task import Column, Task
from adaptune.core.types import NO_ANSWER, Answer, Array, Example, Labels, OfSpan, Row, Scores, Sequence
from adaptune.core.words import split
from adaptune.tasks._answer_scores import Language, answer_counts, language_of
from adaptune.tasks._rows import all_labelled, some_to_score, text_of

ANSWER = "answer"
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
_TRUE, _FALSE = (True, 1, "1", "true", "True"), (False, 0, "0", "false", "False")


class AnswerTask(Task):
    """Extractive question answering: SQuAD 1.1 and 2.0, CMRC 2018, or rows with one answer each."""

    metric = "f1"
    metrics = ("f1", "exact_match")
    columns = (
        Column("question", "what is asked, text", ("query",)),
        Column("context", "the text that may hold the answer", ("passage", "paragraph", "text")),
        Column(
            "answers",
            "[{text, answer_start}], several that are all right, none of an unanswerable question; or one text",
            ("answer", "answer_text"),
            label=True,
        ),
        Column("start", "where the answer is one text: its first character", ("answer_start",), False, label=True),
        Column("impossible", "true where the context holds no answer", ("is_impossible",), False, label=True),
        Column("title", "the article of the context: it is not split between parts", ("article",), False, label=True),
    )
    default_head = "span"
    target = OfSpan

    language: Literal["auto", "en", "zh"] = "auto"
    """How answers are compared. en: as SQuAD does, words without articles and punctuation; zh: as CMRC 2018 does,
    characters; auto: zh where references are mostly Chinese characters."""

    def example(self, row: Row) -> Example:
        question, context = text_of(row, "question"), text_of(row, "context")
        group = str(row.values.get("title") or context)
        if not any(name in row.values for name in ("answers", "start", "impossible")):
            return Example(row, (Sequence(question, context, overflow="window"),), group=group)
        answers = _answers(row, context)
        first = (answers[0][1], answers[0][1] + len(answers[0][0])) if answers else None
        sequence = Sequence(question, context, OfSpan(first), overflow="window")
        return Example(row, (sequence,), tuple(text for text, _ in answers), group)

    def labels(self, examples: Several[Example]) -> Labels:
        all_labelled(examples)
        without = sum(not example.expected for example in examples)
        if without == len(examples):
            raise DataError(f"none of the {without} training rows has an answer; there is nothing to learn")
        if not without:
            return Labels((ANSWER,), (len(examples),))
        return Labels((ANSWER, NO_ANSWER), (len(examples) - without, without))

    def score(self, predicted: Several[Any], expected: Several[Any]) -> Scores:
        some_to_score(expected)
        exact, f1 = self._counts(predicted, expected).mean(axis=0).tolist()
        return Scores({"f1": f1, "exact_match": exact})

    def counts(self, predicted: Several[Any], expected: Several[Any]) -> Array:
        """(R, 2) F1, and 1"""
        counts = self._counts(predicted, expected)[:, ::-1].copy()
        counts[:, 1] = 1
        return counts

    def metric_of(self, totals: Array) -> Array:
        return totals[..., 0] / totals[..., 1]

    def strata(self, examples: Several[Example]) -> list[str]:
        return [ANSWER if example.expected else NO_ANSWER for example in examples]

    def describe(self, example: Example, answer: Answer) -> dict[str, Any]:
        start, end = answer.span or (None, None)
        return {"answer": _text(answer.value), "start": start, "end": end, "probability": answer.probability}

    def baselines(self, train: Several[Example], test: Several[Example]) -> Mapping[str, list[Any]]:
        sequences = [example.sequences[0] for example in test]
        return {"sentence_most_like_the_question": [_likest(str(s.second), str(s.first)) for s in sequences]}

    def _counts(self, predicted: Several[Any], expected: Several[Any]) -> Array:
        language: Language = language_of(expected) if self.language == "auto" else self.language
        return answer_counts([_text(value) for value in predicted], expected, language)


def _text(value: Any) -> str:
    """An answer; of several the first."""
    return value if isinstance(value, str) else next(iter(value), "")


def _answers(row: Row, context: str) -> list[tuple[str, int]]:
    """Every right answer and where it starts. Raises DataError where one does not stand there."""
    impossible, given = _impossible(row), row.values.get("answers")
    listed = _listed(row, given)
    if impossible and listed:
        raise DataError(
            f"{row.where}, column 'answers': {given!r} stands in a row whose column 'impossible' is true; correct one"
        )
    empty = given is not None and not isinstance(given, str)
    if not listed and not impossible and (impossible is False or not empty):
        raise DataError(
            f"{row.where}, column 'answers': there is none ({given!r}); give one, or say in the column 'impossible' "
            "that the context holds none"
        )
    return [_checked(row, context, text, start) for text, start in listed]


def _impossible(row: Row) -> bool | None:
    """None where the row does not say. Raises DataError."""
    value = row.values.get("impossible")
    if value is None or value == "":
        return None
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise DataError(f"{row.where}, column 'impossible': {value!r} is neither true nor false")


def _listed(row: Row, given: Any) -> list[tuple[Any, Any]]:
    """Texts and starts as they are written, in any of the forms."""
    if given is None or given == "":
        if row.values.get("start") not in (None, "", -1, "-1"):
            raise DataError(
                f"{row.where}, column 'start': {row.values['start']!r} stands without an answer; add its text"
            )
        return []
    if isinstance(given, str):
        return [(given, row.values.get("start"))]
    if isinstance(given, Mapping) and isinstance(given.get("text"), (list, tuple)):
        texts, starts = given["text"], given.get("answer_start")
        if not isinstance(starts, (list, tuple)) or len(starts) != len(texts):
            raise DataError(f"{row.where}, column 'answers': {given!r}: every text needs its answer_start")
        return list(zip(texts, starts, strict=True))
    several = [given] if isinstance(given, Mapping) else given
    if not isinstance(several, (list, tuple)) or not all(isinstance(one, Mapping) for one in several):
        raise DataError(f"{row.where}, column 'answers': {given!r}: expected [{{text, answer_start}}], or one text")
    return [(one.get("text"), one.get("answer_start")) for one in several]


def _checked(row: Row, context: str, text: Any, start: Any) -> tuple[str, int]:
    where = f"{row.where}, column 'answers'"
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where}: {text!r} is no text of an answer; correct or remove the row")
    if isinstance(start, str) and start.strip().isdecimal():
        start = int(start)
    if isinstance(start, bool) or not isinstance(start, int):
        raise DataError(
            f"{where}: {text!r} has {start!r} as its start; expected the number of its first character in the context, "
            "counted from 0"
        )
    there = context[start : start + len(text)] if start >= 0 else ""
    if there != text:
        found = f"{there!r} stands there" if there else f"the context has {len(context):,} characters"
        at = context.find(text)
        hint = f"it stands at {at}" if at >= 0 else "it stands nowhere in it"
        raise DataError(f"{where}: {text!r} should start at character {start} of the context, but {found}; {hint}")
    return text, start


def _likest(context: str, question: str) -> str:
    """The sentence that has the most words of the question; of several the first."""
    asked = {word.text.lower() for word in split(question) if word.text.isalnum()}
    sentences = [found for sentence in _BETWEEN_SENTENCES.split(context) if (found := sentence.strip())]
    return max(sentences, key=lambda sentence: len(asked & {word.text.lower() for word in split(sentence)}))
