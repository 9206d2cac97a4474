"""Rows of many requests become batches for the one thread that computes. Knows no bundles and no HTTP.

Everything here but `compute` runs in the event loop, so that its counts need no locks.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from adaptune.core.config import Config
from adaptune.core.errors import AdaptuneError

R = TypeVar("R")
"""A row."""
A = TypeVar("A")
"""What is found of it."""
T = TypeVar("T")


class Busy(AdaptuneError):
    """More is waiting than may wait; `after` is in how many seconds to ask again."""

    def __init__(self, message: str, after: int) -> None:
        self.after = after
        super().__init__(message)


class Closing(AdaptuneError):
    """The server finishes what it has and takes nothing new."""


class TooLate(AdaptuneError):
    """An answer did not come in time."""


class Queueing(Config):
    """How rows wait and what one batch holds."""

    batch_tokens: int = 4096
    """Most tokens of one pass."""
    wait: float = 0.002
    """Seconds that an idle model waits for more rows once it has one."""
    most_rows: int = 10_000
    """Rows that may wait, those in work included."""
    most_tokens: int = 1_000_000
    """Tokens that may wait, those in work included."""
    running: int = 32
    """Texts that are written at a time."""
    cache_tokens: int = 16_384
    """Most positions of keys and values of texts in work, each counted as long as the longest of them may get."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[R, A]):
    """Rows of one request, as many as fit into one batch."""

    rows: Sequence[R]
    tokens: int
    deadline: float
    """In the loop's time."""
    done: asyncio.Future[list[A]]


class Batcher(Generic[R, A]):
    """Takes rows, gives their answers; the earliest deadline first."""

    def __init__(self, compute: Callable[[Sequence[R]], Sequence[A]], config: Queueing) -> None:
        """`compute` answers rows of several requests, in their order; it is called in one thread alone."""
        self.config = config
        self._compute = compute
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._heap: list[tuple[float, int, _Waiting[R, A]]] = []
        self._number = itertools.count()
        self._more = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self.rows = 0
        """In the queue and in work."""
        self.tokens = 0
        self.speed = 0.0
        """Rows a second of late, while there was work."""
        self.on_batch: Callable[[int, float], None] = lambda _rows, _seconds: None
        """Told of every batch."""

    def start(self) -> None:
        """Begin to work, in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    def refuse(self) -> None:
        """Take nothing new from now on."""
        self._closing = True
        self._more.set()

    async def close(self) -> None:
        """Finish what waits, then stop; whoever asks meanwhile is refused."""
        self.refuse()
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    @property
    def is_closing(self) -> bool:
        """Whether nothing new is taken."""
        return self._closing

    async def answer(self, rows: Sequence[R], tokens: Sequence[int], *, seconds: float) -> list[A]:
        """One answer a row, of so many tokens each, within so many seconds.

        If the caller is cancelled, rows that still wait are not computed. Raises Busy, Closing, TooLate, and what
        `compute` raises.
        """
        with self.admitted(len(rows), sum(tokens)):
            deadline = asyncio.get_running_loop().time() + seconds
            cut = _cut(tokens, self.config.batch_tokens)
            parts = [self._put(rows[part], sum(tokens[part]), deadline) for part in cut]
            found = await in_time([part.done for part in parts], seconds)
        return list(itertools.chain.from_iterable(found))

    @contextmanager
    def admitted(self, rows: int, tokens: int) -> Iterator[None]:
        """Rows that wait or are in work meanwhile, here or elsewhere in this thread's care. Raises Busy, Closing."""
        self._check_room(rows, tokens)
        self.rows += rows
        self.tokens += tokens
        try:
            yield
        finally:
            self.rows -= rows
            self.tokens -= tokens

    async def alone(self, work: Callable[[], T]) -> T:
        """Something else done in the thread that computes, between two batches. Raises Closing."""
        if self._closing:
            raise Closing("this server is shutting down; ask another")
        return await self.in_turn(work)

    async def in_turn(self, work: Callable[[], T]) -> T:
        """The same for what was admitted, which is finished also while the server closes."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def learn(self, rows: int, seconds: float) -> None:
        """So many rows took so long: who is refused is told to wait accordingly."""
        speed = rows / max(seconds, 1e-6)
        self.speed = speed if not self.speed else 0.8 * self.speed + 0.2 * speed

    def _check_room(self, rows: int, tokens: int) -> None:
        if self._closing:
            raise Closing("this server is shutting down; ask another")
        config = self.config
        # A request alone in the queue always has room: the limits on single requests are others.
        if self.rows and (self.rows + rows > config.most_rows or self.tokens + tokens > config.most_tokens):
            after = min(60, max(1, math.ceil(self.rows / self.speed))) if self.speed else 1
            raise Busy(f"{self.rows} rows are waiting, which is as much as this server lets wait; ask again", after)

    def _put(self, rows: Sequence[R], tokens: int, deadline: float) -> _Waiting[R, A]:
        waiting = _Waiting[R, A](rows, tokens, deadline, asyncio.get_running_loop().create_future())
        heapq.heappush(self._heap, (deadline, next(self._number), waiting))
        self._more.set()
        return waiting

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._drop_dead()
            if not self._heap:
                if self._closing:
                    return
                self._more.clear()
                await self._more.wait()
                await self._gather()
                continue
            batch = self._take()
            started = loop.time()
            await loop.run_in_executor(self._thread, self._run, batch, loop)
            self._measure(sum(len(one.rows) for one in batch), loop.time() - started)

    async def _gather(self) -> None:
        """Let a first row wait for others, no longer than it may, and not if a batch is full."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.config.wait
        while not self._closing and self.tokens < self.config.batch_tokens and (left := end - loop.time()) > 0:
            self._more.clear()
            try:
                async with asyncio.timeout(left):
                    await self._more.wait()
            except TimeoutError:
                return

    def _take(self) -> list[_Waiting[R, A]]:
        """Requests up to the budget, at least one."""
        batch: list[_Waiting[R, A]] = []
        tokens = 0
        while self._heap:
            waiting = self._heap[0][2]
            if batch and tokens + waiting.tokens > self.config.batch_tokens:
                break
            heapq.heappop(self._heap)
            if not waiting.done.done():
                batch.append(waiting)
                tokens += waiting.tokens
        return batch

    def _drop_dead(self) -> None:
        while self._heap and self._heap[0][2].done.done():
            heapq.heappop(self._heap)

    def _run(self, batch: Sequence[_Waiting[R, A]], loop: asyncio.AbstractEventLoop) -> None:
        """In the model's thread. A request that cannot be computed takes no other down with it."""
        rows = [row for one in batch for row in one.rows]
        try:
            answers = iter(self._compute(rows))
            results: list[list[A] | Exception] = [list(itertools.islice(answers, len(one.rows))) for one in batch]
        except Exception as error:  # whatever it is: it belongs to the request that caused it
            results = [error] if len(batch) == 1 else [self._one(one) for one in batch]
        for one, result in zip(batch, results, strict=True):
            loop.call_soon_threadsafe(settle, one.done, result)

    def _one(self, waiting: _Waiting[R, A]) -> list[A] | Exception:
        try:
            return list(self._compute(waiting.rows))
        except Exception as error:
            return error

    def _measure(self, rows: int, seconds: float) -> None:
        self.learn(rows, seconds)
        self.on_batch(rows, seconds)


async def in_time(parts: Sequence[asyncio.Future[T]], seconds: float) -> list[T]:
    """What all of them give, within so many seconds; whatever happens, none of them waits any longer then.

    Raises TooLate, and what one of them raises.
    """
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.gather(*parts)
    except TimeoutError:
        raise TooLate(f"no answer within {seconds:g} seconds; send fewer rows at a time, or ask again later") from None
    finally:
        for part in parts:
            part.cancel()


def _cut(tokens: Sequence[int], most: int) -> Iterator[slice]:
    """Consecutive rows of at most so many tokens together, at least one."""
    start, held = 0, 0
    for place, number in enumerate(tokens):
        if place > start and held + number > most:
            yield slice(start, place)
            start, held = place, 0
        held += number
    if start < len(tokens):
        yield slice(start, len(tokens))


def settle(done: asyncio.Future[T], result: T | Exception) -> None:
    """Give a result to whoever still waits for it."""
    if done.done():
        return
    if isinstance(result, Exception):
        done.set_exception(result)
    else:
        done.set_result(result)
