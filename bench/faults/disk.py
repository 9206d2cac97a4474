"""A full disk: a small file system of its own holds bundles, registry, feedback and log, and is filled up."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from adaptune.core.backbone import Backbone
from adaptune.serve.paths import bundles_below
from adaptune.serve.registry import Registry
from faults.model import KINDS, LIVE, offline, same, texts
from faults.process import Server, refused

SIZE = "16m"
HOT = 3
"""Bundles in memory, far fewer than are asked: the others come from the full disk."""


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system in memory at a folder, or False where this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill_the_disk(root: Path, disk: Path, base: Backbone, *, asks: int) -> dict[str, Any]:
    """`asks`: requests to predict by each of four clients while nothing can be written."""
    shutil.copytree(root, disk / "bundles")
    options = ("--registry", str(disk / "registry.json"), "--store", f"sqlite:///{disk}/feedback.db", "--keep-texts")
    options += ("--most-hot", str(HOT))
    live = LIVE[0][0]
    with Server(disk / "bundles", *options, log=disk / "server.log") as server, server.client() as client:
        assert client.put(f"/v1/bundles/{live}", json={"folder": f"versions/{live}-1"}).status_code == 200
        said = client.post("/v1/predict", json={"bundle": "reviews", "inputs": texts(1, 1)})
        right = {"request_id": said.headers["X-Request-ID"], "answer": "good"}
        assert client.post("/v1/feedback", json=right).status_code == 200
        before = (disk / "registry.json").read_bytes()
        _fill(disk / "filler")
        found = _while_full(server, disk / "bundles", live, right, asks)
        assert (disk / "registry.json").read_bytes() == before, "the registry was changed on a full disk"
        _compare(server, root, base)
        (disk / "filler").unlink()
        _after(server, disk, live, right)
    served = dict(Registry(disk / "registry.json", disk / "bundles").bundles(bundles_below(disk / "bundles")))
    assert "reviews" not in served, "a bundle that was deleted comes back at the next start"
    assert served[live] == (disk / "bundles" / "versions" / f"{live}-2").resolve()
    assert not list(disk.rglob("*.part")), "a half-written file was left"
    return found


def _fill(file: Path) -> None:
    """Until not one byte more can be written."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for size in (2**20, 4096, 1):
            with contextlib.suppress(OSError):
                while os.write(handle, b"\0" * size):
                    pass
    finally:
        os.close(handle)


def _while_full(server: Server, bundles: Path, live: str, right: dict[str, Any], asks: int) -> dict[str, Any]:
    """What is written is refused with 503, what is only read is answered, at the same time."""
    statuses: Counter[int] = Counter()
    refusals: Counter[str] = Counter()
    names = [name for name, _, _ in KINDS]

    def ask(first: int) -> None:
        with server.client() as client:
            for number in range(first, first + asks):
                body = {"bundle": names[number % len(names)], "inputs": texts(number, 2)}
                statuses[client.post("/v1/predict", json=body).status_code] += 1

    def change(stop: threading.Event) -> None:
        with server.client() as client:
            while not stop.is_set():
                for what, response in (
                    ("feedback", client.post("/v1/feedback", json=right)),
                    ("load", client.put(f"/v1/bundles/{live}", json={"folder": f"versions/{live}-2"})),
                    ("load of a new name", client.put("/v1/bundles/more", json={"folder": "reviews"})),
                    ("delete", client.delete("/v1/bundles/reviews")),
                ):
                    assert refused(response, 503), (what, response.status_code, response.text)
                    refusals[what] += 1
                with contextlib.suppress(OSError):
                    shutil.copytree(bundles / "reviews", bundles / "uploaded", dirs_exist_ok=True)
                uploaded = client.put("/v1/bundles/uploaded", json={"folder": "uploaded"})
                assert refused(uploaded, 422, 503), (uploaded.status_code, uploaded.text)
                refusals["load of what was not copied whole"] += 1
                assert client.get("/v1/bundles/more").status_code == 404
                assert client.get("/v1/bundles/reviews").status_code == 200

    stop = threading.Event()
    with ThreadPoolExecutor(5) as threads:
        asking = [threads.submit(ask, 1000 * number) for number in range(4)]
        changing = threads.submit(change, stop)
        try:
            for one in asking:
                one.result()
        finally:
            stop.set()
        changing.result()
    assert statuses == {200: 4 * asks}, statuses
    return {"answered_while_full": statuses.total(), "refused_with_503_or_422": dict(refusals)}


def _compare(server: Server, root: Path, base: Backbone) -> None:
    inputs = texts(3, 2)
    with server.client() as client:
        for name, _, _ in KINDS:
            assert same(server.predict(client, name, inputs), offline(root / name, base, inputs)), name


def _after(server: Server, disk: Path, live: str, right: dict[str, Any]) -> None:
    """Once there is room, all of it works again, and what was refused has left nothing behind."""
    with server.client() as client:
        assert client.post("/v1/feedback", json=right).status_code == 200
        assert client.put(f"/v1/bundles/{live}", json={"folder": f"versions/{live}-2"}).status_code == 200
        assert client.delete("/v1/bundles/reviews").status_code == 200
        shutil.rmtree(disk / "bundles" / "uploaded", ignore_errors=True)
    kept = json.loads((disk / "registry.json").read_text())
    assert kept == {"put": {live: f"versions/{live}-2"}, "deleted": ["reviews"]}
    database = sqlite3.connect(disk / "feedback.db")
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert database.execute("SELECT count(*) FROM adaptune_feedback").fetchone() == (2,)
    database.close()
