"""Request ids, and one line of JSON in the log for every request. Pure ASGI; texts are left out unless asked for."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adaptune.serve.metrics import Metrics

HEADER = "X-Request-ID"
LOGGER = "adaptune.access"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Those that metrics tell apart: what clients make up must not grow memory."""
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
Asked = Callable[[str, float, int], None]
log = logging.getLogger(LOGGER)


class AccessLog:
    """Outermost middleware: whatever happens inside has an id, is counted, and is logged once."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, asked: Asked) -> None:
        """`asked` is told of every request that asked a bundle: its name as it was sent, seconds, status."""
        self.app = app
        self.metrics = metrics
        self.asked = asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _Request(scope, send)
        try:
            await self.app(scope, receive, request.send)
        finally:
            request.finish(self.metrics, self.asked)


class _Request:
    """What is known of one request, from its first line to the last byte of its answer."""

    def __init__(self, scope: Scope, send: Send) -> None:
        given = Headers(scope=scope).get(HEADER, "")
        self.id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        self.scope = scope
        self.started = time.perf_counter()
        self.status = 500
        """Until an answer has begun."""
        self._send = send
        scope.setdefault("state", {}).update(request_id=self.id, notes={})

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[HEADER] = self.id
        await self._send(message)

    def finish(self, metrics: Metrics, asked: Asked) -> None:
        seconds = time.perf_counter() - self.started
        route = getattr(self.scope.get("route"), "path", "unknown")
        method = self.scope["method"] if self.scope["method"] in METHODS else "other"
        metrics.requests.labels(route, method, str(self.status)).inc()
        metrics.seconds.labels(route).observe(seconds)
        named = self.scope["state"]["notes"].get("bundle")
        if method == "POST" and named is not None:
            asked(named, seconds, self.status)
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "id": self.id,
            "client": (self.scope.get("client") or ("",))[0],
            "method": self.scope["method"][:16],
            "path": self.scope["path"][:200],
            "status": self.status,
            "seconds": round(seconds, 6),
            **self.scope["state"]["notes"],
        }
        log.info(json.dumps(line))  # ASCII, so that nothing sent can end the line or colour a terminal


def note(scope: Scope, **notes: Any) -> None:
    """Say more of a request in its line of the log."""
    scope["state"]["notes"].update(notes)
