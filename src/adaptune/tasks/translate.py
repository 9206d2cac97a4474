"""A text in another language. Knows no output layer and no languages."""

from __future__ import annotations

from adaptune.core.task import Column
from adaptune.tasks._text_to_text import SOURCES, TARGETS, TextToText


class Translate(TextToText):
    """Translation, judged by BLEU: sacreBLEU's number divided by 100."""

    columns = (
        Column("source", "the text to translate", (*SOURCES, "source_text", "text")),
        Column("target", "its translation, or a list of such", (*TARGETS, "translation", "target_text"), label=True),
    )
