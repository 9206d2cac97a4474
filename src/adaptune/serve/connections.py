"""How slow clients may be and how connections end, on uvicorn's own protocol and server. Knows no requests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol

from adaptune.serve.config import Limits
from adaptune.serve.crowd import CROWDED

LINGER = 0.5
"""Seconds in which connections are still taken when the server is told to stop: what lies in the kernel's queues is
answered, and clients are told to close."""
ONCE_MORE = 0.1
"""Seconds in which a head that is late may still be found to have come in."""
LEAST_TAKEN = 16_384
"""Bytes that a client takes within the time that it has, if it is still there."""


class Connection(H11Protocol):
    """One client: the head of a request comes in within its time, and what is sent is taken."""

    def __init__(self, *, limits: Limits, **given: Any) -> None:
        super().__init__(**given)
        self._seconds = limits.client_seconds
        self._most = limits.connections
        self._late: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._most:
            self.app_state = self.app_state | {CROWDED: True}
        # Whatever the kernel does not take at once is waited for: only so is it known that the client takes nothing.
        transport.set_write_buffer_limits(high=0)
        self._late = self.loop.call_later(self._seconds, self._read_once_more)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_longer()
        self._taken()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_longer()
        elif self._late is None:
            self._late = self.loop.call_later(self._seconds, self._read_once_more)

    def end_with_this_answer(self) -> None:
        """Have the answer that is due say that it is the last one, so that nothing more is sent after it."""
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.default_headers = [*self.cycle.default_headers, CLOSE_HEADER]

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taken()

    def _watch(self, waiting: int) -> None:
        self._stuck = self.loop.call_later(self._seconds, self._look, waiting)

    def _look(self, before: int) -> None:
        """A client on a slow line goes on, one that drips or sleeps does not."""
        waiting = self.transport.get_write_buffer_size()
        if waiting > max(0, before - LEAST_TAKEN):
            self._cut()
        else:
            self._watch(waiting)

    def _taken(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _wait_no_longer(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _read_once_more(self) -> None:
        """What lies there already is not late: it was this server that had no time for it."""
        self._late = self.loop.call_later(ONCE_MORE, self._cut)

    def _cut(self) -> None:
        """At once: closing would wait until everything is taken."""
        self.transport.abort()


class Server(uvicorn.Server):
    """Told to stop, it answers what has reached this machine, and lets clients close their connections themselves."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        """`stopping` is told when it begins to stop."""
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Linger, then close what listens and wait for the rest."""
        self._stopping()
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE_HEADER]
        for connection in self.server_state.connections:
            if isinstance(connection, Connection):
                connection.end_with_this_answer()
        until = asyncio.get_running_loop().time() + LINGER
        while not self.force_exit and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)
