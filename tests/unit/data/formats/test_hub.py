"""Data sets of a hub, by a stand-in for the library that loads them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from adaptune.core.errors import DataError, MissingExtra
from adaptune.data.formats import hub
from adaptune.data.formats.hub import parse, read_hub


class Split(list):
    """As much of a datasets.Dataset as is read."""

    _fingerprint = "0123abcd"

    def __init__(self, rows, **features):
        super().__init__(rows)
        self.features = features
        self.column_names = list(features)


PLAIN = SimpleNamespace()
CLASSES = SimpleNamespace(names=["negative", "positive"])
TAGS = SimpleNamespace(feature=SimpleNamespace(names=["O", "B-PER", "I-PER"]))


@pytest.fixture
def load(monkeypatch):
    """What the library was asked for; it gives the splits that a test sets."""
    asked = SimpleNamespace(calls=[], splits={})

    def load_dataset(name, config):
        asked.calls.append((name, config))
        if isinstance(asked.splits, Exception):
            raise asked.splits
        return asked.splits

    monkeypatch.setattr(hub, "datasets", SimpleNamespace(load_dataset=load_dataset))
    return asked


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("hub:imdb", ("imdb", None, None)),
        ("hub:PolyAI/banking77", ("PolyAI/banking77", None, None)),
        ("hub:glue:sst2", ("glue", "sst2", None)),
        ("hub:glue:mnli@validation_matched", ("glue", "mnli", "validation_matched")),
        ("hub:imdb@unsupervised", ("imdb", None, "unsupervised")),
    ],
)
def test_an_address_names_data_set_configuration_and_split(source, address):
    assert parse(source) == address


@pytest.mark.parametrize("source", ["hub:", "hub::sst2", "hub:imdb@"])
def test_half_an_address_is_refused(source):
    with pytest.raises(DataError, match="expected hub:NAME, hub:NAME:CONFIG or hub:NAME:CONFIG@SPLIT"):
        parse(source)


@pytest.mark.parametrize(("part", "number"), [("train", 1), ("valid", 2), ("test", 3)])
def test_each_part_of_a_run_takes_its_split(load, part, number):
    load.splits = {name: Split([{"id": n}], id=PLAIN) for n, name in [(1, "train"), (2, "validation"), (3, "test")]}
    table, fingerprint = read_hub("hub:glue:sst2", part)
    assert load.calls == [("glue", "sst2")]
    assert [(record.number, dict(record.values)) for record in table.records] == [(1, {"id": number})]
    assert fingerprint == "0123abcd"


def test_numbered_classes_get_their_names(load):
    rows = [{"text": "a", "label": 1, "tags": [1, 2, 0]}, {"text": "b", "label": -1, "tags": []}]
    load.splits = {"train": Split(rows, text=PLAIN, label=CLASSES, tags=TAGS)}
    table, _ = read_hub("hub:reviews", "train")
    assert table.columns == ("text", "label", "tags")
    assert [dict(record.values) for record in table.records] == [
        {"text": "a", "label": "positive", "tags": ["B-PER", "I-PER", "O"]},
        {"text": "b", "label": None, "tags": []},
    ]


def test_a_split_that_is_not_there_is_named(load):
    load.splits = {"train": Split([]), "validation": Split([])}
    with pytest.raises(DataError, match=r"has no split 'test' \(it has: train, validation\); name one: hub:NAME@SPLIT"):
        read_hub("hub:reviews", "test")


def test_a_data_set_that_cannot_be_loaded_is_named_with_the_reason(load):
    load.splits = ConnectionError("no route to the hub\nand a long trace")
    with pytest.raises(DataError, match="hub:reviews cannot be loaded: no route to the hub; check its name"):
        read_hub("hub:reviews", "train")


def test_without_datasets_the_message_says_what_to_install(monkeypatch):
    class Missing:
        @property
        def load_dataset(self):
            raise ModuleNotFoundError("No module named 'datasets'")

    monkeypatch.setattr(hub, "datasets", Missing())
    with pytest.raises(MissingExtra, match=r"needs datasets, .* pip install 'adaptune\[hub\]'"):
        read_hub("hub:reviews", "train")
