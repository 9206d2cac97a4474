"""Batches by token budget, deadlines, limits on what waits, cancellation, drain: with plain functions as the model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from adaptune.serve.batcher import Batcher, Busy, Closing, Queueing, TooLate


class Model:
    """Doubles numbers; holds every batch until it is let go, where asked to."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        if not held:
            self.go.set()

    def __call__(self, rows: Sequence[int]) -> list[int]:
        self.batches.append(list(rows))
        assert self.go.wait(10)
        if -1 in rows:
            raise ValueError("a row that no model reads")
        return [2 * row for row in rows]


def run(model: Model, steps: Callable[..., object], **config: object) -> None:
    async def all_of_it() -> None:
        batcher = Batcher(model, Queueing.model_validate(config))
        batcher.start()
        try:
            await steps(batcher)  # type: ignore[misc]
        finally:
            model.go.set()
            await batcher.close()

    asyncio.run(asyncio.wait_for(all_of_it(), 20))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def ask(batcher: Batcher[int, int], *rows: int, tokens: int = 1, seconds: float = 10.0) -> asyncio.Task[list[int]]:
    return asyncio.create_task(batcher.answer(rows, [tokens] * len(rows), seconds=seconds))


def test_every_request_gets_the_answers_of_its_own_rows() -> None:
    async def steps(batcher: Batcher[int, int]) -> None:
        found = await asyncio.gather(*(ask(batcher, number, 100 + number) for number in range(50)))
        assert found == [[2 * number, 200 + 2 * number] for number in range(50)]
        assert batcher.rows == batcher.tokens == 0

    run(Model(), steps)


def test_requests_that_come_together_are_one_batch() -> None:
    model = Model()

    async def steps(batcher: Batcher[int, int]) -> None:
        await asyncio.gather(ask(batcher, 1), ask(batcher, 2), ask(batcher, 3))

    run(model, steps, wait=0.5, batch_tokens=3)
    assert model.batches == [[1, 2, 3]]


def test_a_batch_holds_no_more_tokens_than_its_budget() -> None:
    model = Model(held=True)

    async def steps(batcher: Batcher[int, int]) -> None:
        first = ask(batcher, 0, tokens=10)
        await until(lambda: bool(model.batches))
        others = [ask(batcher, number, tokens=4) for number in (1, 2, 3)]
        await until(lambda: batcher.tokens == 22)
        model.go.set()
        await asyncio.gather(first, *others)

    run(model, steps, batch_tokens=10, wait=0.0)
    assert model.batches == [[0], [1, 2], [3]]


def test_a_request_larger_than_a_batch_leaves_room_for_others_between_its_parts() -> None:
    model = Model(held=True)

    async def steps(batcher: Batcher[int, int]) -> None:
        first = ask(batcher, 0)
        await until(lambda: bool(model.batches))
        large, small = ask(batcher, 1, 2, 3, seconds=9), ask(batcher, 4, seconds=8)
        await until(lambda: batcher.rows == 5)
        model.go.set()
        assert [await first, await large, await small] == [[0], [2, 4, 6], [8]]

    run(model, steps, batch_tokens=2, wait=0.0)
    assert model.batches == [[0], [4], [1, 2], [3]]


def test_the_earliest_deadline_comes_first() -> None:
    model = Model(held=True)

    async def steps(batcher: Batcher[int, int]) -> None:
        first = ask(batcher, 0)
        await until(lambda: bool(model.batches))
        others = [ask(batcher, number, seconds=10 - number) for number in (1, 2, 3)]
        await until(lambda: batcher.rows == 4)
        model.go.set()
        await asyncio.gather(first, *others)

    run(model, steps, batch_tokens=1, wait=0.0)
    assert model.batches == [[0], [3], [2], [1]]


def test_more_than_may_wait_is_refused_with_a_time_to_ask_again() -> None:
    model = Model(held=True)

    async def steps(batcher: Batcher[int, int]) -> None:
        first = ask(batcher, 0, 1)
        await until(lambda: bool(model.batches))
        with pytest.raises(Busy) as refused:
            await batcher.answer([2, 3], [1, 1], seconds=1)
        assert refused.value.after >= 1
        model.go.set()
        assert await first == [0, 2]
        assert await batcher.answer([2, 3], [1, 1], seconds=1) == [4, 6]

    run(model, steps, most_rows=3)


def test_a_cancelled_request_is_not_computed_and_makes_room() -> None:
    model = Model(held=True)

    async def steps(batcher: Batcher[int, int]) -> None:
        first = ask(batcher, 0)
        await until(lambda: bool(model.batches))
        second, third = ask(batcher, 1), ask(batcher, 2)
        await until(lambda: batcher.rows == 3)
        second.cancel()
        await until(lambda: batcher.rows == 2)
        model.go.set()
        assert [await first, await third] == [[0], [4]]

    run(model, steps, wait=0.0)
    assert model.batches == [[0], [2]]


def test_an_answer_that_does_not_come_in_time_is_an_error() -> None:
    model = Model(held=True)

    async def steps(batcher: Batcher[int, int]) -> None:
        with pytest.raises(TooLate, match=r"0\.05 seconds"):
            await batcher.answer([1], [1], seconds=0.05)

    run(model, steps)


def test_a_request_that_fails_takes_no_other_down() -> None:
    async def steps(batcher: Batcher[int, int]) -> None:
        found = await asyncio.gather(ask(batcher, 1), ask(batcher, -1), ask(batcher, 2), return_exceptions=True)
        assert [found[0], found[2]] == [[2], [4]]
        assert isinstance(found[1], ValueError)

    run(Model(), steps, wait=0.2, batch_tokens=3)


def test_closing_finishes_what_waits_and_takes_nothing_new() -> None:
    model = Model(held=True)

    async def steps(batcher: Batcher[int, int]) -> None:
        first = ask(batcher, 0)
        await until(lambda: bool(model.batches))
        second = ask(batcher, 1)
        await until(lambda: batcher.rows == 2)
        closing = asyncio.create_task(batcher.close())
        await until(lambda: batcher.is_closing)
        with pytest.raises(Closing):
            await batcher.answer([2], [1], seconds=1)
        model.go.set()
        await closing
        assert [await first, await second] == [[0], [2]]

    run(model, steps, wait=0.0)


def test_other_work_is_done_between_batches_in_the_same_thread() -> None:
    names: list[str] = []

    async def steps(batcher: Batcher[int, int]) -> None:
        await batcher.answer([1], [1], seconds=1)
        names.append(await batcher.alone(lambda: threading.current_thread().name))

    run(Model(), steps)
    assert names == ["model_0"]
