"""Suggested rows as annotation tools import them, with what the bundle says of each as a first idea.

Label Studio: https://labelstud.io/guide/predictions, tasks with `predictions`. doccano: JSONL with `text` and `label`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

from adaptune.bundle.load import Bundle
from adaptune.core.errors import Unsupported
from adaptune.core.files import write_json, write_json_lines
from adaptune.core.log import notice
from adaptune.core.task import Task
from adaptune.core.types import Example, OfLabels, OfMarked, OfWords
from adaptune.labels.suggesting import Suggested, Suggestion

Tool = Literal["label-studio", "doccano", "jsonl"]
SHOWN = "shown"
"""The column of a text with its two entities between signs."""
TEXT = "text"


class Form:
    """How rows of one bundle's task become records of a tool."""

    def __init__(self, task: Task, columns: Mapping[str, str], labels: Sequence[str], version: str) -> None:
        """`columns`: the training files' names by the task's. `version`: what the tool shows as the model's."""
        self.task, self.columns, self.labels, self.version = task, columns, labels, version
        named = [column.name for column in task.columns if column.label]
        own = next((name for name in named if name in columns), named[0] if named else "label")
        self.label = "label" if task.target is OfWords else columns.get(own, own)
        """The name of the column that labels come back in."""

    def check(self, tool: Tool, examples: Sequence[Example]) -> None:
        """Raises Unsupported for rows that a tool cannot show or label."""
        if tool == "jsonl":
            return
        if self.task.name not in TOOLS[tool]:
            raise Unsupported(
                f"--format {tool}: rows of task {self.task.name!r} cannot be labelled there by what can be read back "
                f"(those of {', '.join(TOOLS[tool])} can); use --format jsonl"
            )
        self._say(tool)
        for example in examples:
            if not isinstance(example.row.values.get(TEXT), str):
                raise Unsupported(
                    f"--format {tool}: {example.row.where} has words and no text to be shown; give a column of texts, "
                    "or use --format jsonl"
                )
            if tool == "doccano" and "pair" in example.row.values:
                raise Unsupported("--format doccano: it shows one text a row, and these have two; use label-studio")

    def _say(self, tool: Tool) -> None:
        """What the way back needs, where it is not the usual one."""
        text = self.columns.get(TEXT, TEXT)
        if tool == "doccano" and (text, self.label) != (TEXT, "label"):
            notice(
                f"doccano calls its columns text and label, and the recipe calls them {text!r} and {self.label!r}: "
                "rename them in the export before it joins other rows"
            )
        separator = getattr(self.task, "separator", None)
        if tool == "label-studio" and separator and (cut := [name for name in self.labels if separator in name]):
            notice(
                f"the label {cut[0]!r} has {separator!r} in it, by which labels of one text are told apart: export as "
                "JSON, not as JSON-MIN, or set task.separator"
            )

    def record(self, tool: Tool, row: Suggestion) -> dict[str, Any]:
        """One row."""
        if tool == "label-studio":
            return self._task(row)
        return self._line(row) if tool == "doccano" else self._plain(row)

    def _values(self, example: Example) -> dict[str, Any]:
        return {self.columns.get(name, name): value for name, value in example.row.values.items()}

    def _said(self, row: Suggestion) -> dict[str, Any]:
        return {} if row.answer is None else self.task.describe(row.example, row.answer)

    def _plain(self, row: Suggestion) -> dict[str, Any]:
        said = {"suggested": self._said(row)} if row.answer is not None else {}
        unsure = {} if row.uncertainty is None else {"uncertainty": round(row.uncertainty, 4)}
        return {**_where(row), **said, **unsure, **self._values(row.example)}  # a row's own columns come first

    def _line(self, row: Suggestion) -> dict[str, Any]:
        return {"text": row.example.row.values[TEXT], "label": self._labels(row), **_where(row)}

    def _labels(self, row: Suggestion) -> list[Any]:
        """Labels, or spans with their types."""
        if row.answer is None:
            return []
        if self.task.target is OfWords:
            return [[one["start"], one["end"], one["type"]] for one in self._said(row)["entities"]]
        return list(row.answer.value) if self.task.target is OfLabels else [row.answer.value]

    def _task(self, row: Suggestion) -> dict[str, Any]:
        data, unsure = self._values(row.example), row.uncertainty
        if self.task.target is OfMarked:
            data[SHOWN] = row.example.sequences[0].first
        meta = _where(row) | ({} if unsure is None else {"uncertainty": round(unsure, 4)})
        found: dict[str, Any] = {"data": data, "meta": meta}
        if row.answer is not None:
            score = {} if row.answer.probability is None else {"score": round(row.answer.probability, 4)}
            results = [self._result(place, *of) for place, of in enumerate(self._results(row), start=1)]
            found["predictions"] = [{"model_version": self.version, **score, "result": results}]
        return found

    def _result(self, place: int, kind: str, value: dict[str, Any]) -> dict[str, Any]:
        return {"id": str(place), "from_name": self.label, "to_name": TEXT, "type": kind, "value": value}

    def _results(self, row: Suggestion) -> list[tuple[str, dict[str, Any]]]:
        if self.task.target is OfWords:
            text = row.example.row.values[TEXT]
            return [
                ("labels", {"start": start, "end": end, "text": text[start:end], "labels": [kind]})
                for start, end, kind in self._labels(row)
            ]
        if row.answer is not None and isinstance(row.answer.value, float | int):
            return [("number", {"number": round(float(row.answer.value), 4)})]
        labels = self._labels(row)
        return [("choices", {"choices": labels})] if labels else []

    def setup(self) -> str:
        """The labelling interface of a Label Studio project for these rows."""
        texts = [(TEXT, SHOWN if self.task.target is OfMarked else self.columns.get(TEXT, TEXT))]
        texts += [("pair", self.columns.get("pair", "pair"))] if "pair" in self.columns else []
        lines = [f"  <Text name={quoteattr(name)} value={quoteattr('$' + column)}/>" for name, column in texts]
        kind, item, more = self._control()
        names = f"name={quoteattr(self.label)} toName={quoteattr(TEXT)}{more}"
        if not item:
            return "\n".join(["<View>", *lines, f"  <{kind} {names}/>", "</View>"])
        items = [f"    <{item} value={quoteattr(label)}/>" for label in self._shown_labels()]
        return "\n".join(["<View>", *lines, f"  <{kind} {names}>", *items, f"  </{kind}>", "</View>"])

    def _control(self) -> tuple[str, str, str]:
        if self.task.target is OfWords:
            return "Labels", "Label", ""
        if not self.labels:
            return "Number", "", ""
        return "Choices", "Choice", ' choice="multiple"' if self.task.target is OfLabels else ' choice="single"'

    def _shown_labels(self) -> list[str]:
        """Of tags their types."""
        if self.task.target is not OfWords:
            return list(self.labels)
        return list(dict.fromkeys(label[2:] for label in self.labels if label[:2] in ("B-", "I-")))


def form_of(bundle: Bundle, rows: Sequence[Example], tool: Tool) -> Form:
    """The form of a bundle's rows, once it is clear that a tool can show and label them. Raises Unsupported."""
    form = Form(bundle.task, bundle.manifest.columns, bundle.assembly.labels.names, f"adaptune {bundle.name}")
    form.check(tool, rows)
    return form


def write_suggested(found: Suggested, form: Form, tool: Tool, out: Path) -> None:
    """One list for Label Studio, else a line a row."""
    records = [form.record(tool, row) for row in found.rows]
    if tool == "label-studio":
        write_json(out, records)
    else:
        write_json_lines(out, records)


TOOLS: dict[Tool, tuple[str, ...]] = {
    "label-studio": ("classify", "multilabel", "regress", "match", "tag", "relate"),
    "doccano": ("classify", "multilabel", "tag"),
}
"""The tasks whose exports of a tool can be read back."""


def _where(row: Suggestion) -> dict[str, Any]:
    return {"source": row.example.row.source, "row": row.example.row.number}
