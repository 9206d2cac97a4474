"""A short text for a long one. Knows no output layer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Sequence as Several
from statistics import fmean
from typing import Any, ClassVar

import numpy as np

from adaptune.core.task import Column
from adaptune.core.types import Array, Example
from adaptune.tasks._text_scores import ROUGES, rouge
from adaptune.tasks._text_to_text import SOURCES, TARGETS, TextToText, first_texts

_SENTENCE = re.compile(r"[^.!?。！？]+[.!?。！？]*\s*")


class Summarise(TextToText):
    """Summaries, judged by the mean F1 of ROUGE-L; of several references the best counts."""

    metric: ClassVar[str] = "rougeL"
    columns = (
        Column("source", "the text to summarise", (*SOURCES, "document", "article", "text", "dialogue", "content")),
        Column("target", "its summary, or a list of such", (*TARGETS, "summary", "highlights", "tldr"), label=True),
    )

    def counts(self, predicted: Several[Any], expected: Several[Any]) -> Array:
        """(R, 2) ROUGE-L, 1"""
        found = rouge(first_texts(predicted), expected)[:, ROUGES.index("rougeL")]
        return np.stack([found, np.ones(len(found))], axis=1)

    def metric_of(self, totals: Array) -> Array:
        return totals[..., 0] / totals[..., 1]

    def baselines(self, train: Several[Example], test: Several[Example]) -> Mapping[str, list[Any]]:
        """The first sentences, as many as a training summary has on average."""
        count = round(fmean(len(sentences(text)) for text in first_texts([example.expected for example in train])))
        texts = [str(example.sequences[0].first) for example in test]
        return {f"lead_{max(1, count)}": ["".join(sentences(text)[: max(1, count)]).strip() for text in texts]}


def sentences(text: str) -> list[str]:
    """A text cut behind its full stops, with what follows them up to the next sentence."""
    return _SENTENCE.findall(text)
