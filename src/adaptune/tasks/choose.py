"""Which of a row's options is right: multiple choice, as in RACE, ARC, SWAG, COPA. Knows no output layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence as Several
from string import ascii_uppercase
from typing import Any, Literal

import numpy as np

from adaptune.core.errors import DataError
from adaptune.core.task import Column, Task
from adaptune.core.types import Answer, Array, Example, Labels, OfOption, Row, Scores, Sequence
from adaptune.tasks._candidates import place_of, texts_of
from adaptune.tasks._plain import tfidf_cosines
from adaptune.tasks._rows import all_labelled, some_to_score, text_of


class Choose(Task):
    """Multiple choice: each row has a context or a question or both, and options, of which one is right."""

    answers: Literal["auto", "text", "letter", "number"] = "auto"
    """How the right option is named: by its text, by its letter (or the label that it has), by its number; auto: by
    whichever of them it is, and a row that could mean two options is refused."""
    first: Literal[0, 1] = 0
    """The number of the first option, where numbers name the right one."""

    metric = "accuracy"
    by_row = False
    metrics = ("accuracy",)
    columns = (
        Column("context", "what is read first, text", ("article", "passage", "premise", "ctx", "sent1", "goal"), False),
        Column("question", "what is asked, or how the options begin", ("query", "question_stem", "sent2"), False),
        Column("options", "a list of texts, or several columns", ("choices", "endings"), several=True),
        Column("answer", "the right option: number, letter or text", ("label", "answerKey", "answer_key"), label=True),
    )
    default_head = "choose"
    target = OfOption

    def example(self, row: Row) -> Example:
        context, begins = _read_first(row)
        letters, texts = _options(row)
        right = self._right(row, letters, texts) if "answer" in row.values else None
        sequences = tuple(
            Sequence(
                context, f"{begins} {text}" if begins else text, None if right is None else OfOption(place == right)
            )
            for place, text in enumerate(texts)
        )
        return Example(row, sequences, right, group=context)

    def labels(self, examples: Several[Example]) -> Labels:
        all_labelled(examples)
        return Labels(())

    def score(self, predicted: Several[Any], expected: Several[Any]) -> Scores:
        some_to_score(expected)
        return Scores({"accuracy": float(self.counts(predicted, expected)[:, 0].mean())})

    def counts(self, predicted: Several[Any], expected: Several[Any]) -> Array:
        """(R, 2) right answers, answers"""
        return np.array(
            [(given == wanted, 1) for given, wanted in zip(predicted, expected, strict=True)], dtype=np.int64
        )

    def metric_of(self, totals: Array) -> Array:
        return totals[..., 0] / totals[..., 1]

    def strata(self, examples: Several[Example]) -> list[str]:
        return [str(example.expected) for example in examples]

    def sample(self, values: Mapping[str, str]) -> dict[str, Any]:
        words = values["options"].split()
        return dict(values) | {"options": [values["options"], " ".join(words[1:]) or f"{values['options']}!"]}

    def describe(self, example: Example, answer: Answer) -> dict[str, Any]:
        probabilities = answer.probabilities or [None] * len(example.sequences)
        options = zip(_options(example.row)[1], probabilities, strict=True)
        return {
            "choice": answer.value,
            "text": _options(example.row)[1][answer.value],
            "probability": answer.probability,
            "options": [{"text": text, "probability": probability} for text, probability in options],
        }

    def baselines(self, train: Several[Example], test: Several[Example]) -> Mapping[str, list[Any]]:
        """The place most often right (of those that a row has), and the option whose words are most like the rest."""
        often = Counter(example.expected for example in train)
        places = [max(range(len(one.sequences)), key=lambda place: (often[place], -place)) for one in test]
        known = [text for example in train for text in (_asked(example), *_options(example.row)[1])]
        options = [_options(example.row)[1] for example in test]
        near = tfidf_cosines(known, map(_asked, test), options)
        return {"most_frequent_place": places, "tfidf_cosine": [int(np.argmax(cosines)) for cosines in near]}

    def _right(self, row: Row, letters: Several[str], texts: Several[str]) -> int:
        """The place of the right option. Raises DataError where it is none, or could be two."""
        where, value = f"{row.where}, column 'answer'", row.values["answer"]
        found = {
            "text": _place_in([" ".join(text.split()) for text in texts], value),
            "letter": _place_in(letters, value),
            "number": place_of(value, len(texts), self.first),
        }
        if found["letter"] is not None and letters != _LETTERS[: len(texts)]:
            found["number"] = None  # the options have labels of their own, perhaps 1, 2, 3
        allowed = [name for name in found if self.answers in ("auto", name)]
        places = {name: place for name in allowed if (place := found[name]) is not None}
        if len(set(places.values())) > 1:
            two = " or ".join(f"the {name} of option {place + 1}" for name, place in places.items())
            raise DataError(f"{where}: {value!r} could be {two}; set task.answers: {' or '.join(places)}")
        if not places:
            last = self.first + len(texts) - 1
            known = {
                "text": "its text",
                "letter": ", ".join(letters),
                "number": f"a number from {self.first} to {last}",
            }
            raise DataError(
                f"{where}: {value!r} names no option; expected {' or '.join(known[name] for name in allowed)} "
                "(task.first is the number of the first option)"
            )
        return next(iter(places.values()))


_LETTERS = list(ascii_uppercase)


def _place_in(names: Several[str], value: Any) -> int | None:
    named = " ".join(value.split()) if isinstance(value, str) else None
    return names.index(named) if named in names else None


def _read_first(row: Row) -> tuple[str, str]:
    """The text that every option is read with, and the one that it follows. Raises DataError where there is neither."""
    context, question = (text_of(row, name) if name in row.values else "" for name in ("context", "question"))
    if not context and not question:
        raise DataError(f"{row.where} has neither a context nor a question; name its column in data.columns")
    return (context, question) if context else (question, "")


def _options(row: Row) -> tuple[list[str], list[str]]:
    """What names each option, and its text. Raises DataError for fewer than two, or two that are equal."""
    value = row.values.get("options")
    where = f"{row.where}, column 'options'"
    if isinstance(value, Mapping) and isinstance(value.get("text"), (list, tuple, np.ndarray)):
        names, given = value.get("label"), value["text"]
    elif isinstance(value, (list, tuple, np.ndarray)) and len(value) and all(isinstance(one, Mapping) for one in value):
        names, given = [one.get("label") for one in value], [one.get("text") for one in value]
    else:
        names, given = None, value
    texts = texts_of(Row(row.source, row.number, {"options": given}), "options")
    if len(texts) < 2:
        raise DataError(f"{where}: there is one option alone, {texts[0]!r}; give others, or remove the row")
    if len(texts) > len(_LETTERS) and names is None:
        raise DataError(f"{where}: there are {len(texts)} options, and letters for {len(_LETTERS)}; give fewer")
    letters = _LETTERS[: len(texts)] if names is None else [str(name) for name in names]
    if len(set(letters)) != len(texts):
        raise DataError(f"{where}: {len(texts)} options have the labels {letters!r}; give each one of its own")
    return letters, texts


def _asked(example: Example) -> str:
    """Context and question together."""
    return " ".join(part for part in _read_first(example.row) if part)
