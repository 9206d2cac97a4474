"""Bodies of requests: no larger and no slower than allowed, read whole before anything else happens. Pure ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adaptune.web.problems import problem


class BodyLimit:
    """Middleware that answers 413 and 408 itself, and hands on a body that is there."""

    def __init__(self, app: ASGIApp, *, most: int, seconds: float) -> None:
        """`most` bytes within so many seconds."""
        self.app = app
        self.most = most
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self.seconds):
                body = await self._read(receive)
        except TimeoutError:
            late = problem(408, f"the body did not come in within {self.seconds:g} seconds", scope)
            late.headers["Connection"] = "close"
            await late(scope, receive, send)
            return
        if body is None:
            large = problem(413, f"the body has more than {self.most} bytes, which this server reads at most", scope)
            large.headers["Connection"] = "close"
            await large(scope, receive, send)
            return
        await self.app(scope, _again(body, receive), send)

    async def _read(self, receive: Receive) -> list[Message] | None:
        """The messages of the whole body, or None for one that is too large."""
        messages: list[Message] = []
        size = 0
        while True:
            message = await receive()
            messages.append(message)
            if message["type"] != "http.request":
                return messages
            size += len(message.get("body", b""))
            if size > self.most:
                return None
            if not message.get("more_body", False):
                return messages


def _again(messages: list[Message], receive: Receive) -> Callable[[], Awaitable[Message]]:
    """Gives the messages that were read, then those that still come."""
    left = iter(messages)

    async def give() -> Message:
        message = next(left, None)
        return await receive() if message is None else message

    return give
