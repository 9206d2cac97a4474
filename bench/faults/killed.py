"""kill -9 in the middle of everything: what was acknowledged is there at the next start, and every file is whole."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from adaptune.core.backbone import Backbone
from adaptune.serve.registered import version_of
from faults.model import KINDS, LIVE, VERSIONS, offline, same, texts
from faults.process import Server

SHOWN = 3
"""Texts that every bundle is asked after a start."""


@dataclass
class _Told:
    """What the server said that it did."""

    meaning: dict[str, str | None] = field(default_factory=dict)
    """Name -> version, None where it was deleted."""
    begun: dict[str, str | None] = field(default_factory=dict)
    """The change that was asked for when the server died, which may have happened or not."""
    feedback: set[str] = field(default_factory=set)
    """Ids of requests."""


def kill_and_restart(root: Path, folder: Path, base: Backbone, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Each round a server under load, and a kill after up to so many seconds more. `folder`: for what it writes."""
    told, choose = _Told(), random.Random(rounds)
    options = ("--registry", str(folder / "registry.json"), "--store", f"sqlite:///{folder}/feedback.db")
    answers = 0
    for number in range(rounds + 1):
        with Server(root, *options, log=folder / "killed.log") as server:
            answers += _check(server, root, folder, base, told)
            if number == rounds:
                break
            stop = threading.Event()
            with ThreadPoolExecutor(4) as threads:
                working = [threads.submit(_correct, server, told, stop, 3 * number + place) for place in range(3)]
                working.append(threads.submit(_change, server, root, told, stop, number))
                end = time.monotonic() + 60
                while len(told.feedback) < 5 * (number + 1) and time.monotonic() < end:
                    time.sleep(0.02)
                time.sleep(choose.uniform(0, seconds))
                server.stop(signal.SIGKILL)
                stop.set()
                for one in working:
                    one.result()
    assert len(told.feedback) >= 5 * rounds, "too little feedback was taken to prove anything"
    return {
        "kills": rounds,
        "feedback_acknowledged": len(told.feedback),
        "feedback_lost": 0,
        "answers_checked": answers,
    }


def _correct(server: Server, told: _Told, stop: threading.Event, seed: int) -> None:
    with server.client() as client:
        number = 0
        while not stop.is_set():
            number += 1
            [text] = texts(1000 * seed + number, 1)
            try:
                said = client.post("/v1/predict", json={"bundle": "reviews", "inputs": [text]})
                body = {"request_id": said.headers["X-Request-ID"], "answer": "good", "input": text}
                taken = client.post("/v1/feedback", json=body)
            except httpx.HTTPError:
                return
            assert taken.status_code == 200, taken.text
            told.feedback.add(body["request_id"])


def _change(server: Server, root: Path, told: _Told, stop: threading.Event, seed: int) -> None:
    choose = random.Random(seed)
    with server.client() as client:
        while not stop.is_set():
            name = choose.choice([name for name, _, _ in LIVE])
            folder = f"versions/{name}-{choose.randint(1, VERSIONS)}"
            delete = told.meaning.get(name) is not None and choose.random() < 0.3
            told.begun = {name: None if delete else version_of(root / folder)}
            try:
                url = f"/v1/bundles/{name}"
                response = client.delete(url) if delete else client.put(url, json={"folder": folder})
            except httpx.HTTPError:
                return
            assert response.status_code == 200, response.text
            told.meaning |= told.begun
            told.begun = {}


def _check(server: Server, root: Path, folder: Path, base: Backbone, told: _Told) -> int:
    """Everything after a start; how many answers were compared."""
    assert not list(folder.glob(".*.part")), "a half-written file was left"
    if (folder / "registry.json").exists():
        json.loads((folder / "registry.json").read_text())
    with closing(sqlite3.connect(folder / "feedback.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        kept = [one for (one,) in database.execute("SELECT request_id FROM adaptune_feedback")]
    assert len(kept) == len(set(kept)), "feedback stands there twice"
    assert told.feedback <= set(kept), f"{len(told.feedback - set(kept))} corrections were acknowledged and are gone"
    known = {version_of(one): one for one in (root / "versions").iterdir()}
    inputs, compared = texts(7, SHOWN), 0
    with server.client() as client:
        served = {one["name"]: one["version"] for one in client.get("/v1/bundles").json()["bundles"]}
        for name, _, _ in LIVE:
            allowed = {told.meaning.get(name), told.begun.get(name, told.meaning.get(name))}
            assert served.get(name) in allowed, (name, served.get(name), allowed)
            told.meaning[name] = served.get(name)
        told.begun = {}
        for name in [*(name for name, _, _ in KINDS), *(name for name, _, _ in LIVE if name in served)]:
            expected = offline(known.get(served[name], root / name), base, inputs)
            assert same(server.predict(client, name, inputs), expected), name
            compared += SHOWN
    return compared
