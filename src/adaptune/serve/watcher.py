"""The watch of one server: counts what is answered, looks at the rules now and then. Never slows an answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import torch
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from adaptune.bundle.tally import seen_of, unknown_of
from adaptune.core.batch import Encoded
from adaptune.core.types import Example
from adaptune.serve.metrics import Metrics
from adaptune.serve.pool import Pool
from adaptune.serve.registered import Registered, ServedTask
from adaptune.serve.watch.alerts import Alarm, Alert, windows_of
from adaptune.serve.watch.deliver import LOGGER, Receiver, send
from adaptune.serve.watch.drift import SIGNALS, distance
from adaptune.serve.watch.durations import as_text
from adaptune.serve.watch.rules import Rule
from adaptune.serve.watch.watch import Subject, Watch

EVERY = 5.0
"""Seconds between two looks at the rules."""
DRIFT_EVERY = 3
"""Looks between two that measure drift for the metrics."""
log = logging.getLogger(LOGGER)


class Watcher:
    """Between the pool, whose rows are counted, and those who want to know."""

    def __init__(
        self,
        pool: Pool,
        metrics: Metrics,
        *,
        rules: Sequence[Rule] = (),
        receivers: Sequence[Receiver] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._metrics = metrics
        self._receivers = tuple(receivers)
        self._unknown = unknown_of(pool.backbone.tokenizer)
        self._current: dict[str, Registered] = {}
        """What each name means, as of the last look."""
        self._drifts: list[tuple[Subject, float, str, float]] = []
        self._looks = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="watch")
        self._task: asyncio.Task[None] | None = None
        self.watch = Watch(clock, windows_of(rules))
        self.alarm = Alarm(rules, self.watch, self._subject)
        pool.on_vectors = self._vectors
        metrics.registry.register(_Drift(self))
        self._follow()

    def start(self) -> None:
        """Look at the rules from now on, in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Look no more; alerts that wait are tried once more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close_receivers)
        self._thread.shutdown()

    def answered(
        self,
        bundle: Registered,
        task: ServedTask,
        answers: Sequence[dict[str, Any]],
        examples: Sequence[Example],
        rows: Sequence[Sequence[Encoded]],
    ) -> None:
        """Count what a task was asked and answered."""
        subject = self._begin(bundle, task)
        told = zip(answers, examples, rows, strict=True)
        self.watch.answered(
            subject, [seen_of(answer, one, row, self._unknown, task.labels) for answer, one, row in told]
        )

    def requested(self, name: str, seconds: float, status: int) -> None:
        """Count a request that asked a bundle, or one that there is not."""
        self.watch.requested(name.partition("@")[0], seconds, failed=status >= 500)

    async def look(self) -> list[Alert]:
        """The alerts of this moment, sent."""
        self._follow()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._look)

    def drifts(self) -> Iterator[tuple[Subject, float, str, float]]:
        """As last measured: of a task, in a window of so many seconds, a signal's distance."""
        yield from self._drifts

    async def _work(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("the rules could not be looked at")
            await asyncio.sleep(EVERY)

    def _look(self) -> list[Alert]:
        alerts = self.alarm.look()
        for one in alerts:
            self._metrics.alerts.labels(one.rule, one.severity).inc()
        send(alerts, self._receivers)
        if self._looks % DRIFT_EVERY == 0:
            self._drifts = list(self._measured())
        self._looks += 1
        return alerts

    def _measured(self) -> Iterator[tuple[Subject, float, str, float]]:
        current = {(one.name, one.version) for one in list(self._current.values())}
        for subject in self.watch.subjects():
            compared = self.watch.compared(subject)
            if (subject.bundle, subject.version) not in current or compared is None or not compared.complete:
                continue
            for seconds in self.watch.windows:
                rows = self.watch.rows(subject, seconds)
                for signal in SIGNALS:
                    found = None if rows is None else distance(signal, rows, compared.tally)
                    if found is not None:
                        yield subject, seconds, signal, found

    def _follow(self) -> None:
        """Watch what is registered, and nothing else."""
        pool = self._pool
        known = [one for name in pool.names() for one in pool.versions_of(name)]
        self._current = {name: pool.find(name) for name in pool.names()}
        self.watch.end({(one.name, one.version) for one in known})
        for bundle in known:
            for task in bundle.tasks:
                self._begin(bundle, task)

    def _begin(self, bundle: Registered, task: ServedTask) -> Subject:
        subject = Subject(bundle.name, bundle.version, task.name)
        self.watch.begin(subject, bundle.references.get(task.name))
        return subject

    def _subject(self, rule: Rule) -> Subject | None:
        bundle = self._current.get(rule.bundle)
        if bundle is None or rule.task not in [one.name for one in bundle.tasks]:
            return None
        return Subject(bundle.name, bundle.version, rule.task)

    def _vectors(self, bundle: Registered, place: int, vectors: torch.Tensor) -> None:
        """(B, D) In the thread that computes."""
        subject = Subject(bundle.name, bundle.version, bundle.tasks[place].name)
        self.watch.read(subject, len(vectors), vectors.sum(dim=0).double().cpu().numpy())

    def _close_receivers(self) -> None:
        for one in self._receivers:
            one.close()


class _Drift(Collector):
    """Distances as Prometheus reads them."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Those that were last measured."""
        names = ("bundle", "task", "signal", "window")
        family = GaugeMetricFamily("adaptune_drift", "Distance from the reference, by signal", labels=names)
        for subject, seconds, signal, found in self._watcher.drifts():
            family.add_metric([subject.bundle, subject.task or "", signal, as_text(seconds)], found)
        yield family
