"""What the server does, without HTTP: inputs become rows, rows wait for a batch, answers are described."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from adaptune.bundle.inputs import Input
from adaptune.core.batch import Encoded
from adaptune.core.errors import AdaptuneError
from adaptune.core.types import Answer, Example, Labels, Row
from adaptune.core.types import Sequence as Text
from adaptune.data.encode import encode
from adaptune.models.assembly import FEWEST_TOKENS
from adaptune.serve.answers import ANSWERS
from adaptune.serve.batcher import Batcher, Busy, Closing, Queueing
from adaptune.serve.compute import Asked, Found, Vector, answer_all
from adaptune.serve.config import Limits
from adaptune.serve.errors import TooMuch, Unavailable
from adaptune.serve.generation import Generation
from adaptune.serve.memory import Memory
from adaptune.serve.metrics import Metrics
from adaptune.serve.pool import Pool
from adaptune.serve.registered import BASE, Registered, ServedTask
from adaptune.serve.registry import Registry
from adaptune.serve.watcher import Watcher
from adaptune.serve.writing import Completion, Listener, Wish

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Predicted:
    """The answers to one request."""

    bundle: Registered
    answers: list[tuple[ServedTask, list[dict[str, Any]]]]
    """Of each task that was asked."""
    tokens: int
    """That were read."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors of one request."""

    vectors: list[Vector]
    tokens: int


@dataclass(frozen=True, slots=True)
class Completed:
    """The texts of one request."""

    bundle: Registered
    completions: list[Completion]
    tokens: int
    """That were read."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The next part of a text while it is written."""

    index: int
    """Which of the request's texts."""
    text: str
    finish: Literal["stop", "length"] | None = None
    """In the last piece of a text: how it ended."""


class Service:
    """One pool behind one queue. Its methods are for the event loop; one thread reads for it, another computes."""

    def __init__(
        self,
        pool: Pool,
        limits: Limits,
        queueing: Queueing,
        metrics: Metrics,
        *,
        registry: Registry,
        watcher: Watcher,
        memory: Memory | None,
    ) -> None:
        """`memory`: where answers are kept for feedback; None: nowhere."""
        self.pool = pool
        self._registry = registry
        self.limits = limits
        self.metrics = metrics
        self.batcher: Batcher[Asked, Found] = Batcher(
            partial(answer_all, pool, batch_tokens=queueing.batch_tokens), queueing
        )
        self.batcher.on_batch = metrics.batch
        self.generation = Generation(pool, self.batcher)
        self.generation.on_tokens = lambda bundle, tokens: metrics.written.labels(bundle).inc(tokens)
        self.generation.on_first = metrics.first_token.observe
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader")
        # A tokenizer is not for two threads at once.
        self._tokenizer = deepcopy(pool.backbone.tokenizer)
        self._reading = 0
        self._busy: dict[Registered, int] = {}
        self.watcher = watcher
        self.memory = memory
        self.stopping = False
        """Whether it was told to stop, and other servers should be asked."""
        self._changing = asyncio.Lock()
        """One change of what names mean at a time."""
        self._watch()

    def start(self) -> None:
        """Begin to work, in the running event loop."""
        self.batcher.start()
        self.generation.start()
        self.watcher.start()
        if self.memory is not None:
            self.memory.start()

    def stop(self) -> None:
        """Say that it is no longer ready; what comes is still answered."""
        self.stopping = True

    async def close(self) -> None:
        """Finish what was begun."""
        self.batcher.refuse()
        await self.generation.close()
        await self.batcher.close()
        self._reader.shutdown()
        await self.watcher.close()
        if self.memory is not None:
            await self.memory.close()

    async def predict(
        self,
        name: str,
        inputs: Sequence[Input],
        *,
        task: str | None = None,
        probabilities: bool = False,
        seconds: float | None = None,
    ) -> Predicted:
        """The answers of the bundle that the name means now, all of one version, by one of its tasks or by all.

        Raises AdaptuneError.
        """

        async def ask(bundle: Registered) -> Predicted:
            tasks = bundle.tasks if task is None else (bundle.of(task),)
            read = await self._read(len(inputs), lambda: [self._encode(one, inputs) for one in tasks])
            # The tasks' rows of one input stand beside each other, so that one batch holds them.
            of_inputs = zip(*(rows for _, rows in read), strict=True)
            pairs = [(one, row) for of_input in of_inputs for one, row in zip(tasks, of_input, strict=True)]
            asked = [Asked(bundle, row, place=one.place) for one, row in pairs]
            found = await self._answer(bundle, asked, seconds)
            answers = [
                (one, _described(one, examples, found[place :: len(tasks)], probabilities=probabilities))
                for place, (one, (examples, _)) in enumerate(zip(tasks, read, strict=True))
            ]
            for (one, told), (examples, rows) in zip(answers, read, strict=True):
                self.watcher.answered(bundle, one, told, examples, rows)
            return Predicted(bundle, answers, _tokens([row for _, row in pairs]))

        return await self._of_current(name, ask)

    async def embed(self, name: str, texts: Sequence[str], *, seconds: float | None = None) -> Embedded:
        """The texts' vectors, of length 1, by a bundle's trunk, or by the base itself. Raises AdaptuneError."""

        async def ask(bundle: Registered | None) -> Embedded:
            rows = await self._read(len(texts), lambda: self._encode_texts(bundle, texts))
            found = await self._answer(bundle, [Asked(bundle, row, vector=True) for row in rows], seconds)
            return Embedded([vector for vector in found if isinstance(vector, tuple)], _tokens(rows))

        return await (ask(None) if name in (BASE, self.pool.backbone.name) else self._of_current(name, ask))

    async def complete(
        self,
        name: str,
        inputs: Sequence[Input],
        wish: Wish,
        *,
        listeners: Sequence[Listener] = (),
        seconds: float | None = None,
    ) -> Completed:
        """Texts of a bundle that writes; `listeners`, one an input, are shown them meanwhile. Raises AdaptuneError."""

        async def ask(bundle: Registered) -> Completed:
            one = bundle.writer()
            wanted = replace(wish, most=self._most(bundle, one, wish.most))
            _, rows = await self._read(len(inputs), lambda: self._encode(one, inputs, wanted.most))
            shown: Sequence[Listener | None] = listeners or (None,) * len(rows)
            asked = [
                Asked(bundle, row, place=one.place, wish=wanted, listener=listener)
                for row, listener in zip(rows, shown, strict=True)
            ]
            found = await self._answer(bundle, asked, seconds)
            return Completed(bundle, [one for one in found if isinstance(one, Completion)], _tokens(rows))

        return await self._of_current(name, ask)

    async def stream(
        self, name: str, inputs: Sequence[Input], wish: Wish, *, seconds: float | None = None
    ) -> AsyncGenerator[Piece | Completed]:
        """The same in pieces while they are written, then whole; who stops listening ends the writing.

        Raises AdaptuneError, before the first piece unless something fails later.
        """
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Piece | None] = asyncio.Queue()

        def listener(index: int) -> Listener:
            return Listener(lambda text: _put(loop, pieces, Piece(index, text)))

        listeners = [listener(index) for index in range(len(inputs))]
        work = asyncio.ensure_future(self.complete(name, inputs, wish, listeners=listeners, seconds=seconds))
        work.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            found = await work
            for index, (one, listening) in enumerate(zip(found.completions, listeners, strict=True)):
                yield Piece(index, listening.rest(one.text), one.finish)
            yield found
        finally:
            for one_listener in listeners:
                one_listener.gone = True
            work.cancel()

    async def load(self, folder: Path, name: str) -> Registered:
        """A bundle under a name, in memory and checked before the name is its own. Raises AdaptuneError."""
        try:
            found = await self.batcher.alone(lambda: self.pool.prepare(folder, name))
        except OSError as error:
            raise Unavailable(f"the bundle cannot be read now: {error.strerror or error}; ask again") from error
        with _Held(self._busy, found):
            async with self._changing:
                await self._keep(name, folder)
                self.pool.name(found)
        await self._sweep()
        return found

    async def remove(self, name: str) -> list[Registered]:
        """Forget a bundle or one version of it; who already waits for its answers gets them. Raises AdaptuneError."""
        async with self._changing:
            gone, left = self.pool.without(name)
            await self._keep(gone[0].name, left[-1].folder if left else None)
            self.pool.remove(name)
        await self._sweep()
        return gone

    async def _of_current(self, name: str, ask: Callable[[Registered], Awaitable[T]]) -> T:
        """Ask the version that the name means; anew where another took the name over and the folder of the first."""
        bundle = self.pool.find(name)
        try:
            with _Held(self._busy, bundle):
                return await ask(bundle)
        except Unavailable:
            now = self.pool.find(name)
            if now is bundle:
                raise
            with _Held(self._busy, now):
                return await ask(now)

    async def _keep(self, name: str, folder: Path | None) -> None:
        """Before a name changes its meaning: what is not kept for the next start does not happen."""
        try:
            await asyncio.to_thread(self._registry.keep, name, folder)
        except OSError as error:
            raise Unavailable(
                f"nothing was changed, as it cannot be kept for the next start: {error.strerror or error}; ask again"
            ) from error

    async def _sweep(self) -> None:
        """After a name has changed its meaning: room is made."""
        busy = set(self._busy)
        with suppress(Closing):  # nothing is asked for any more
            await self.batcher.alone(lambda: self.pool.sweep(busy))

    async def _answer(self, bundle: Registered | None, asked: list[Asked], seconds: float | None) -> list[Found]:
        tokens = [sum(one.length for one in row.sequences) for row in asked]
        if sum(tokens) > self.limits.tokens:
            raise TooMuch(
                f"the request has {sum(tokens)} tokens, this server reads {self.limits.tokens} at a time; "
                "send fewer inputs"
            )
        within = min(self.limits.seconds, seconds or self.limits.seconds)
        found = await self.generation.answer(asked, tokens, seconds=within)
        for one in found:
            if isinstance(one, AdaptuneError):
                raise Unavailable(str(one))
        name = BASE if bundle is None else bundle.name
        self.metrics.rows.labels(name).inc(len(asked))
        self.metrics.tokens.labels(name).inc(sum(tokens))
        return found

    async def _read(self, rows: int, read: Callable[[], T]) -> T:
        """In the reading thread, if there is room for what is read."""
        if rows > self.limits.rows:
            raise TooMuch(f"the request has {rows} inputs, this server takes {self.limits.rows} at a time; send fewer")
        if self._reading and self._reading + rows > self.batcher.config.most_rows:
            raise Busy("more inputs are waiting than this server lets wait; ask again", 1)
        self._reading += rows
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, read)
        finally:
            self._reading -= rows

    def _encode(
        self, task: ServedTask, inputs: Sequence[Input], most: int | None = None
    ) -> tuple[list[Example], list[list[Encoded]]]:
        examples = task.examples(inputs)
        return examples, task.encode(examples, self.pool.backbone, self._tokenizer, most=most)

    def _most(self, bundle: Registered, task: ServedTask, asked: int | None) -> int:
        """Tokens of a text. Raises TooMuch for more than there may be."""
        writing = task.head.writing(self.pool.backbone)
        assert writing is not None, "its head writes"
        most = writing.most if asked is None else asked
        allowed = min(self.limits.new_tokens, bundle.max_length - FEWEST_TOKENS)
        if most > allowed:
            raise TooMuch(
                f"max_tokens is {most}; bundle {bundle.name!r} writes at most {allowed} tokens on this server"
            )
        return most

    def _encode_texts(self, bundle: Registered | None, texts: Sequence[str]) -> list[list[Encoded]]:
        backbone = self.pool.backbone
        encoded = encode(
            [Example(Row("input", number, {}), (Text(text),)) for number, text in enumerate(texts, start=1)],
            self._tokenizer,
            Labels(()),
            max_length=backbone.max_length if bundle is None else bundle.max_length,
            segments=backbone.roles.segments,
        )
        return [[one] for one in encoded]

    def _watch(self) -> None:
        """Numbers that are read when the metrics are."""
        pool, watch = self.pool, self.metrics.watch
        watch("adaptune_waiting_rows", "Rows in the queue and in work", lambda: self.batcher.rows)
        watch("adaptune_running_sequences", "Texts that are being written", lambda: self.generation.running)
        watch("adaptune_waiting_sequences", "Texts that wait to be begun", lambda: self.generation.waiting)
        watch("adaptune_tokens_per_second", "Tokens written of late", lambda: self.generation.speed)
        watch("adaptune_bundles", "Bundles registered", lambda: len(pool.names()))
        watch("adaptune_hot_bundles", "Bundles in memory", pool.count_hot)
        watch("adaptune_bundle_loads", "Bundles read from disk since the start", lambda: pool.loads)
        watch("adaptune_base_bytes", "Tensors of the base", lambda: pool.memory().base)
        watch("adaptune_bundle_bytes", "Tensors of bundles in memory", lambda: pool.memory().hot)
        watch("adaptune_copy_bytes", "Of these, in bundles that copy the base", lambda: pool.memory().copies)


class _Held:
    """Counts the requests that hold a bundle, so that none is swept from under one."""

    def __init__(self, counts: dict[Registered, int], bundle: Registered) -> None:
        self._counts = counts
        self._bundle = bundle

    def __enter__(self) -> None:
        self._counts[self._bundle] = self._counts.get(self._bundle, 0) + 1

    def __exit__(self, *_: object) -> None:
        self._counts[self._bundle] -= 1
        if not self._counts[self._bundle]:
            del self._counts[self._bundle]


def _described(
    task: ServedTask, examples: Sequence[Example], found: Sequence[Found], *, probabilities: bool
) -> list[dict[str, Any]]:
    answers = [one for one in found if isinstance(one, Answer)]
    return [
        _one_described(task, example, answer, probabilities=probabilities)
        for example, answer in zip(examples, answers, strict=True)
    ]


def _one_described(task: ServedTask, example: Example, found: Answer, *, probabilities: bool) -> dict[str, Any]:
    described = task.describe(example, found)
    of_labels = "probabilities" in ANSWERS[task.task.name].model_fields and len(found.probabilities) == len(task.labels)
    if probabilities and of_labels and found.probabilities:
        described["probabilities"] = dict(zip(task.labels.names, found.probabilities, strict=True))
    return described


def _put(loop: asyncio.AbstractEventLoop, pieces: asyncio.Queue[Piece | None], piece: Piece) -> None:
    """From another thread."""
    loop.call_soon_threadsafe(pieces.put_nowait, piece)


def _tokens(rows: Sequence[Sequence[Encoded]]) -> int:
    return sum(one.length for row in rows for one in row)
