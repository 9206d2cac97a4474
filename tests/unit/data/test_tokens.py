"""Tokens of a part: made now, later, or found in the cache, they are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from adaptune.core.batch import Encoded
from adaptune.core.types import Example, Labels, Row
from adaptune.data import token_cache, tokens
from adaptune.data.batches import Batches, Budget
from adaptune.data.chunks import ChunkedBatches, batches_of
from adaptune.data.packed import pack
from adaptune.data.stored import Rows, Stored
from adaptune.data.tokens import Encoder, Tokens, encoded_all
from adaptune.tasks.classify import Classify
from adaptune.tasks.tag import Tag

LABELS = Labels(("x", "y"))
WORDS = "the film was good and the book is not bad at all my big blue house again".split()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder of tokens; every part is large enough for it."""
    monkeypatch.setenv("ADAPTUNE_CACHE", str(tmp_path))
    monkeypatch.setattr(tokens, "PAYS_FROM", 1)
    return tmp_path / "tokens"


@pytest.fixture(scope="module")
def wordpiece(tiny_bert: Path) -> Any:
    """A tokenizer of words and pieces."""
    return AutoTokenizer.from_pretrained(tiny_bert)


@pytest.fixture(scope="module")
def byte_level(tiny_gpt2: Path) -> Any:
    """One of bytes."""
    return AutoTokenizer.from_pretrained(tiny_gpt2)


@pytest.fixture
def encoder(wordpiece: Any) -> Encoder:
    return Encoder(wordpiece, LABELS, max_length=8, segments=True)


def rows_of(count: int = 50) -> list[Example]:
    """Texts of one to eight words, of two classes."""
    texts = [" ".join(WORDS[number % 9 : number % 9 + 1 + number % 8]) for number in range(count)]
    values = [{"text": text, "label": "xy"[number % 2]} for number, text in enumerate(texts)]
    return [Classify().example(Row("a.csv", number, value)) for number, value in enumerate(values, 2)]


def stored(examples: list[Example], task: Any = None) -> Stored:
    rows = Rows(task or Classify())
    rows.extend(examples)
    return rows.finish()


def contents(encoded: list[Encoded]) -> list[tuple[int, bytes]]:
    return [(one.row, pack([one])) for one in encoded]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each call tokenised."""
    found: list[int] = []
    made = Encoder.__call__

    def counted(self: Encoder, examples: Any) -> list[Encoded]:
        found.append(len(examples))
        return made(self, examples)

    monkeypatch.setattr(Encoder, "__call__", counted)
    return found


def test_a_second_run_finds_the_same_tokens_and_makes_none(encoder: Encoder, calls: list[int]) -> None:
    first = encoded_all(rows_of(), encoder, cache=True)
    again = encoded_all(rows_of(), encoder, cache=True)
    assert contents(again) == contents(first)
    assert calls == [50]


def test_windows_of_tagged_words_are_found_again(wordpiece: Any, calls: list[int]) -> None:
    task = Tag()
    values = [{"tokens": WORDS[: 3 + n], "tags": ["B-X"] + ["O"] * (2 + n)} for n in range(12)]
    examples = [task.example(Row("a.jsonl", number, value)) for number, value in enumerate(values, 1)]
    encoder = Encoder(wordpiece, Labels(("O", "B-X", "I-X")), max_length=8, segments=False)
    first = encoded_all(examples, encoder, cache=True)
    assert len(first) > len(examples)
    assert contents(encoded_all(examples, encoder, cache=True)) == contents(first)
    lazily = Tokens(stored(examples, task), encoder, cache=True)
    assert contents(lazily.of(np.arange(12))) == contents(first)


def test_other_rows_settings_or_tokenizers_find_nothing(encoder: Encoder, folder: Path, byte_level: Any) -> None:
    examples = rows_of()
    changed = Classify().example(Row("a.csv", 2, {"text": "the film was bad", "label": "x"}))
    relabelled = Classify().example(Row("a.csv", 2, {"text": examples[0].row.values["text"], "label": "y"}))
    keys = {
        encoder.key(examples),
        encoder.key([changed, *examples[1:]]),
        encoder.key([relabelled, *examples[1:]]),
        encoder.key(examples[:-1]),
        encoder.key(examples[::-1]),
        replace(encoder, max_length=7).key(examples),
        replace(encoder, segments=False).key(examples),
        replace(encoder, labels=Labels(("y", "x"))).key(examples),
        replace(encoder, tokenizer=byte_level).key(examples),
    }
    assert len(keys) == 9


def test_names_of_files_and_what_a_tokenizer_did_before_change_no_key(encoder: Encoder) -> None:
    examples = rows_of()
    moved = [replace(one, row=Row("b.csv", one.row.number + 9, one.row.values)) for one in examples]
    before = encoder.key(examples)
    encoder(examples)
    assert encoder.key(moved) == before
    assert encoder.key(stored(examples)) == encoder.key(stored(moved))


def test_parts_with_few_rows_and_runs_that_say_so_leave_the_cache_alone(
    encoder: Encoder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded_all(rows_of(), encoder, cache=False)
    monkeypatch.setattr(tokens, "PAYS_FROM", 51)
    encoded_all(rows_of(), encoder, cache=True)
    assert not folder.exists()


def _cut(entry: Path) -> None:
    content = (entry / "tokens.npy").read_bytes()
    (entry / "tokens.npy").write_bytes(content[:-5])


def _flip(entry: Path) -> None:
    content = bytearray((entry / "tokens.npy").read_bytes())
    content[-3] ^= 1
    (entry / "tokens.npy").write_bytes(content)


def _take_ends(entry: Path) -> None:
    (entry / "ends.npy").unlink()


def _empty(entry: Path) -> None:
    (entry / "about.json").write_text("{")


def _other(entry: Path) -> None:
    (entry / "about.json").write_text((entry / "about.json").read_text().replace('"rows": 50', '"rows": 49'))


@pytest.mark.parametrize("damage", [_cut, _flip, _take_ends, _empty, _other])
def test_a_damaged_entry_is_warned_of_and_made_anew(
    damage: Callable[[Path], None], encoder: Encoder, folder: Path, calls: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    first = encoded_all(rows_of(), encoder, cache=True)
    (entry,) = folder.iterdir()
    damage(entry)
    assert contents(encoded_all(rows_of(), encoder, cache=True)) == contents(first)
    assert "are damaged" in capsys.readouterr().err
    assert contents(encoded_all(rows_of(), encoder, cache=True)) == contents(first)
    assert calls == [50, 50]


def test_a_cache_that_cannot_be_written_costs_a_warning(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ADAPTUNE_CACHE", str(tmp_path / "file"))
    assert len(encoded_all(rows_of(), encoder, cache=True)) == 50
    assert "data.token_cache=false does without" in capsys.readouterr().err


def test_entries_unused_for_longest_make_room(encoder: Encoder, folder: Path) -> None:
    for count in (10, 20, 30):
        encoded_all(rows_of(count), encoder, cache=True)
    for age, count in ((30, 20), (20, 30), (10, 10)):
        entry = folder / f"{count}-{encoder.key(rows_of(count))}"
        token_cache.os.utime(entry, (1000 - age, 1000 - age))
    size = sum(file.stat().st_size for file in (folder / f"10-{encoder.key(rows_of(10))}").iterdir())
    token_cache.prune(most=size)
    assert [entry.name for entry in folder.iterdir()] == [f"10-{encoder.key(rows_of(10))}"]


def test_rows_are_tokenised_when_they_are_asked_for_and_once(encoder: Encoder, calls: list[int], folder: Path) -> None:
    examples = rows_of()
    eager = contents(encoder(examples))
    calls.clear()
    lazily = Tokens(stored(examples), encoder, cache=True)
    assert calls == []
    assert contents(lazily.of(np.array([7, 3, 7]))) == [eager[7], eager[3], eager[7]]
    assert contents(lazily.of(np.array([3, 4]))) == [eager[3], eager[4]]
    assert calls == [2, 1]
    assert not folder.exists()
    lazily.make_all()
    assert sum(calls) == 50
    assert contents(Tokens(stored(examples), encoder, cache=True).of(np.arange(50))) == eager
    assert sum(calls) == 50


def chunked(encoder: Encoder, **options: Any) -> ChunkedBatches:
    tokens = Tokens(stored(rows_of(200)), encoder, cache=False)
    return ChunkedBatches(tokens, Budget(tokens=40, rows=6), pad=0, seed=4, chunk=64, **options)


def test_chunks_hold_every_row_once_an_epoch_within_the_budget(encoder: Encoder) -> None:
    for epoch in (0, 1):
        found = list(chunked(encoder)(epoch))
        assert sorted(row for batch in found for row in batch.rows.tolist()) == list(range(200))
        assert all(batch.ids.numel() <= 40 and len(batch.ids) <= 6 for batch in found)


def test_the_batch_of_a_row_holds_its_tokens_and_its_label(encoder: Encoder) -> None:
    eager = encoder(rows_of(200))
    for batch in chunked(encoder)(0):
        for row, ids, mask, label in zip(batch.rows, batch.ids, batch.mask, batch.labels, strict=True):
            assert ids[: mask.sum()].tolist() == eager[row].ids.tolist()
            assert [label] == eager[row].labels.tolist()


def test_the_same_seed_and_epoch_give_the_same_batches_whatever_was_asked_before(encoder: Encoder) -> None:
    one, other = chunked(encoder), chunked(encoder)
    list(one(1))
    batches = [batch.rows.tolist() for batch in one(0)]
    assert batches == [batch.rows.tolist() for batch in other(0)]
    assert batches != [batch.rows.tolist() for batch in other(1)]


def test_skipped_batches_are_those_that_would_have_come_first(encoder: Encoder) -> None:
    batches = [batch.rows.tolist() for batch in chunked(encoder)(0)]
    for skip in (0, 1, 20, len(batches) - 1, len(batches)):
        assert [batch.rows.tolist() for batch in chunked(encoder)(0, skip=skip)] == batches[skip:]


def test_the_number_of_batches_is_near_to_the_first_chunks_share(encoder: Encoder) -> None:
    batches = chunked(encoder)
    assert abs(batches.per_epoch() - len(list(batches(0)))) <= 4


def test_encoded_rows_get_the_batches_that_they_always_had(encoder: Encoder) -> None:
    budget, encoded = Budget(tokens=40, rows=6), encoder(rows_of())
    plain = [batch.rows.tolist() for batch in Batches(encoded, budget, pad=0, seed=4)(0)]
    assert [batch.rows.tolist() for batch in batches_of(encoded, budget, pad=0, seed=4)(0)] == plain
