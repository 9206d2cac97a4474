"""A text after a text: data to text, questions to answers, anything that is written. Knows no output layer."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Several
from typing import Any

from adaptune.core.task import Column
from adaptune.core.types import Example
from adaptune.tasks._plain import majority
from adaptune.tasks._text_to_text import SOURCES, TARGETS, TextToText, first_texts


class Write(TextToText):
    """A text by what it is given, such as facts in attributes; judged by BLEU: sacreBLEU's number divided by 100."""

    columns = (
        Column("source", "what it is written from", (*SOURCES, "mr", "meaning_representation", "data", "question")),
        Column("target", "the text, or a list of texts of which any will do", (*TARGETS, "ref", "answer"), label=True),
    )

    def baselines(self, train: Several[Example], test: Several[Example]) -> Mapping[str, list[Any]]:
        targets = first_texts([example.expected for example in train])
        return {**super().baselines(train, test), "most_frequent": majority(targets, len(test))}
