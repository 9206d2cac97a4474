"""SIGTERM in the middle of load: whatever had reached the server is answered."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from faults.model import KINDS, texts
from faults.process import Server


@dataclass(frozen=True)
class _Try:
    """One request."""

    sent: float
    """When its last byte was with the kernel."""
    status: int | None
    """None: the connection was refused, or ended without an answer."""
    refused: bool = False


def drain(server: Server, *, clients: int, seconds: float) -> dict[str, Any]:
    """So many clients, half of which keep their connections; SIGTERM after so many seconds. The server ends."""
    stop = threading.Event()
    with ThreadPoolExecutor(clients + 1) as threads:
        asking = [threads.submit(_ask, server, number, stop) for number in range(clients)]
        uploading = threads.submit(_upload_slowly, server, seconds + 1)
        time.sleep(seconds)
        told = time.monotonic()
        os.kill(server.process.pid, signal.SIGTERM)
        tries = [one for asked in asking for one in asked.result(timeout=120)]
        slow = uploading.result(timeout=120)
    code = server.process.wait(60)
    ended = time.monotonic()
    before = [one for one in tries if one.sent <= told]
    after = Counter("refused" if one.refused else one.status for one in tries if one.sent > told)
    failed = Counter(one.status for one in before if one.status != 200)
    assert not failed, f"requests that had been sent before SIGTERM failed: {failed}"
    assert set(after) <= {200, "refused", None}, after
    assert slow == 200, f"a body whose head had come before SIGTERM got {slow}"
    assert code in (0, -signal.SIGTERM), code
    waiting = sum(one.sent > told - 0.05 for one in before)
    return {
        "clients": clients,
        "sent_before": len(before),
        "of_these_in_the_last_50_ms": waiting,
        "failed": 0,
        "answered_after": after[200],
        "refused_after": after["refused"],
        "cut_after": after[None],
        "seconds_to_the_end": round(ended - told, 1),
    }


def _ask(server: Server, number: int, stop: threading.Event) -> list[_Try]:
    """Until the server is gone."""
    choose, tries, keep = random.Random(number), list[_Try](), number % 2 == 0
    connection: socket.socket | None = None
    while not stop.is_set():
        body = json.dumps({"bundle": choose.choice(KINDS)[0], "inputs": texts(choose.randrange(10**6), 3)}).encode()
        try:
            connection = connection or socket.create_connection(server.address, timeout=60)
        except OSError:
            tries.append(_Try(time.monotonic(), None, refused=True))
            stop.set()
            break
        status, ended = None, True
        sent = time.monotonic()
        try:
            connection.sendall(_head(len(body), keep=keep) + body)
            sent = time.monotonic()
            status, ended = _answer(connection)
        except OSError:
            pass
        tries.append(_Try(sent, status))
        if ended:
            connection.close()
            connection = None
    if connection is not None:
        connection.close()
    return tries


def _upload_slowly(server: Server, seconds: float) -> int | None:
    """A request whose head comes at once and whose body takes so long."""
    body = json.dumps({"bundle": "reviews", "inputs": texts(1, 1)}).encode()
    with socket.create_connection(server.address, timeout=60) as connection:
        connection.sendall(_head(len(body), keep=True))
        for place in range(len(body)):
            time.sleep(seconds / len(body))
            connection.sendall(body[place : place + 1])
        return _answer(connection)[0]


def _head(length: int, *, keep: bool) -> bytes:
    lines = ["POST /v1/predict HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join([*lines, *([] if keep else ["Connection: close"]), "", ""]).encode()


def _answer(connection: socket.socket) -> tuple[int | None, bool]:
    """The status of a whole response, and whether the server said that the connection ends with it."""
    told = b""
    while b"\r\n\r\n" not in told:
        part = connection.recv(65_536)
        if not part:
            return None, True
        told += part
    head, _, body = told.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:])
    while len(body) < int(fields["content-length"]):
        part = connection.recv(65_536)
        if not part:
            return None, True
        body += part
    return int(lines[0].split()[1]), "close" in fields.get("connection", "")
