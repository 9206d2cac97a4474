"""The texts of a file that every row is answered from. Knows no task."""

from __future__ import annotations

from pathlib import Path

from adaptune.core.errors import DataError
from adaptune.core.log import notice
from adaptune.core.task import Column
from adaptune.data.config import DataConfig
from adaptune.data.read import read

_TEXT = Column("text", "a text that is searched", ("document", "passage", "candidate", "content", "title", "name"))


def read_corpus(path: str | Path, config: DataConfig) -> tuple[tuple[str, ...], str]:
    """Its different texts, in order, and the SHA-256 of the file. Raises DataError with file and row."""
    columns = {} if config.corpus_column is None else {"text": config.corpus_column}
    found = read(path, config.model_copy(update={"columns": columns}), [_TEXT])
    texts: list[str] = []
    for row in found.rows:
        text = row.values["text"]
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{row.where}: {text!r} is no text that could be searched; fill or remove the row")
        texts.append(text)
    different = tuple(dict.fromkeys(texts))
    if len(different) < len(texts):
        notice(f"{path}: {len(texts) - len(different):,} of its texts repeat others, and are searched once")
    return different, found.fingerprint
