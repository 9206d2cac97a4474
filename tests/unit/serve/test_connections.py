"""Clients on real sockets: how long they may take, how many there may be, and how they are let go."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from adaptune.core.backbone import Backbone
from adaptune.serve.connections import LINGER

SECONDS = 0.4


@pytest.fixture(scope="module")
def hasty(running: Any, bert: Backbone, shelf: Path) -> Any:
    return running(bert, shelf, client_seconds=SECONDS)


def connect(server: Any, receive_buffer: int | None = None) -> socket.socket:
    found = socket.socket()
    if receive_buffer is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    found.settimeout(30)
    found.connect(("127.0.0.1", server.port))
    return found


def end_of(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    told = b""
    while part := connection.recv(65_536):
        told += part
    return told


@pytest.mark.parametrize("first", [b"", b"GET /hea", b"GET /health HTTP/1.1\r\nHost: x\r\nX-More: "])
def test_a_head_that_does_not_come_in_ends_the_connection(hasty: Any, first: bytes) -> None:
    with connect(hasty) as connection:
        connection.sendall(first)
        began = time.monotonic()
        assert end_of(connection) == b""
        assert time.monotonic() - began < SECONDS + 5


def test_bytes_that_drip_in_win_no_time(hasty: Any) -> None:
    with connect(hasty) as connection:
        connection.settimeout(0.05)
        began, closed = time.monotonic(), False
        while not closed and time.monotonic() < began + 10:
            try:
                connection.sendall(b"G")
                closed = connection.recv(100) == b""
            except TimeoutError:
                pass
            except OSError:
                closed = True
        assert closed


def test_a_second_request_has_as_long_as_the_first(hasty: Any) -> None:
    ask = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(hasty) as connection:
        for _ in range(3):
            connection.sendall(ask)
            told = b""
            while not told.endswith(b'{"status":"ok"}'):
                told += connection.recv(65_536)
            time.sleep(0.7 * SECONDS)
        connection.sendall(ask[:10])
        assert end_of(connection) == b""


def test_a_body_that_does_not_come_in_is_told(hasty: Any) -> None:
    with connect(hasty) as connection:
        connection.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        told = end_of(connection)
    assert told.startswith(b"HTTP/1.1 408")
    assert json.loads(told.partition(b"\r\n\r\n")[2])["error"]["code"] == 408


def test_a_client_that_takes_nothing_is_let_go_of_and_one_that_takes_slowly_is_not(hasty: Any) -> None:
    body = json.dumps({"model": "base", "input": ["the late train"] * 200}).encode()
    ask = (
        b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % len(body)
    )
    server = hasty._server.server_state
    with connect(hasty, receive_buffer=4096) as deaf:
        sending = threading.Thread(target=_send_all, args=(deaf, (ask + body) * 100))
        sending.start()
        end = time.monotonic() + 20
        while not server.connections and time.monotonic() < end:
            time.sleep(0.01)
        assert server.connections
        while server.connections and time.monotonic() < end:
            time.sleep(0.01)
        assert not server.connections
        sending.join()
    with connect(hasty, receive_buffer=4096) as slow:
        slow.sendall(ask.replace(b"Host: x", b"Host: x\r\nConnection: close") + body)
        told = b""
        while part := slow.recv(16_384):
            told += part
            time.sleep(0.01)
    assert len(json.loads(told.partition(b"\r\n\r\n")[2])["data"]) == 200


def _send_all(connection: socket.socket, content: bytes) -> None:
    with suppress(OSError):
        connection.sendall(content)


def test_more_connections_than_there_may_be_are_refused_in_the_usual_shape(
    running: Any, bert: Backbone, shelf: Path
) -> None:
    server = running(bert, shelf, connections=4, client_seconds=300)
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(connect(server))
        while len(server._server.server_state.connections) < 4:
            time.sleep(0.005)
        response = httpx.get(f"{server.url}/health", timeout=60)
    assert response.status_code == 503
    assert response.json()["error"]["request_id"] == response.headers["X-Request-ID"]
    assert (response.headers["Retry-After"], response.headers["Connection"]) == ("1", "close")
    while server._server.server_state.connections:
        time.sleep(0.005)
    assert httpx.get(f"{server.url}/health", timeout=60).status_code == 200


def test_told_to_stop_it_is_not_ready_answers_for_a_while_and_lets_clients_go(
    running: Any, bert: Backbone, shelf: Path
) -> None:
    server = running(bert, shelf)
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/ready").status_code == 200
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        while (response := client.get("/ready")).status_code == 200:
            time.sleep(0.01)
        assert (response.status_code, response.headers["Connection"]) == (503, "close")
        asked = client.post("/v1/predict", json={"bundle": "reviews", "inputs": ["the late train"]})
        assert (asked.status_code, asked.headers["Connection"]) == (200, "close")
        time.sleep(LINGER + 0.5)
        with pytest.raises(httpx.ConnectError):
            client.get("/ready")
        stopping.join()


def test_an_answer_that_was_due_when_it_was_told_to_stop_ends_its_connection(
    running: Any, bert: Backbone, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = running(bert, shelf)
    service, begun = server.app.state.service, threading.Event()
    predict = service.predict

    async def slow(*given: Any, **more: Any) -> Any:
        begun.set()
        await asyncio.sleep(1.5)
        return await predict(*given, **more)

    monkeypatch.setattr(service, "predict", slow)
    body = {"bundle": "reviews", "inputs": ["the late train"]}
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(httpx.post, f"{server.url}/v1/predict", json=body, timeout=60)
        assert begun.wait(30)
        time.sleep(1.2)  # by then the server has made its usual headers anew
        server.stop()
        response = asked.result()
    assert (response.status_code, response.headers["Connection"]) == (200, "close")
