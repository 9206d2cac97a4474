"""Texts of many requests grow side by side: each joins between two tokens of the others, and leaves when it is written.

Runs in the event loop, but for what `Running` does in the thread that computes. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from adaptune.serve.batcher import Batcher, in_time, settle
from adaptune.serve.compute import Asked, Found
from adaptune.serve.pool import Pool
from adaptune.serve.running import Ended, Running, Sheet, Written, sheet_of


@dataclass(slots=True, eq=False)
class _Waiting:
    """A text that is not written yet."""

    sheet: Sheet
    asked_at: float
    """In the loop's time."""
    done: asyncio.Future[Written]
    told: int = 0
    """Of its tokens, those that are counted."""


class Generation:
    """Takes rows, gives their texts; the earliest deadline joins first, and none overtakes one that waits for room."""

    def __init__(self, pool: Pool, batcher: Batcher[Asked, Found]) -> None:
        """Batches of the batcher and tokens of texts take turns in its thread; its limits hold for both together."""
        self._pool = pool
        self._batcher = batcher
        self._running = Running(pool, batch_tokens=batcher.config.batch_tokens)
        self._in_work: dict[Sheet, _Waiting] = {}
        self._heap: list[tuple[float, int, _Waiting]] = []
        self._number = itertools.count()
        self._more = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._since_last = 0.0
        self._speed = 0.0
        self.on_tokens: Callable[[str, int], None] = lambda _bundle, _tokens: None
        """Told how many tokens more a bundle has written."""
        self.on_first: Callable[[float], None] = lambda _seconds: None
        """Told how long every text waited for its first token."""

    def start(self) -> None:
        """Begin to work, in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Finish what was begun; the batcher must refuse what is new already."""
        self._closing = True
        self._more.set()
        if self._task is not None:
            await self._task

    @property
    def running(self) -> int:
        """Texts in work."""
        return len(self._in_work)

    @property
    def waiting(self) -> int:
        """Texts that have not joined yet."""
        return sum(not waiting.done.done() for _, _, waiting in self._heap)

    @property
    def speed(self) -> float:
        """Tokens a second of late; 0 while nothing is written."""
        return self._speed if self._in_work else 0.0

    async def answer(self, asked: Sequence[Asked], tokens: Sequence[int], *, seconds: float) -> list[Found]:
        """One answer a row, of so many tokens each: texts that grow are written here, the batcher has all else.

        Raises what either does.
        """
        grows = [self._grows(one) for one in asked]
        others = [(one, count) for one, count, text in zip(asked, tokens, grows, strict=True) if not text]
        rest = self._batcher.answer([one for one, _ in others], [count for _, count in others], seconds=seconds)
        if not any(grows):
            return await rest
        task = asyncio.ensure_future(rest)
        try:
            texts = [one for one, text in zip(asked, grows, strict=True) if text]
            written, found = iter(await self.write(texts, seconds=seconds)), iter(await task)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return [next(written if text else found) for text in grows]

    async def write(self, asked: Sequence[Asked], *, seconds: float) -> list[Written]:
        """One text a row, within so many seconds.

        If the caller is cancelled, the texts leave before the next token. Raises Busy, Closing, TooLate, Unavailable
        for a bundle that cannot be read, and what a pass raises.
        """
        loop = asyncio.get_running_loop()
        sheets = [sheet_of(one, self._pool, place) for place, one in enumerate(asked)]
        with self._batcher.admitted(len(sheets), sum(sheet.sequence.length for sheet in sheets)):
            parts = [_Waiting(sheet, loop.time(), loop.create_future()) for sheet in sheets]
            for part in parts:
                heapq.heappush(self._heap, (loop.time() + seconds, next(self._number), part))
            self._more.set()
            try:
                return await in_time([part.done for part in parts], seconds)
            finally:
                for sheet in sheets:
                    sheet.draft.gone = True

    def _grows(self, asked: Asked) -> bool:
        if asked.bundle is None or asked.vector or not asked.bundle.tasks[asked.place].head.writes:
            return False
        return self._pool.writes_by_token(asked.bundle)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            joining = self._admit()
            if not self._in_work:
                if self._closing:
                    return
                self._more.clear()
                await self._more.wait()
                continue
            started = loop.time()
            ended = await self._batcher.in_turn(partial(self._turn, [one.sheet for one in joining]))
            self._measure(ended, loop.time() - started)
            for sheet, result in ended.items():
                waiting = self._in_work.pop(sheet)
                if result is not None:
                    settle(waiting.done, result)

    def _turn(self, joining: Sequence[Sheet]) -> Ended:
        """In the thread that computes. What fails beyond single texts ends all of them, and none that come later."""
        try:
            return self._running.turn(joining)
        except Exception as error:
            self._running = Running(self._pool, batch_tokens=self._batcher.config.batch_tokens)
            return dict.fromkeys(self._in_work, error)

    def _admit(self) -> list[_Waiting]:
        """Those that there is room for beside those in work; one alone always has room."""
        joining: list[_Waiting] = []
        longest = max((sheet.positions for sheet in self._in_work), default=0)
        bundles = {sheet.bundle for sheet in self._in_work}
        while self._heap:
            waiting = self._heap[0][2]
            if not waiting.done.done():
                longest = max(longest, waiting.sheet.positions)
                bundles.add(waiting.sheet.bundle)
                if self._in_work and not self._has_room(len(self._in_work) + 1, longest, len(bundles)):
                    break
                joining.append(waiting)
                self._in_work[waiting.sheet] = waiting
            heapq.heappop(self._heap)
        return joining

    def _has_room(self, texts: int, longest: int, bundles: int) -> bool:
        config = self._batcher.config
        return texts <= config.running and texts * longest <= config.cache_tokens and bundles <= self._pool.most_hot

    def _measure(self, ended: Ended, took: float) -> None:
        now, came = asyncio.get_running_loop().time(), 0
        for sheet, waiting in self._in_work.items():
            tokens = len(sheet.draft.ids)
            if tokens and not waiting.told:
                self.on_first(now - waiting.asked_at)
            if tokens > waiting.told:
                self.on_tokens(sheet.bundle.name, tokens - waiting.told)
            came += tokens - waiting.told
            waiting.told = tokens
        speed = came / max(took, 1e-6)
        self._speed = speed if not self._speed else 0.9 * self._speed + 0.1 * speed
        self._since_last += took
        if written := sum(isinstance(one, Written) for one in ended.values()):
            self._batcher.learn(written, self._since_last)
            self._since_last = 0.0
