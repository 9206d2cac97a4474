"""Data sets of a hub row by row, by the library itself, from folders that are laid out as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adaptune.core.errors import DataError
from adaptune.data import stream
from adaptune.data.config import DataConfig
from adaptune.data.formats.hub import Drawn, open_hub, size_of_hub
from adaptune.data.load import load_splits
from adaptune.data.stored import Stored
from adaptune.data.stream import is_streamed, load_examples
from adaptune.tasks import TASKS

datasets = pytest.importorskip("datasets", reason="data sets of a hub need the library datasets")

ROWS = [{"text": f"text {number}", "label": number % 2} for number in range(300)]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library keeps what it makes in a folder of the test."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "kept")


@pytest.fixture
def jsonl(tmp_path: Path) -> str:
    """A folder as data sets are laid out: a file a split, of rows without named classes."""
    folder = tmp_path / "set"
    folder.mkdir()
    for split, rows in (("train", ROWS), ("test", ROWS[:20])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"hub:{folder}"


@pytest.fixture
def parquet(tmp_path: Path) -> str:
    """A folder of parquet files with named classes, and a card that says how large they are."""
    folder = tmp_path / "card"
    (folder / "data").mkdir(parents=True)
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["good", "bad"])}
    )
    for part in range(2):
        made = datasets.Dataset.from_list(ROWS[part::2], features=features)
        made.to_parquet(folder / "data" / f"train-0000{part}-of-00002.parquet")
    (folder / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n  - name: label\n    dtype:\n"
        "      class_label:\n        names:\n          '0': good\n          '1': bad\n  splits:\n  - name: train\n"
        "    num_bytes: 40000000\n    num_examples: 300\n  download_size: 30000000\n  dataset_size: 40000000\n"
        "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n---\n"
    )
    return f"hub:{folder}"


def rows(source: str, drawn: Drawn | None = None, part: str = "train") -> list[dict[str, Any]]:
    return [dict(record.values) for record in open_hub(source, part, drawn).records]


def test_a_stream_holds_every_row_in_order(jsonl: str) -> None:
    opened = open_hub(jsonl, "train")
    assert opened.table.columns == ("text", "label")
    assert [(record.number, dict(record.values)) for record in opened.records] == list(enumerate(ROWS, 1))
    assert rows(jsonl, part="test") == ROWS[:20]


def test_named_classes_have_their_names_in_a_stream_too(parquet: str) -> None:
    found = rows(parquet)
    assert {row["text"]: row["label"] for row in found} == {
        row["text"]: ("good", "bad")[int(str(row["label"]))] for row in ROWS
    }


def test_some_rows_of_a_stream_are_drawn_by_the_seed(jsonl: str) -> None:
    one, same, other = (rows(jsonl, Drawn(40, seed)) for seed in (1, 1, 2))
    assert one == same != other
    assert len(one) == 40 == len({row["text"] for row in one})
    assert all(row in ROWS for row in one)


def test_a_data_set_that_says_that_it_is_large_is_streamed(parquet: str, jsonl: str) -> None:
    assert size_of_hub(parquet, "train") == 40_000_000
    assert is_streamed(parquet, DataConfig(train=parquet))
    assert not is_streamed(jsonl, DataConfig(train=jsonl))
    assert size_of_hub("hub:no/such-set", "train") == 0


def test_a_streamed_data_set_gives_the_rows_and_parts_that_a_loaded_one_gives(
    jsonl: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "AT_ONCE", 64)
    task = TASKS.get("classify")()
    whole, streamed = (
        load_splits(DataConfig(train=jsonl, test=jsonl, stream=how), task, seed=1) for how in ("never", "always")
    )
    assert streamed.parts == whole.parts
    again = load_splits(DataConfig(train=jsonl, test=jsonl, stream="always"), task, seed=1)
    assert again.fingerprints == streamed.fingerprints


@pytest.mark.parametrize("rows_wanted", [20, 100])
def test_so_many_training_rows_are_left_after_parts_were_cut(jsonl: str, rows_wanted: int) -> None:
    config = DataConfig(train=jsonl, stream="always", train_rows=rows_wanted, valid_share=0.2, test_share=0.2)
    parts = load_splits(config, TASKS.get("classify")(), seed=1).parts
    assert len(parts["train"]) == rows_wanted
    texts = [example.row.values["text"] for part in parts.values() for example in part]
    assert len(texts) == len(set(texts))


def test_what_goes_wrong_within_a_stream_is_told_with_its_source(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"text": "a", "label": "x"}\nno json at all\n')
    with pytest.raises(DataError, match="broken cannot be loaded"):
        load_examples(f"hub:{folder}", DataConfig(train="x", stream="always"), TASKS.get("classify")(), part="train")


def test_a_store_is_filled_from_a_stream(parquet: str) -> None:
    found = load_examples(parquet, DataConfig(train=parquet), TASKS.get("classify")(), part="train")
    assert isinstance(found.examples, Stored)
    assert len(found.examples) == 300
    assert {example.expected for example in found.examples} == {"good", "bad"}
    assert len(found.fingerprint) == 64
