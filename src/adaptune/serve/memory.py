"""Predictions are written behind the answers, feedback before its answer. Knows no HTTP, no tasks.

One thread writes, in the order in which things came: feedback finds the predictions that were made before it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from adaptune.serve.store import Correction, Prediction, Store, StoreFault

MOST_WAITING = 10_000
"""Predictions that wait to be written; more are dropped, and counted."""
AT_A_TIME = 500
"""Predictions of one transaction."""
FORGETS = 60.0
"""Seconds between two looks at what is too old."""
WITHOUT_TEXTS = frozenset(
    "label labels probability probabilities number score relation choice abstained out_of_scope out_of_scope_score "
    "finish_reason entities type start_word end_word start end options ranking log_likelihood tokens perplexity".split()
)
"""Keys of answers that quote nothing of the input; labels are the bundle's own words."""
T = TypeVar("T")
LOGGER = "adaptune.feedback"
log = logging.getLogger(LOGGER)


class Memory:
    """What was said, for as long as it is remembered. Its methods are for the event loop."""

    def __init__(
        self,
        store: Store,
        *,
        keep_texts: bool,
        seconds: float,
        dropped: Callable[[int], None] = lambda _rows: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`seconds`: how long predictions are kept. `dropped` is told how many could not be."""
        self.keep_texts = keep_texts
        self._store = store
        self._seconds = seconds
        self._dropped = dropped
        self._clock = clock
        self._waiting: deque[Prediction] = deque()
        self._lock = threading.Lock()
        self._writes = False
        """Whether the thread is told already that something waits."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Forget what is too old from now on, in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._forget())

    async def close(self) -> None:
        """Write what waits."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._do(lambda: self._drain(MOST_WAITING))
        self._thread.shutdown()
        self._store.close()

    def remember(self, predictions: Sequence[Prediction]) -> None:
        """Take predictions, to be written soon; never waits, and never raises."""
        with self._lock:
            room = max(0, MOST_WAITING - len(self._waiting))
            self._waiting.extend(predictions[:room])
            wake, self._writes = not self._writes, True
        if len(predictions) > room:
            self._dropped(len(predictions) - room)
        if wake:
            with suppress(RuntimeError):  # the server has stopped; nobody can correct what comes now
                self._thread.submit(self._write)

    async def find(self, request_id: str, row: int, key: str | None = None) -> list[Prediction]:
        """What was said of a row, by each task; to this API key, where one is named. Raises StoreFault."""
        since, before = self._clock() - self._seconds, len(self._waiting)

        def found() -> list[Prediction]:
            self._drain(before)
            return self._store.find(request_id, row, since=since, key=key)

        return await self._do(found)

    async def correct(self, correction: Correction) -> int:
        """The number of the correction, once it is on the disk. Raises StoreFault."""
        return await self._do(lambda: self._store.correct(correction))

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _write(self) -> None:
        """One transaction, then whatever else the thread was asked for."""
        self._drain(AT_A_TIME)
        with self._lock:
            self._writes = bool(self._waiting)
        if self._writes:
            with suppress(RuntimeError):
                self._thread.submit(self._write)

    def _drain(self, most: int) -> None:
        """Write as many of those that wait."""
        while most > 0:
            with self._lock:
                some = [self._waiting.popleft() for _ in range(min(most, AT_A_TIME, len(self._waiting)))]
            if not some:
                return
            most -= len(some)
            try:
                self._store.remember([self._kept(one) for one in some])
            except Exception as error:  # whatever it is, the next ones may be written again
                self._dropped(len(some))
                told = str(error) if isinstance(error, StoreFault) else type(error).__name__
                log.warning("%d predictions are not remembered: %s", len(some), told)

    def _kept(self, one: Prediction) -> Prediction:
        return one if self.keep_texts else replace(one, input=None, answer=without_texts(one.answer))

    async def _forget(self) -> None:
        while True:
            before = self._clock() - self._seconds
            try:
                await self._do(lambda limit=before: self._store.forget(limit))  # type: ignore[misc]
            except StoreFault as error:
                log.warning("predictions that are too old are still there: %s", error)
            await asyncio.sleep(min(FORGETS, self._seconds))


def without_texts(answer: Any) -> Any:
    """What an answer says in numbers and in labels; whatever may quote the input is left out."""
    if isinstance(answer, Mapping):
        return {
            key: value if key == "probabilities" else without_texts(value)
            for key, value in answer.items()
            if key in WITHOUT_TEXTS
        }
    if isinstance(answer, list | tuple):
        return [without_texts(one) for one in answer]
    return answer
