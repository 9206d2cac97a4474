"""Requests of more clients than a server has room for are refused, without a look at them. Pure ASGI."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from adaptune.web.problems import problem

CROWDED = "crowded"
"""In the state of requests whose connection is one too many."""


class Crowd:
    """Middleware that answers 503 itself and ends the connection."""

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        """`most` connections at a time; whoever counts them marks the others."""
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("state", {}).get(CROWDED):
            told = f"this server takes {self.most} connections at a time, and has them; ask again"
            await problem(503, told, scope, {"Retry-After": "1", "Connection": "close"})(scope, receive, send)
            return
        await self.app(scope, receive, send)
