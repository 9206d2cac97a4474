"""Clients that mean no good: slow ones, silent ones, large ones, and heads that no browser sends."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import ExitStack, closing, suppress
from typing import Any

import httpx

from faults.model import texts
from faults.process import Server, refused

ALLOWED = 8.0
"""Seconds beyond its time after which a client must be gone on a busy machine."""


def drip(server: Server, *, clients: int, seconds: float) -> dict[str, Any]:
    """Slowloris: heads and bodies of which a byte comes now and then. `seconds`: what the server says they have."""
    head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(_connected(server))) for _ in range(clients)]
        for number, one in enumerate(slow):
            if number % 3 == 1:
                one.sendall(head)
        ends, began = _drip_until_cut(server, slow, seconds + ALLOWED, silent=2)
        assert len(ends) == clients, f"{clients - len(ends)} of {clients} slow clients are still there"
    with server.client() as client:
        client.get("/ready").raise_for_status()
    return {"slow_clients": clients, "cut_after_seconds_at_most": round(max(ends) - began, 1)}


def _drip_until_cut(
    server: Server, slow: list[socket.socket], patience: float, *, silent: int
) -> tuple[list[float], float]:
    """When each was cut; meanwhile others are answered. Of three, one drips a head, one a body, one says nothing."""
    ends: list[float] = []
    began, left = time.monotonic(), dict(enumerate(slow))
    with server.client() as client:
        while left and time.monotonic() < began + patience:
            for number, one in list(left.items()):
                if not _alive(one, b"" if number % 3 == silent else b"P"):
                    ends.append(time.monotonic())
                    del left[number]
            server.predict(client, "reviews", texts(1, 1))
            time.sleep(0.1)
    return ends, began


def _alive(one: socket.socket, byte: bytes) -> bool:
    """Whether a byte can be sent and the server has not closed."""
    one.setblocking(False)
    try:
        if byte:
            one.send(byte)
        while one.recv(65_536):
            pass
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def read_nothing(server: Server, *, seconds: float) -> None:
    """A client that asks and asks and takes no answer is cut; one that takes its answers slowly is not."""
    body = json.dumps({"model": "base", "input": texts(2, 100)}).encode()
    head = "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with closing(_connected(server, buffer=4096)) as deaf:
        deaf.settimeout(seconds + ALLOWED)
        with suppress(OSError):
            # Answers fill the kernel's buffers, then the server's; then it reads no more, and neither do we.
            for _ in range(2000):
                deaf.sendall(head.encode() + body)
        assert _gone(deaf, seconds + ALLOWED), "a client that takes no answer is still there"
    with server.client() as client:
        server.predict(client, "reviews", texts(1, 1))


def _gone(deaf: socket.socket, patience: float) -> bool:
    """Whether the server has let go of a connection, as the system's table of sockets has it."""
    local, end = deaf.getsockname()[1], time.monotonic() + patience
    while time.monotonic() < end:
        try:
            deaf.send(b"x", socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        except OSError:
            return True
        if not _known(local):
            return True
        time.sleep(0.1)
    return False


def _known(port: int) -> bool:
    """Whether a connection from this port is established."""
    with open("/proc/net/tcp") as table:  # noqa: PTH123
        lines = [line.split() for line in table][1:]
    return any(int(one[1].rpartition(":")[2], 16) == port and one[3] == "01" for one in lines)


def crowd(server: Server, *, most: int) -> None:
    """More connections than there may be are refused at once, and as soon as there is room no longer."""
    with ExitStack() as stack:
        for _ in range(most):
            stack.enter_context(closing(_connected(server)))
        time.sleep(0.5)
        response = httpx.get(f"{server.url}/health", timeout=60)
        assert refused(response, 503), (response.status_code, response.text)
        assert response.headers["connection"] == "close"
    time.sleep(0.5)
    assert httpx.get(f"{server.url}/health", timeout=60).status_code == 200


def abuse_heads(server: Server) -> dict[str, Any]:
    """Heads that are malformed, huge or smuggle a second request: 4xx or a closed connection, and no second answer."""
    good = b'{"bundle": "reviews", "inputs": ["red box"]}'
    length = f"Content-Length: {len(good)}\r\n".encode()
    start = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    heads = [
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % one for one in range(20_000)) + b"\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"y" * 300_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-Bad: a\x00b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n",
        b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
        b"PRI * HTTP/2.0\r\n\r\n",
        b"\r\n" * 70_000,
        start + b"Content-Length: -1\r\n\r\n" + good,
        start + b"Content-Length: 99999999999999999999\r\n\r\n" + good,
        start + length + b"Content-Length: 3\r\n\r\n" + good,
        start + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n" + good,
        start + b"Transfer-Encoding: chunked, identity\r\n\r\n" + good,
        start + b"Transfer-Encoding: gzip\r\n\r\n" + good,
        b"GET /health HTTP/1.1\r\nHost: x\r\nAuthorization: " + b"Bearer " * 5000 + b"\r\n\r\n",
        b"GET /%00%0d%0aX-Injected:%20yes HTTP/1.1\r\nHost: x\r\nX-Request-ID: a\r\n b\r\nConnection: close\r\n\r\n",
    ]
    seen: dict[str, int] = {}
    for head in heads:
        told = _exchange(server, head)
        status = told.split(b" ", 2)[1].decode() if told.startswith(b"HTTP/1.1 ") else "closed"
        assert status == "closed" or status[0] == "4" or head.startswith(b"GET /health"), (
            head[:100],
            told[:300],
        )
        assert told.count(b"HTTP/1.1 ") <= 1, (head[:100], told)
        assert b"Traceback" not in told
        assert b"\r\nX-Injected" not in told
        seen[status] = seen.get(status, 0) + 1
    with server.client() as client:
        server.predict(client, "reviews", texts(1, 1))
    return {"heads": len(heads), "statuses": seen}


def _exchange(server: Server, head: bytes) -> bytes:
    """All that comes back until the server closes, or says nothing more."""
    told = b""
    with closing(_connected(server)) as one:
        one.settimeout(20)
        # The server may answer and close before it has read everything.
        sending = threading.Thread(target=lambda: _send(one, head))
        sending.start()
        with suppress(OSError):
            while part := one.recv(65_536):
                told += part
                if b"HTTP/1.1 200" in told:
                    break
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        sending.join(20)
    return told


def _send(one: socket.socket, head: bytes) -> None:
    with suppress(OSError):
        one.sendall(head)


def ask_too_much(server: Server, *, body_bytes: int, rows: int) -> None:
    """Bodies and rows beyond the limits, and names that are paths."""
    with server.client() as client:
        large = client.post("/v1/predict", content=b"[" + b"1," * body_bytes)
        assert refused(large, 413), large.text
        chunked = client.post("/v1/predict", content=iter([b"x" * 60_000] * (body_bytes // 60_000 + 2)))
        assert refused(chunked, 413), chunked.text
        many = client.post("/v1/predict", json={"bundle": "reviews", "inputs": ["a"] * (rows + 1)})
        assert refused(many, 413), many.text
        for depth in range(20, 3000, 60):
            deep = b'{"bundle": "reviews", "inputs": [{"text": ' + b"[" * depth + b"]" * depth + b"}]}"
            nested = client.post("/v1/predict", content=deep, headers={"Content-Type": "application/json"})
            assert refused(nested, 400, 422), (depth, nested.text)
        for folder in (
            "../reviews",
            "/etc",
            "reviews/../../x",
            "..",
            "a\\..\\b",
            "reviews\x00",
            "%2e%2e/x",
            "x" * 3000,
        ):
            told = client.put("/v1/bundles/x", json={"folder": folder})
            assert refused(told, 422), (folder, told.text)
        for name in ("..%2f..%2fetc", "%2e%2e", "a%00b", "a%2fb", "a@b", "x" * 101, "%0d%0aX-Injected:%20yes", "..;"):
            for told in (
                client.get(f"/v1/bundles/{name}"),
                client.put(f"/v1/bundles/{name}", json={"folder": "reviews"}),
            ):
                assert refused(told, 404, 405, 422), (name, told.text)
        for name in ("../reviews", "reviews/../deep", "/etc/passwd", "reviews@..", "\u202ereviews", "reviews\n"):
            told = client.post("/v1/predict", json={"bundle": name, "inputs": ["a"]})
            assert refused(told, 404, 422), (name, told.text)
        server.predict(client, "reviews", texts(1, 1))


def _connected(server: Server, *, buffer: int | None = None) -> socket.socket:
    found = socket.socket()
    if buffer is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    found.settimeout(60)
    found.connect(server.address)
    return found
