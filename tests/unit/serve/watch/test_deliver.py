"""Where alerts go, and what happens where they cannot go."""

from __future__ import annotations

import json
import logging
import threading
import time
from io import FileIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from adaptune.core.errors import AdaptuneError
from adaptune.serve.watch.alerts import Alert
from adaptune.serve.watch.deliver import LOGGER, MOST_WAITING, TRIES, File, Log, Webhook, send

ALERT = Alert(
    time="2026-11-26T00:00:00+00:00",
    rule="too negative",
    bundle="reviews",
    version="0123456789ab",
    task=None,
    severity="warning",
    when="n(window=1m) > 1",
    values={"n(window=1m)": 2.0},
)
URL = "https://hooks.example/secret-path"


class Address:
    """Answers with these statuses, the last one for ever; None: it cannot be reached."""

    def __init__(self, *statuses: int | None) -> None:
        self.statuses = list(statuses)
        self.got: list[httpx.Request] = []
        self.failed = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        self.got.append(request)
        if status is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(status, headers={"Location": "https://elsewhere.example/"})

    def count(self) -> None:
        self.failed += 1

    def hook(self) -> Webhook:
        return Webhook(URL, self.count, transport=httpx.MockTransport(self), first_pause=0.001)


def until(told: object, *, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not told() and time.monotonic() < end:  # type: ignore[operator]
        time.sleep(0.005)
    assert told()  # type: ignore[operator]


def test_an_alert_is_posted_as_json() -> None:
    address = Address(200)
    hook = address.hook()
    send([ALERT], [hook])
    until(lambda: address.got)
    hook.close()
    assert (str(address.got[0].url), address.got[0].method) == (URL, "POST")
    assert json.loads(address.got[0].content) == ALERT.model_dump(mode="json")
    assert address.failed == 0


def test_an_address_that_fails_is_asked_again() -> None:
    address = Address(503, None, 429, 204)
    hook = address.hook()
    hook.take(ALERT)
    until(lambda: len(address.got) == 4)
    hook.close()
    assert address.failed == 0


def test_after_so_many_tries_an_alert_is_given_up_and_the_next_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    address = Address(*[500] * TRIES, 200)
    hook = address.hook()
    with caplog.at_level(logging.WARNING, LOGGER):
        send([ALERT, ALERT], [hook])
        until(lambda: len(address.got) == TRIES + 1)
        hook.close()
    assert address.failed == 1
    assert "did not reach https://hooks.example: status 500" in caplog.text
    assert "secret-path" not in caplog.text


@pytest.mark.parametrize("status", [302, 400, 404])
def test_what_an_address_refuses_is_not_sent_again_nor_elsewhere(status: int) -> None:
    address = Address(status)
    hook = address.hook()
    hook.take(ALERT)
    until(lambda: address.failed == 1)
    hook.close()
    assert [str(one.url) for one in address.got] == [URL]


def test_a_slow_address_never_makes_anyone_wait() -> None:
    answer, asked = threading.Event(), threading.Event()
    lost = []

    def slow(_: httpx.Request) -> httpx.Response:
        asked.set()
        answer.wait(30)
        return httpx.Response(200)

    hook = Webhook(URL, lambda: lost.append(1), transport=httpx.MockTransport(slow))
    hook.take(ALERT)
    assert asked.wait(20)
    started = time.monotonic()
    send([ALERT] * (MOST_WAITING + 7), [hook])
    assert time.monotonic() - started < 5
    assert len(lost) == 7
    answer.set()
    hook.close()


@pytest.mark.parametrize("url", ["", "hooks.example/x", "ftp://hooks.example", "file:///etc/passwd", "https://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(AdaptuneError, match="https://HOST/PATH"):
        Webhook(url, lambda: None)


def test_a_file_gets_a_line_each_and_may_be_moved_away(tmp_path: Path) -> None:
    file = tmp_path / "alerts.jsonl"
    receiver = File(file, lambda: None)
    receiver.take(ALERT)
    file.rename(tmp_path / "old.jsonl")
    receiver.take(ALERT)
    receiver.take(ALERT)
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [ALERT.model_dump(mode="json")] * 2
    assert len((tmp_path / "old.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_a_file_that_cannot_be_written_is_told_at_the_start_and_counted_later(tmp_path: Path) -> None:
    with pytest.raises(AdaptuneError, match="alerts cannot be written"):
        File(tmp_path / "none" / "alerts.jsonl", lambda: None)
    failed: list[int] = []
    folder = tmp_path / "there"
    folder.mkdir()
    receiver = File(folder / "alerts.jsonl", lambda: failed.append(1))
    (folder / "alerts.jsonl").unlink()
    folder.rmdir()
    receiver.take(ALERT)
    assert failed == [1]


def test_a_disk_that_takes_half_a_line_keeps_none_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, failed = tmp_path / "alerts.jsonl", list[int]()
    receiver = File(file, lambda: failed.append(1))
    receiver.take(ALERT)
    whole = file.read_bytes()

    class NearlyFull(FileIO):
        def write(self, content: Any) -> int:
            return super().write(bytes(content)[:20])

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, mode, buffering: NearlyFull(self, mode))
        receiver.take(ALERT)
    assert (file.read_bytes(), failed) == (whole, [1])
    receiver.take(ALERT)
    assert file.read_bytes() == 2 * whole


def test_the_log_has_a_line_of_json(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        Log().take(ALERT)
    assert json.loads(caplog.records[0].getMessage())["alert"] == ALERT.model_dump(mode="json")
