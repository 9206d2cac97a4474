"""The rows and splits that every peer reads, from the files of ADAPTUNE_DATA. Standard library alone.

What was cut: e2e-nlg has one reference of each attribute list, and 200 lists to be tested on.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["classify", "tag", "regress", "write"]
PARTS = ("train", "valid", "test")
PROMPT = "Attributes: {}\nDescription:\n"


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled row."""

    text: Any
    """A text, or the words of a sentence that is tagged."""
    label: Any
    """A label, one tag a word, a number, or the text to be written."""
    pair: str | None = None
    """The second text of a pair."""


Parts = dict[str, list[Row]]


@dataclass(frozen=True, slots=True)
class Task:
    """A data set, and what is learned from it."""

    name: str
    kind: Kind
    model: str
    """The folder of its base, `minilm`."""
    epochs: int
    """Passes of every peer over the training rows."""
    evaluations: int
    """On validation rows, in each pass."""
    read: Callable[[Path], Parts]
    """From the folder that holds all data sets."""

    @property
    def metric(self) -> str:
        """What is compared; larger is better, 1 perfect."""
        return {"classify": "accuracy", "tag": "f1", "regress": "pearson", "write": "token_probability"}[self.kind]


def held_out(key: str, share: float) -> bool:
    """Whether rows of this key are for validation: decided by the key alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") < share * 2**32


def banking77(data: Path) -> Parts:
    """One training row in twenty is for validation."""
    train = [Row(row["text"], row["category"]) for row in _csv(data / "banking77" / "train.csv")]
    test = [Row(row["text"], row["category"]) for row in _csv(data / "banking77" / "test.csv")]
    parts: Parts = {"train": [], "valid": [], "test": test}
    for row in train:
        parts["valid" if held_out(row.text, 0.05) else "train"].append(row)
    return parts


def clinc150(data: Path) -> Parts:
    """The 150 intents, and what is out of scope as one more."""
    found = json.loads((data / "clinc150" / "data_full.json").read_text(encoding="utf-8"))
    names = {"train": "train", "valid": "val", "test": "test"}
    return {
        part: [Row(text, intent) for text, intent in [*found[name], *found[f"oos_{name}"]]]
        for part, name in names.items()
    }


def sst2(data: Path) -> Parts:
    """Whole sentences."""
    files = {"train": "train", "valid": "dev", "test": "test"}
    parts: Parts = {}
    for part, name in files.items():
        lines = (data / "sst2" / f"stsa.binary.{name}").read_text(encoding="utf-8").splitlines()
        parts[part] = [Row(line[2:], line[0]) for line in lines if line]
    return parts


def wnut17(data: Path) -> Parts:
    """Words and BIO tags."""
    files = {"train": "wnut17train.conll", "valid": "emerging.dev.conll", "test": "emerging.test.annotated"}
    return {part: list(_conll(data / "wnut17" / name)) for part, name in files.items()}


def stsb(data: Path) -> Parts:
    """Pairs of sentences with a number from 0 to 5."""
    parts: Parts = {}
    for part, name in {"train": "train", "valid": "dev", "test": "test"}.items():
        with (data / "stsb-en-zh" / f"stsb-en-{name}.csv").open(encoding="utf-8", newline="") as file:
            parts[part] = [Row(first, float(number), second) for first, second, number in csv.reader(file)]
    return parts


def e2e_nlg(data: Path) -> Parts:
    """The first reference of each attribute list; one list in ten of the development set is for validation."""
    parts: Parts = {"train": [], "valid": []}
    for row in _first_references(data / "e2e-nlg" / "devset.csv"):
        parts["valid" if held_out(row.text, 0.1) else "train"].append(row)
    return parts | {"test": _first_references(data / "e2e-nlg" / "testset_w_refs.csv")[:200]}


def _first_references(path: Path) -> list[Row]:
    found: dict[str, str] = {}
    for row in _csv(path):
        found.setdefault(row["mr"], row["ref"])
    return [Row(PROMPT.format(attributes), text) for attributes, text in found.items()]


def _csv(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _conll(path: Path) -> Iterator[Row]:
    words: list[str] = []
    tags: list[str] = []
    for line in [*path.read_text(encoding="utf-8").split("\n"), ""]:
        fields = line.split()
        if fields:
            words.append(fields[0])
            tags.append(fields[-1])
        elif words:
            yield Row(words, tags)
            words, tags = [], []


TASKS = {
    task.name: task
    for task in (
        Task("banking77", "classify", "minilm", 5, 2, banking77),
        Task("wnut17", "tag", "minilm", 5, 2, wnut17),
        Task("e2e-nlg", "write", "smollm2", 1, 4, e2e_nlg),
        Task("stsb", "regress", "minilm", 5, 2, stsb),
        Task("sst2", "classify", "minilm", 5, 2, sst2),
        Task("clinc150", "classify", "minilm", 5, 2, clinc150),
    )
}
"""In the order in which they are measured: where time runs out, the last are missing."""


def names_of(kind: Kind, train: list[Row]) -> list[str]:
    """The labels or tags of the training rows, sorted; none where numbers or texts are learned."""
    if kind == "classify":
        return sorted({row.label for row in train})
    return sorted({tag for row in train for tag in row.label}) if kind == "tag" else []
