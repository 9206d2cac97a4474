"""Texts sent while they are written, as server-sent events like those of OpenAI's API. Knows no bodies of requests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Protocol

from fastapi import Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from adaptune.core.errors import AdaptuneError
from adaptune.serve.access_log import note
from adaptune.serve.disconnect import while_connected
from adaptune.serve.errors import status_of
from adaptune.serve.service import Completed, Piece
from adaptune.web.problems import problem

DONE = "data: [DONE]\n\n"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Neither caches nor proxies keep chunks back."""
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The texts; with `stream`, their parts as events, then `[DONE]`.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


class Shape(Protocol):
    """How pieces read as chunks of one route."""

    def first(self) -> BaseModel | None:
        """What comes before all pieces."""

    def piece(self, piece: Piece) -> BaseModel:
        """A part of one text."""

    def usage(self, found: Completed) -> BaseModel:
        """What comes after all pieces."""


class Streamed(StreamingResponse):
    """Events, and an end of the writing with the response, however that ends."""

    def __init__(self, events: AsyncIterator[str], pieces: AsyncGenerator[Piece | Completed]) -> None:
        super().__init__(events, media_type="text/event-stream", headers=HEADERS)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._pieces.aclose()


async def stream(
    request: Request,
    pieces: AsyncGenerator[Piece | Completed],
    shape: Shape,
    whole: Callable[[Completed], None],
    *,
    usage: bool,
) -> StreamingResponse:
    """The response, once its first piece is there: until then, what goes wrong has a status of its own.

    `whole` is told of texts that were sent to their end. The writing ends when the client goes. Raises AdaptuneError.
    """
    first = await while_connected(request, _next(pieces))
    return Streamed(_events(request, first, pieces, shape, whole, usage=usage), pieces)


async def _next(pieces: AsyncGenerator[Piece | Completed]) -> Piece | Completed:
    return await anext(pieces)


async def _events(
    request: Request,
    first: Piece | Completed,
    pieces: AsyncGenerator[Piece | Completed],
    shape: Shape,
    whole: Callable[[Completed], None],
    *,
    usage: bool,
) -> AsyncIterator[str]:
    note(request.scope, streamed="in part")  # until it is whole
    try:
        if (opening := shape.first()) is not None:
            yield _event(opening)
        one: Piece | Completed | None = first
        while one is not None:
            if isinstance(one, Piece):
                yield _event(shape.piece(one))
            else:
                note(request.scope, version=one.bundle.version, tokens=one.tokens, streamed="whole")
                whole(one)
                if usage:
                    yield _event(shape.usage(one))
            one = await anext(pieces, None)
        yield DONE
    except AdaptuneError as error:
        yield f"data: {bytes(problem(status_of(error), str(error), request.scope).body).decode()}\n\n"


def _event(chunk: BaseModel) -> str:
    return f"data: {chunk.model_dump_json()}\n\n"
