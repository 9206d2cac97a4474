"""Where alerts go: the log, a file, addresses that the server was given, and no others. Never waits for any."""

from __future__ import annotations

import errno
import json
import logging
import os
import queue
import threading
from collections.abc import Callable, Sequence
from io import RawIOBase
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from adaptune.core.errors import AdaptuneError
from adaptune.core.files import json_line
from adaptune.serve.watch.alerts import Alert

LOGGER = "adaptune.alerts"
MOST_WAITING = 100
"""Alerts that wait for an address; more are dropped, and counted."""
TRIES = 6
FIRST_PAUSE = 1.0
"""Seconds after the first failure; each further one doubles them."""
TIMEOUT = 10.0
"""Seconds of one try."""
log = logging.getLogger(LOGGER)


class Receiver(Protocol):
    """One place."""

    def take(self, alert: Alert) -> None:
        """Never raises, and never waits."""

    def close(self) -> None:
        """Take no more; what waits is tried once more, briefly."""


class Log:
    """A line of JSON."""

    def take(self, alert: Alert) -> None:
        """In the log on the error stream."""
        line = {"level": "warning", "logger": LOGGER, "alert": alert.model_dump(mode="json")}
        log.warning(json.dumps(line))

    def close(self) -> None:
        """Nothing waits."""


class File:
    """A file that gets a line of JSON for each."""

    def __init__(self, path: Path, failed: Callable[[], None]) -> None:
        """Raises AdaptuneError where it cannot be written."""
        self._path = path
        self._failed = failed
        try:
            with path.open("ab"):
                pass
        except OSError as error:
            raise AdaptuneError(f"alerts cannot be written to {str(path)!r}: {error.strerror or error}") from None

    def take(self, alert: Alert) -> None:
        """Opened anew each time, so that it may be moved away meanwhile."""
        try:
            with self._path.open("ab", buffering=0) as file:
                _append(file, json_line(alert.model_dump(mode="json")))
        except OSError as error:
            self._failed()
            log.warning(json.dumps({"level": "error", "logger": LOGGER, "message": f"{self._path}: {error}"}))

    def close(self) -> None:
        """Nothing waits."""


class Webhook:
    """An address that each alert is posted to, by a thread of its own."""

    def __init__(
        self,
        url: str,
        failed: Callable[[], None],
        *,
        transport: httpx.BaseTransport | None = None,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        """`failed` is told of every alert that does not arrive. Raises AdaptuneError for what is no address."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise AdaptuneError("a --webhook is no address that can be posted to; expected https://HOST/PATH")
        self._url = url
        self._shown = f"{parts.scheme}://{parts.hostname}"  # the path is often a secret
        self._failed = failed
        self._first_pause = first_pause
        self._waiting: queue.Queue[Alert] = queue.Queue(MOST_WAITING)
        self._closing = threading.Event()
        # A redirect leads to another address than the one that was given.
        self._client = httpx.Client(timeout=TIMEOUT, follow_redirects=False, transport=transport)
        self._thread = threading.Thread(target=self._work, name="webhook", daemon=True)
        self._thread.start()

    def take(self, alert: Alert) -> None:
        """Put it behind those that wait."""
        try:
            self._waiting.put_nowait(alert)
        except queue.Full:
            self._failed()

    def close(self) -> None:
        """What waits gets one try each, all together a timeout's length."""
        self._closing.set()
        self._thread.join(TIMEOUT)
        self._client.close()

    def _work(self) -> None:
        while True:
            try:
                alert = self._waiting.get(timeout=0.2)
            except queue.Empty:
                if self._closing.is_set():
                    return
                continue
            self._post(alert)

    def _post(self, alert: Alert) -> None:
        """Again after a pause where the address did not take it, unless it says that it never will."""
        pause, said = self._first_pause, ""
        for _ in range(TRIES):
            again, said = self._try(alert)
            if not said:
                return
            if not again or self._closing.wait(pause):
                break
            pause *= 2
        self._failed()
        told = f"alert {alert.rule!r} did not reach {self._shown}: {said}"
        log.warning(json.dumps({"level": "error", "logger": LOGGER, "message": told}))

    def _try(self, alert: Alert) -> tuple[bool, str]:
        """Whether another try makes sense, and what went wrong, if anything did."""
        try:
            status = self._client.post(self._url, json=alert.model_dump(mode="json")).status_code
        except (httpx.HTTPError, RuntimeError) as error:  # the client may be closed while it tries
            return True, type(error).__name__
        return status >= 500 or status in (408, 429), "" if 200 <= status < 300 else f"status {status}"


def _append(file: RawIOBase, line: bytes) -> None:
    """The whole line or nothing of it. Raises OSError."""
    start = file.seek(0, os.SEEK_END)
    try:
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        file.truncate(start)
        raise


def send(alerts: Sequence[Alert], receivers: Sequence[Receiver]) -> None:
    """Every alert to every receiver."""
    for alert in alerts:
        for one in receivers:
            one.take(alert)
