"""Texts with marked spans as annotation tools write them in JSON, as one `spans` column. Knows no words and no tags.

doccano, Label Studio (JSON and JSON-MIN), CLUENER and spaCy are told by what their rows hold, not by names of files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from adaptune.core.errors import DataError
from adaptune.data.formats.doccano import check_row
from adaptune.data.formats.label_studio import SPANS, is_task, row_of_task, without_choices
from adaptune.data.table import Record, Table, shown

_KNOWN = (SPANS, "entities")
"""Names that tasks know such a column by."""
_STARTS, _ENDS, _KINDS = ("start", "start_offset"), ("end", "end_offset"), ("label", "labels", "type")
_CLUENER = "expected CLUENER's form, {type: {text: [[first, last], ...]}}, both characters included"


def row_of_tool(value: Any) -> Any:
    """A row of JSON without the wrapping of Label Studio or spaCy; every other one as it is.

    Raises ValueError with the reason for one of Label Studio or doccano that cannot be used.
    """
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], dict):
        return {"text": value[0], **value[1]} if "entities" in value[1] else value
    if not isinstance(value, dict):
        return value
    if is_task(value):
        return row_of_task(value)
    check_row(value)
    if _spans_in(value.get("ents")) and isinstance(value.get("text"), str):
        return _document_of_spacy(value)
    return without_choices(value)


def with_spans(table: Table, mapped: Collection[str]) -> None:
    """Bring the column that holds marked spans into one form, and under the name `spans` where it has no usual one.

    `mapped` are the columns that the recipe names itself: they keep their names. Rows that are malformed are set aside.
    Raises DataError where several columns hold spans.
    """
    forms = {name: form for name in table.columns if (form := _form_of(table, name)) is not None}
    free = [name for name in forms if name not in mapped]
    if len(free) > 1 and len(free) == len(forms):
        found = " and ".join(map(repr, free))
        raise DataError(
            f"{table.source}: the columns {found} all hold marked spans; say which: data.columns: {{spans: {free[0]}}}"
        )
    renamed = free[0] if len(free) == len(forms) == 1 and not set(_KNOWN) & set(table.columns) else ""
    records = []
    for record in table.records if forms else ():
        try:
            values = {name: _converted(name, forms.get(name), value) for name, value in record.values.items()}
        except ValueError as error:
            table.reject(record.number, str(error))
            continue
        records.append(Record(record.number, {SPANS if name == renamed else name: values[name] for name in values}))
    if forms:
        table.records = records
    table.columns = tuple(SPANS if name == renamed else name for name in table.columns)


def holds_spans(table: Table, records: Sequence[Record]) -> bool:
    """Whether some of a table's records show a column of marked spans."""
    some = Table(table.source, table.columns, list(records))
    return any(_form_of(some, name) is not None for name in some.columns)


def _form_of(table: Table, name: str) -> str | None:
    """Which form of spans a column holds, by the first of its values that shows one."""
    values = [record.values.get(name) for record in table.records]
    if any(_spans_in(value) for value in values):
        return "listed"
    return "cluener" if any(_is_cluener(value) for value in values) else None


def _converted(name: str, form: str | None, value: Any) -> Any:
    if form is None or value is None:
        return value
    if form == "cluener":
        return _of_cluener(name, value)
    return [_span(item) for item in value] if isinstance(value, list) else value


def _spans_in(value: Any) -> bool:
    """Whether this is a list of which some item is a span with its type."""
    return isinstance(value, list) and any(_is_span(item) for item in value)


def _is_span(item: Any) -> bool:
    if isinstance(item, list):
        return [type(part) for part in item] == [int, int, str]
    if not isinstance(item, dict):
        return False
    typed = any(isinstance(item.get(name), (str, list)) for name in _KINDS)
    return type(_first(item, _STARTS)) is int and type(_first(item, _ENDS)) is int and typed


def _span(item: Any) -> Any:
    """As {start, end, label}; what lacks a part stays as it is, for the task to refuse."""
    if not isinstance(item, dict):
        return item
    kind = _first(item, _KINDS)
    if isinstance(kind, list) and len(kind) == 1:
        kind = kind[0]
    span = {"start": _first(item, _STARTS), "end": _first(item, _ENDS), "label": kind}
    if any(part is None for part in span.values()):
        return item
    return span | ({"text": item["text"]} if isinstance(item.get("text"), str) else {})


def _first(item: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((item[name] for name in names if item.get(name) is not None), None)


def _is_cluener(value: Any) -> bool:
    """Whether this is {type: {text: [[first, last]]}}."""
    if not isinstance(value, dict) or not all(isinstance(texts, dict) and texts for texts in value.values()):
        return False
    places = [places for texts in value.values() for places in texts.values()]
    return all(isinstance(several, list) for several in places) and any(
        isinstance(place, list) and [type(part) for part in place] == [int, int]
        for several in places
        for place in several
    )


def _of_cluener(name: str, value: Any) -> list[dict[str, Any]]:
    """Spans in the order of their text; CLUENER's ends are included, ours are not."""
    if not isinstance(value, dict):
        raise ValueError(f"column {name!r}: {shown(value)}; {_CLUENER}")
    found = []
    for kind, texts in value.items():
        for text, places in texts.items() if isinstance(texts, dict) else ((None, None),):
            for place in places if isinstance(places, list) and places else (None,):
                if not isinstance(place, list) or [type(part) for part in place] != [int, int]:
                    raise ValueError(f"column {name!r}, type {kind!r}: {shown(texts)}; {_CLUENER}")
                found.append({"start": place[0], "end": place[1] + 1, "label": kind, "text": text})
    return sorted(found, key=lambda span: (span["start"], span["end"]))


def _document_of_spacy(value: Mapping[str, Any]) -> dict[str, Any]:
    """What `Doc.to_json` gives, its tokens as words."""
    own = {name: part for name, part in value.items() if name not in ("ents", "tokens")}
    tokens, text = value.get("tokens") or (), value["text"]
    words = {"tokens": [text[one["start"] : one["end"]] for one in tokens]} if tokens and _are_places(tokens) else {}
    return {**own, **words, SPANS: value["ents"]}


def _are_places(tokens: Any) -> bool:
    return isinstance(tokens, list) and all(
        isinstance(one, dict) and type(one.get("start")) is int and type(one.get("end")) is int for one in tokens
    )
