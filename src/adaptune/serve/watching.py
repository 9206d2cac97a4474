"""GET /v1/bundles/{name}/drift and /v1/alerts."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from adaptune.bundle.tally import Tally
from adaptune.serve.access import Admin, Asking, TheService
from adaptune.serve.bundles import NameOrVersion
from adaptune.serve.registered import Registered, ServedTask
from adaptune.serve.watch.alerts import RECENT, Alert
from adaptune.serve.watch.drift import Signal, distance, level, p_value, shares
from adaptune.serve.watch.durations import as_text
from adaptune.serve.watch.watch import Compared, Source, Subject, Watch

router = APIRouter(tags=["watch"])


class Shown(BaseModel):
    """What answers of these routes have in common."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class SignalShown(Shown):
    """One thing that is watched; null where it is not known."""

    now: float | None
    """Its mean in the window: of lengths in characters, of predicted numbers in standard deviations of the training
    targets from their mean, of unknown tokens their share."""
    reference: float | None
    drift: float | None
    """Distance from the reference: 0 where nothing changed."""
    p: float | None
    """How probable it is that rows of the same kind lie so far apart or further, by chance."""


class ShareShown(Shown):
    """How much of the answers is one label."""

    label: str
    now: float
    reference: float


class WindowShown(Shown):
    """The last so many seconds."""

    window: str
    seconds: float
    rows: int
    labels: SignalShown
    shares: list[ShareShown]
    confidence: SignalShown
    number: SignalShown
    length: SignalShown
    unknown: SignalShown
    embedding: SignalShown


class ReferenceShown(Shown):
    """What rows are compared with."""

    source: Source
    """The validation rows of the bundle, or the first rows that it answered here, where the bundle has none."""
    rows: int
    complete: bool
    """Whether there are enough first rows; drift is not known before."""


class TaskDrift(Shown):
    """One task of a bundle."""

    name: str | None
    task: str
    reference: ReferenceShown
    windows: list[WindowShown]
    """The shortest first."""


class RequestsShown(Shown):
    """Requests that named the bundle in the last so many seconds."""

    window: str
    seconds: float
    requests: int
    errors: int
    """Answered with a status of 500 or above."""
    latency_mean: float | None
    """Seconds."""
    latency_p95: float | None


class Drift(Shown):
    """How a bundle's rows lie beside those it is compared with."""

    bundle: str
    version: str
    tasks: list[TaskDrift]
    requests: list[RequestsShown]


class RuleShown(Shown):
    """A rule, and how it stands."""

    name: str
    bundle: str
    task: str | None
    severity: Literal["info", "warning", "critical"]
    when: str
    cooldown: str
    holds: bool | None
    """Null: not known, because there are no rows, or no such bundle."""
    silent_until: str | None
    """While its cooldown lasts."""


class Alerts(Shown):
    """What rules have said since the server was started, the newest first, and all rules."""

    alerts: list[Alert]
    rules: list[RuleShown]


@router.get("/v1/bundles/{name}/drift")
async def drift(name: NameOrVersion, service: TheService, _: Asking) -> Drift:
    """How a bundle's inputs and answers differ from those of its validation rows."""
    bundle, watch = service.pool.find(name), service.watcher.watch
    return await asyncio.to_thread(lambda: _drift(bundle, watch))


@router.get("/v1/alerts")
async def alerts(service: TheService, _: Admin, limit: Annotated[int, Query(ge=1, le=RECENT)] = 50) -> Alerts:
    """The alerts of late, and how every rule stands."""
    alarm = service.watcher.alarm
    shown = [
        RuleShown(
            name=one.rule.name,
            bundle=one.rule.bundle,
            task=one.rule.task,
            severity=one.rule.severity,
            when=one.rule.when,
            cooldown=one.rule.cooldown,
            holds=one.holds,
            silent_until=one.silent_until,
        )
        for one in alarm.states()
    ]
    return Alerts(alerts=list(alarm.recent)[: -limit - 1 : -1], rules=shown)


def _drift(bundle: Registered, watch: Watch) -> Drift:
    tasks = [_task(bundle, task, watch) for task in bundle.tasks]
    requests = [found for seconds in watch.windows if (found := _requests(bundle.name, seconds, watch)) is not None]
    return Drift(bundle=bundle.name, version=bundle.version, tasks=tasks, requests=requests)


def _task(bundle: Registered, task: ServedTask, watch: Watch) -> TaskDrift:
    subject = Subject(bundle.name, bundle.version, task.name)
    watch.begin(subject, bundle.references.get(task.name))
    compared = watch.compared(subject)
    assert compared is not None, "it has just begun"
    reference = ReferenceShown(source=compared.source, rows=compared.tally.rows, complete=compared.complete)
    windows = [_window(seconds, watch.rows(subject, seconds) or Tally(), compared) for seconds in watch.windows]
    return TaskDrift(name=task.name, task=task.task.name, reference=reference, windows=windows)


def _window(seconds: float, now: Tally, compared: Compared) -> WindowShown:
    here, there = shares(now.labels), shares(compared.tally.labels)

    def signal(which: Signal) -> SignalShown:
        then = compared.tally
        return SignalShown(
            now=level(which, now),
            reference=level(which, then),
            drift=distance(which, now, then) if compared.complete else None,
            p=p_value(which, now, then) if compared.complete else None,
        )

    return WindowShown(
        window=as_text(seconds),
        seconds=seconds,
        rows=now.rows,
        labels=signal("labels"),
        shares=[
            ShareShown(label=name, now=here.get(name, 0.0), reference=there.get(name, 0.0))
            for name in sorted({*here, *there})
        ],
        confidence=signal("confidence"),
        number=signal("number"),
        length=signal("length"),
        unknown=signal("unknown"),
        embedding=signal("embedding"),
    )


def _requests(name: str, seconds: float, watch: Watch) -> RequestsShown | None:
    found = watch.requests(name, seconds)
    if found is None:
        return None
    return RequestsShown(
        window=as_text(seconds),
        seconds=seconds,
        requests=found.requests,
        errors=found.errors,
        latency_mean=found.mean(),
        latency_p95=found.quantile(0.95),
    )
