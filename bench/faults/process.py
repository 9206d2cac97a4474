"""A process of `adaptune serve`: started, asked, stopped or killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

PATIENCE = 240
"""Seconds in which a server starts on a busy machine."""


class Server:
    """Its log is a file, which no reader holds up."""

    def __init__(self, root: Path, *options: str, log: Path) -> None:
        """`root`: the folder of bundles. `log`: new, or one that is gone on with."""
        self.log = log
        command = [sys.executable, "-m", "adaptune", "serve", str(root), "--port", "0", *options]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "300"}
        with log.open("ab") as file:
            self._start = file.tell()
            self.process = subprocess.Popen(command, env=environment, stderr=file)
        self.url = self._address()

    def _address(self) -> str:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := re.search(r"http://\S+:\d+", self.said):
                return found[0]
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.stop(signal.SIGKILL)
        raise AssertionError(f"the server did not start:\n{self.said}")

    @property
    def said(self) -> str:
        """Its log since it was started."""
        with self.log.open("rb") as file:
            file.seek(self._start)
            return file.read().decode("utf-8", "replace")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def client(self) -> httpx.Client:
        """One that waits as long as the server may take."""
        return httpx.Client(base_url=self.url, timeout=60)

    def predict(self, client: httpx.Client, bundle: str, inputs: list[str]) -> Any:
        """The answers. Raises AssertionError for anything but 200."""
        response = client.post("/v1/predict", json={"bundle": bundle, "inputs": inputs})
        assert response.status_code == 200, (bundle, response.status_code, response.text)
        return response.json()["answers"]

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(PATIENCE)

    def check_log(self) -> None:
        """No stack trace, and nothing but whole lines of JSON after the address."""
        lines = self.said.partition(self.url)[2].splitlines()[1:]
        for line in lines:
            if line.startswith("{"):
                assert "trace" not in json.loads(line), line
        assert "Traceback" not in self.said, self.said[-3000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop(signal.SIGKILL)


def refused(response: httpx.Response, *statuses: int) -> bool:
    """Whether it is one of these refusals, in the server's own shape, and a 503 says when to ask again."""
    error = response.json()["error"]
    whole = error["code"] == response.status_code and error["request_id"] == response.headers["X-Request-ID"]
    return (
        response.status_code in statuses
        and whole
        and (response.status_code != 503 or "retry-after" in response.headers)
    )
