"""One tag a word: names, slots, parts of a text. Knows no output layer and no sub-words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence as Several
from itertools import pairwise
from typing import Any

import numpy as np

from adaptune.core.bio import OUTSIDE, MalformedTags, Span, from_spans, spans, to_bio
from adaptune.core.errors import DataError
from adaptune.core.lazy import seqeval
from adaptune.core.task import Column, Task
from adaptune.core.types import Answer, Array, Example, Labels, OfWords, Row, Scores, Sequence
from adaptune.core.words import Word, locate, split, split_on_spaces
from adaptune.tasks._plain import most_frequent_tags

Tags = tuple[str, ...]


class Tag(Task):
    """Named entities and slots: spans of words that have a type, scored as whole spans."""

    metric = "f1"
    metrics = ("f1", "precision", "recall", "macro_f1", "token_accuracy")
    columns = (
        Column("tokens", "the words: a list, or text with spaces between them", ("words", "token"), required=False),
        Column("text", "in place of words: a plain text, split at signs", ("sentence", "content"), required=False),
        Column("tags", "a tag for every word", ("ner_tags", "labels", "tag"), required=False, label=True),
        Column(
            "spans", "in place of tags: [{start, end, label}] in characters", ("entities",), required=False, label=True
        ),
    )
    default_head = "tag"
    target = OfWords

    def example(self, row: Row) -> Example:
        words = _words(row)
        first = tuple(word.text for word in words)
        tags = _tags(row, words)
        if tags is None:
            return Example(row, (Sequence(first, overflow="window"),))
        return Example(row, (Sequence(first, target=OfWords(tags), overflow="window"),), tags)

    def labels(self, examples: Several[Example]) -> Labels:
        unlabelled = next((example.row for example in examples if example.expected is None), None)
        if unlabelled is not None:
            raise DataError(f"{unlabelled.where} has no tags and no spans; give every training row one of them")
        counts = Counter(tag for example in examples for tag in example.expected)
        types = sorted({tag[2:] for tag in counts if tag != OUTSIDE})
        if not types:
            raise DataError(f"the {len(examples)} training rows hold no span, only {OUTSIDE!r}; a tagger needs spans")
        names = (OUTSIDE, *(f"{letter}-{kind}" for kind in types for letter in "BI"))
        return Labels(names, tuple(counts[name] for name in names))

    def score(self, predicted: Several[Any], expected: Several[Any]) -> Scores:
        if not expected:
            raise DataError("there are no rows to score; check the file and its tags or spans column")
        given, wanted = [list(tags) for tags in _whole(predicted, expected)], [list(tags) for tags in expected]
        measure = seqeval.precision_recall_fscore_support
        types = sorted({kind for tags in (*given, *wanted) for _, _, kind in spans(tags)})
        if types:
            columns = [column.tolist() for column in measure(wanted, given, average=None, zero_division=0)]
            precision, recall, f1, _ = measure(wanted, given, average="micro", zero_division=0)
        else:
            columns, precision, recall, f1 = [[]] * 4, 0.0, 0.0, 0.0
        names = ("precision", "recall", "f1", "support")
        same = [a == b for one, other in zip(given, wanted, strict=True) for a, b in zip(one, other, strict=True)]
        return Scores(
            values={
                "f1": float(f1),
                "precision": float(precision),
                "recall": float(recall),
                "macro_f1": sum(columns[2]) / max(1, len(types)),
                "token_accuracy": sum(same) / len(same),
            },
            per_class={kind: dict(zip(names, row, strict=True)) for kind, *row in zip(types, *columns, strict=True)},
        )

    def is_right(self, predicted: Any, expected: Any) -> bool:
        return _whole([predicted], [expected])[0] == tuple(expected)

    def counts(self, predicted: Several[Any], expected: Several[Any]) -> Array:
        """(R, 3) spans that are right, spans predicted, spans expected"""
        pairs = zip(_whole(predicted, expected), expected, strict=True)
        sets = [(set(spans(given)), set(spans(wanted))) for given, wanted in pairs]
        return np.array([(len(given & wanted), len(given), len(wanted)) for given, wanted in sets], dtype=np.int64)

    def metric_of(self, totals: Array) -> Array:
        """2 right / (predicted + expected); 0 where there are neither."""
        both = np.asarray(totals[..., 1] + totals[..., 2], dtype=np.float64)
        return np.divide(2 * totals[..., 0], both, out=np.zeros_like(both), where=both > 0)

    def strata(self, examples: Several[Example]) -> list[str]:
        """The rarest type of each row, so that rare types are spread evenly (after Sechidis et al., 2011)."""
        types = [{kind for _, _, kind in spans(example.expected)} for example in examples]
        rows = Counter(kind for row in types for kind in row)
        return [min(row, key=lambda kind: (rows[kind], kind)) if row else OUTSIDE for row in types]

    def describe(self, example: Example, answer: Answer) -> dict[str, Any]:
        words = _words(example.row)
        return {"entities": [_entity(span, words, example.row, answer) for span in spans(answer.value)]}

    def baselines(self, train: Several[Example], test: Several[Example]) -> Mapping[str, list[Any]]:
        tagged = [pair for example in train for pair in zip(example.sequences[0].first, example.expected, strict=True)]
        return {"most_frequent_tag": most_frequent_tags(tagged, [example.sequences[0].first for example in test])}


def _words(row: Row) -> list[Word]:
    """The row's words; with places where they are those of a text, else all at -1."""
    tokens, text = row.values.get("tokens"), row.values.get("text")
    if tokens is None and text is None:
        raise DataError(f"{row.where} has neither tokens nor text; expected one of them")
    if text is not None and not isinstance(text, str):
        raise DataError(f"{row.where}, column 'text': {text!r} is no text")
    if tokens is None:
        words = split(text or "")
    elif isinstance(tokens, str) and text is None:
        words = split_on_spaces(tokens)
    else:
        words = _located(row, _strings(row, "tokens", tokens), text)
    if not any(word.text.strip() for word in words):
        column = "text" if tokens is None else "tokens"
        raise DataError(
            f"{row.where}, column {column!r}: {row.values[column]!r} holds no word; fill it or remove the row"
        )
    return words


def _tags(row: Row, words: list[Word]) -> Tags | None:
    """In BIO; None where the row has neither tags nor spans."""
    named = [name for name in ("tags", "spans") if name in row.values]
    given = [name for name in named if row.values[name] is not None]
    if not named:
        return None
    if len(given) != 1:
        found = "both tags and spans" if given else f"no {' and no '.join(named)}"
        raise DataError(f"{row.where} has {found}; expected one of the two")
    if given == ["spans"]:
        return _from_offsets(row, words)
    tags = _strings(row, "tags", row.values["tags"])
    if len(tags) != len(words):
        hint = "" if "tokens" in row.values else "; map the column as tokens if spaces separate its words"
        raise DataError(f"{row.where}, column 'tags': {len(tags)} tags for {len(words)} words{hint}")
    try:
        return to_bio(tags, "bio")
    except MalformedTags as error:
        raise DataError(f"{row.where}, column 'tags', {error}") from error


def _strings(row: Row, column: str, value: Any) -> list[str]:
    """A list of texts, or a text with spaces between them."""
    if isinstance(value, str):
        return value.split()
    if not isinstance(value, (list, tuple)):
        raise DataError(f"{row.where}, column {column!r}: {value!r} is neither a list nor text")
    wrong = [(place, item) for place, item in enumerate(value, 1) if not isinstance(item, str)]
    if wrong:
        raise DataError(f"{row.where}, column {column!r}, item {wrong[0][0]}: {wrong[0][1]!r} is no text")
    return list(value)


def _located(row: Row, words: list[str], text: str | None) -> list[Word]:
    """The words with their places; where a text writes them otherwise, only spans need to know it."""
    try:
        return locate(words, text) if text is not None else [Word(word, -1, -1) for word in words]
    except ValueError as error:
        if row.values.get("spans") is None:
            return [Word(word, -1, -1) for word in words]
        raise DataError(f"{row.where}, column 'text': {error}; correct the tokens, or leave them out") from error


def _from_offsets(row: Row, words: list[Word]) -> Tags:
    """BIO tags of character spans. Raises DataError for a span that cuts into a word, or over another one."""
    given = row.values["spans"]
    if words[0].start < 0:
        raise DataError(f"{row.where}, column 'spans': spans count characters of a text, and this row has only words")
    if not isinstance(given, (list, tuple)):
        raise DataError(f"{row.where}, column 'spans': {given!r} is no list of {{start, end, label}}")
    found = sorted(((_span(row, item, words), item) for item in given), key=lambda pair: pair[0])
    for ((_, end, _), one), ((start, _, _), other) in pairwise(found):
        if start < end:
            raise DataError(
                f"{row.where}, column 'spans': {other!r} overlaps {one!r}; a word has one tag: keep the one that counts"
            )
    return from_spans([span for span, _ in found], len(words))


def _span(row: Row, item: Any, words: list[Word]) -> Span:
    where, covered = f"{row.where}, column 'spans', {item!r}", None
    if isinstance(item, Mapping):
        covered = item.get("text")
        item = [item.get(name) for name in ("start", "end", "label")]
    if not isinstance(item, (list, tuple)) or [type(part) for part in item] != [int, int, str]:
        raise DataError(f"{where}: expected {{start, end, label}}: characters from 0, the end not included, and a type")
    start, end, kind = item
    text = _text(row)
    if not (0 <= start < end <= len(text) and kind.strip()):
        raise DataError(f"{where}: the text has characters 0 to {len(text)}; expected a span within it, and a type")
    if isinstance(covered, str) and _squeezed(covered) != _squeezed(text[start:end]):
        raise DataError(
            f"{where}: at these characters the text has {text[start:end]!r}; correct the offsets{_in_halves(text)}"
        )
    inside = [index for index, word in enumerate(words) if word.start < end and start < word.end]
    if not inside:
        raise DataError(f"{where}: there is no word between these characters")
    first, last = words[inside[0]], words[inside[-1]]
    if first.start < start or end < last.end:
        cut = first if first.start < start else last
        raise DataError(
            f"{where}: it cuts into the word {cut.text!r} ({cut.start} to {cut.end}); take in or leave out all"
        )
    return inside[0], inside[-1] + 1, kind


def _squeezed(text: str) -> str:
    """Without white space: tools write line ends of a span's text in several ways."""
    return re.sub(r"\s|\\n", "", text)


def _in_halves(text: str) -> str:
    """What else may be wrong with offsets in a text of rare characters."""
    rare = next((sign for sign in text if sign > "\uffff"), None)
    return f", which count {rare!r} as one character and not as two" if rare else ""


def _text(row: Row) -> str:
    """The text in which the row's words stand, where they have places."""
    text = row.values.get("text")
    return str(row.values["tokens"] if text is None else text)


def _whole(predicted: Several[Any], expected: Several[Any]) -> list[Tags]:
    """Predicted tags as long as expected ones: words at the end that no token stands for are outside every span."""
    pairs = list(zip(predicted, expected, strict=True))
    for row, (given, wanted) in enumerate(pairs):
        if len(given) > len(wanted):
            raise ValueError(f"row {row} has {len(wanted)} words and {len(given)} predicted tags")
    return [(*given, *[OUTSIDE] * (len(wanted) - len(given))) for given, wanted in pairs]


def _entity(span: Span, words: list[Word], row: Row, answer: Answer) -> dict[str, Any]:
    start, end, kind = span
    inside, probabilities = words[start:end], answer.probabilities[start:end]
    entity = {"type": kind, "words": [word.text for word in inside], "start_word": start, "end_word": end}
    first, last = inside[0].start, inside[-1].end
    if first >= 0:
        entity |= {"text": _text(row)[first:last], "start": first, "end": last}
    if probabilities:
        entity["probability"] = sum(probabilities) / len(probabilities)
    return entity
