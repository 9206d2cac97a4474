"""Relations as SemEval-2010 task 8 writes them: a numbered sentence, its relation, a comment. Reads no files itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from adaptune.data.table import Record, Table, shown
from adaptune.data.text import lines_of

_SENTENCE = re.compile(r"\s*(\d+)\t([^\t]+)")
_COMMENT = "Comment:"


def is_semeval(line: str) -> bool:
    """Whether a line is a number, a tab and a sentence in which an entity is marked."""
    found = _SENTENCE.fullmatch(line)
    return found is not None and ("<e1>" in found[2] or "<e2>" in found[2])


def read_semeval(text: str, source: str) -> Table:
    """One record a sentence, its marks as they are; `relation` unless no sentence of the file has one (test files)."""
    table = Table(source, ("id", "text"), [])
    blocks: list[_Block] = []
    for number, line in enumerate(lines_of(text), start=1):
        if not line.strip():
            continue
        if (found := _SENTENCE.fullmatch(line)) is not None:
            blocks.append(_Block(number, found[1], _unquoted(found[2])))
        elif not blocks:
            table.reject(number, f"{shown(line)} follows no sentence; expected a number, a tab and a sentence")
        else:
            blocks[-1].add(line.strip())
    labelled = any(block.relation for block in blocks)
    if labelled:
        table.columns = ("id", "text", "relation")
    for block in blocks:
        if block.fault:
            table.reject(block.number, block.fault)
        elif labelled and not block.relation:
            table.reject(block.number, f"sentence {block.name} has no relation in the line below it; add it")
        else:
            relation = {"relation": block.relation} if labelled else {}
            table.records.append(Record(block.number, {"id": block.name, "text": block.text, **relation}))
    return table


@dataclass(slots=True)
class _Block:
    number: int
    name: str
    text: str
    relation: str = ""
    commented: bool = False
    fault: str = ""

    def add(self, line: str) -> None:
        """A line below the sentence: its relation, or a comment, which may go on."""
        if line.startswith(_COMMENT) or self.commented:
            self.commented = True
        elif not self.relation:
            self.relation = line
        else:
            self.fault = (
                f"below sentence {self.name} stand {shown(self.relation)} and {shown(line)}; expected one relation, "
                f"and {_COMMENT} before a comment"
            )


def _unquoted(text: str) -> str:
    """Without the double quotes around the sentence."""
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
