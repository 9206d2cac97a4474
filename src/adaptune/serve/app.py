"""The HTTP application around one pool: routes, limits, log. Opens no port."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

import adaptune
from adaptune.serve import bundles, completions, feedback, health, page, predict, watching
from adaptune.serve.access_log import AccessLog
from adaptune.serve.batcher import Queueing
from adaptune.serve.body import BodyLimit
from adaptune.serve.config import ServeConfig
from adaptune.serve.crowd import Crowd
from adaptune.serve.errors import add_handlers
from adaptune.serve.keys import Keys, read_keys
from adaptune.serve.metrics import Metrics
from adaptune.serve.opening import open_memory, open_watcher
from adaptune.serve.pool import Pool
from adaptune.serve.rate import Rate
from adaptune.serve.registry import Registry
from adaptune.serve.service import Service
from adaptune.web.problems import Refused

ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": Refused, "description": text}
    for code, text in {
        400: "The body is no JSON.",
        401: "No valid API key came with the request.",
        403: "The key may not do this.",
        404: "There is no such bundle.",
        408: "The body came in too slowly.",
        413: "The request is too large.",
        422: "The request does not read; the message says what to put right.",
        429: "Too many requests, or too much is waiting: ask again after the seconds of Retry-After.",
        503: "The server is shutting down, a bundle cannot be read, or no answer came in time.",
    }.items()
}


def make_app(pool: Pool, config: ServeConfig, queueing: Queueing | None = None, keys: Keys | None = None) -> FastAPI:
    """The application; `keys` where they are not those of the configuration. Raises AdaptuneError."""
    metrics, limits = Metrics(), config.limits
    queueing = queueing or Queueing()
    registry = Registry(config.registry, config.root)
    watcher = open_watcher(config.watching, pool, metrics)
    memory = open_memory(config.remembering, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = Service(pool, limits, queueing, metrics, registry=registry, watcher=watcher, memory=memory)
        app.state.service = service
        service.start()
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(
        title="adaptune",
        version=adaptune.__version__,
        description="One base model, many bundles: typed answers with probabilities.",
        lifespan=lifespan,
        docs_url=None,  # both load scripts from elsewhere
        redoc_url=None,
        responses=ERRORS,
        # Looked for anew at every request, they take an eighth of a small one's time.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.config = config
    app.state.metrics = metrics
    app.state.keys = read_keys(config.keys, os.environ) if keys is None else keys
    app.state.rate = Rate(limits.requests_a_minute, time.monotonic) if limits.requests_a_minute else None
    _add_routes(app, remembers=memory is not None)
    app.add_middleware(BodyLimit, most=limits.body_bytes, seconds=limits.client_seconds)
    app.add_middleware(Crowd, most=limits.connections)
    app.add_middleware(AccessLog, metrics=metrics, asked=watcher.requested)
    return app


def _add_routes(app: FastAPI, *, remembers: bool) -> None:
    for module in (page, predict, completions, bundles, watching, health):
        app.include_router(module.router)
    # Asked without a store, the route still says how to get one; it is no part of what this server offers.
    app.include_router(feedback.router, include_in_schema=remembers)
    add_handlers(app)
