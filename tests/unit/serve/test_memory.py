"""Writing behind the answers: never in their way, nothing lost that there was room for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from adaptune.serve.memory import MOST_WAITING, Memory, without_texts
from adaptune.serve.store import Prediction, Store, StoreFault


def said(row: int = 0, **more: Any) -> Prediction:
    found = {"label": "bad", "text": "quoted", "probability": 0.9}
    return Prediction("id-1", row, "reviews", "0123456789ab", None, time.time(), "shop", "the film", found, **more)


class Slow(Store):
    """A database that waits until it is told to go on, and then may fail."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.go = threading.Event()
        self.fails = False

    def remember(self, predictions: Sequence[Prediction]) -> None:
        assert self.go.wait(30)
        if self.fails:
            raise StoreFault("full")
        super().remember(predictions)


@pytest.fixture
def store(tmp_path: Path) -> Slow:
    return Slow(f"sqlite:///{tmp_path}/feedback.db")


def test_feedback_finds_predictions_that_are_still_to_be_written(store: Slow) -> None:
    async def run() -> list[Prediction]:
        memory = Memory(store, keep_texts=True, seconds=60)
        memory.remember([said(row) for row in range(3)])
        asking = asyncio.ensure_future(memory.find("id-1", 2))
        await asyncio.sleep(0.05)
        store.go.set()
        found = await asking
        await memory.close()
        return found

    [found] = asyncio.run(run())
    assert (found.row, found.input, found.answer["text"]) == (2, "the film", "quoted")


def test_texts_are_left_out_where_they_are_not_kept(store: Slow) -> None:
    async def run() -> list[Prediction]:
        store.go.set()
        memory = Memory(store, keep_texts=False, seconds=60)
        memory.remember([said()])
        found = await memory.find("id-1", 0)
        await memory.close()
        return found

    [found] = asyncio.run(run())
    assert (found.input, found.answer) == (None, {"label": "bad", "probability": 0.9})
    content = b"".join(file.read_bytes() for file in Path(store._engine.url.database or "").parent.iterdir())
    assert b"reviews" in content
    assert b"the film" not in content
    assert b"quoted" not in content


def test_a_slow_database_makes_no_answer_wait_and_drops_are_counted(store: Slow) -> None:
    dropped: list[int] = []

    async def run() -> float:
        memory = Memory(store, keep_texts=False, seconds=60, dropped=dropped.append)
        started = time.monotonic()
        for _ in range(MOST_WAITING // 100 + 20):
            memory.remember([said()] * 100)
        took = time.monotonic() - started
        store.go.set()
        await memory.close()
        return took

    assert asyncio.run(run()) < 5
    kept = len(list(Store(str(store._engine.url)).predictions(None)))
    assert kept + sum(dropped) == MOST_WAITING + 2000
    # Beside those that wait there may be one transaction in the database's hands.
    assert MOST_WAITING <= kept <= MOST_WAITING + 500


def test_a_database_that_fails_takes_the_next_ones_again(store: Slow) -> None:
    dropped: list[int] = []

    async def run() -> list[Prediction]:
        store.go.set()
        memory = Memory(store, keep_texts=False, seconds=60, dropped=dropped.append)
        store.fails = True
        memory.remember([said(0)])
        assert await memory.find("id-1", 0) == []
        store.fails = False
        memory.remember([said(1)])
        found = await memory.find("id-1", 1)
        await memory.close()
        return found

    assert len(asyncio.run(run())) == 1
    assert dropped == [1]


def test_what_is_too_old_is_forgotten(store: Slow) -> None:
    async def run() -> int:
        store.go.set()
        now = time.time() + 61
        memory = Memory(store, keep_texts=False, seconds=60, clock=lambda: now)
        memory.remember([said()])
        assert await memory.find("id-1", 0) == []
        memory.start()
        for _ in range(200):
            if not list(store.predictions(None)):
                break
            await asyncio.sleep(0.02)
        left = len(list(store.predictions(None)))
        await memory.close()
        return left

    assert asyncio.run(run()) == 0


def test_answers_without_texts_keep_labels_numbers_and_places() -> None:
    entities = [{"type": "place", "words": ["Rome"], "start_word": 2, "end_word": 3, "text": "Rome", "start": 8}]
    assert without_texts({"entities": entities, "probability": 0.5}) == {
        "entities": [{"type": "place", "start_word": 2, "end_word": 3, "start": 8}],
        "probability": 0.5,
    }
    chosen = {"choice": 1, "text": "b", "options": [{"text": "a", "probability": 0.1}]}
    assert without_texts(chosen) == {"choice": 1, "options": [{"probability": 0.1}]}
    assert without_texts({"label": "x", "probabilities": {"text": 0.5}}) == {
        "label": "x",
        "probabilities": {"text": 0.5},
    }
    assert without_texts({"relation": "in", "head": "Rome", "tail": "Italy"}) == {"relation": "in"}
    assert without_texts({"answer": "Rome", "start": 1, "end": 5}) == {"start": 1, "end": 5}
    assert without_texts({"labels": [{"label": "late", "probability": 0.7}]}) == {
        "labels": [{"label": "late", "probability": 0.7}]
    }
