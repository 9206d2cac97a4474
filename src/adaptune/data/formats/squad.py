"""SQuAD's JSON, as CMRC 2018 and XQuAD have it too: articles of paragraphs of questions, as one row a question."""

from __future__ import annotations

from typing import Any

from adaptune.core.errors import DataError
from adaptune.data.table import shown


def is_squad(value: Any) -> bool:
    """Whether this is `{"data": [{"paragraphs": [...]}]}`."""
    articles = value.get("data") if isinstance(value, dict) else None
    return isinstance(articles, list) and any(isinstance(one, dict) and "paragraphs" in one for one in articles)


def squad_rows(value: Any, source: str) -> list[Any]:
    """Every question with its paragraph's context and its article's title. Raises DataError for what holds none."""
    rows: list[Any] = []
    for number, article in enumerate(value["data"], start=1):
        where = f"{source}, article {number}"
        title = {"title": article["title"]} if isinstance(article, dict) and "title" in article else {}
        for place, paragraph in enumerate(_list(article, "paragraphs", where), start=1):
            questions = _list(paragraph, "qas", f"{where}, paragraph {place}")
            above = title | ({"context": paragraph["context"]} if "context" in paragraph else {})
            rows += [{**above, **asked} if isinstance(asked, dict) else asked for asked in questions]
    return rows


def _list(value: Any, key: str, where: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if isinstance(found, list):
        return found
    what = f"has {shown(found)} as {key!r}" if isinstance(value, dict) and key in value else f"has no {key!r}"
    raise DataError(
        f'{where}: {shown(value, 60)} {what}; expected SQuAD\'s form, {{"data": [{{"paragraphs": [{{"context": ..., '
        '"qas": [...]}]}]}'
    )
