"""A hundred thousand requests, with bundles that go to disk and come back and change: memory must not grow."""

from __future__ import annotations

import argparse
import json
import os
import random
from pathlib import Path
from typing import Any

import psutil

from faults.model import KINDS, LIVE, VERSIONS, texts, versions
from faults.process import Server
from serving import fire

BODIES = 2000
CLIENTS = 64
"""That wait for an answer at a time."""


def grow(server: Server, folder: Path, *, requests: int, marks: tuple[int, ...], seconds: int = 20) -> dict[str, Any]:
    """Resident memory at those numbers of requests, and its growth after the second of them.

    `seconds`: of one window, between two of which bundles change.
    """
    file = folder / "bodies.jsonl"
    file.write_text("".join(f"{json.dumps(body)}\n" for body in _bodies()), encoding="utf-8")
    os.environ["BODIES"] = str(file)
    process, done, windows = psutil.Process(server.process.pid), 0, 0
    resident: dict[int, float] = {}
    curve: list[tuple[int, float]] = []
    changes = 0
    while done < requests:
        changes += _change(server, windows)
        done += int(fire(server.url, argparse.Namespace(clients=CLIENTS, seconds=seconds))["requests"])
        windows += 1
        megabytes = process.memory_info().rss / 1e6
        curve.append((done, round(megabytes, 1)))
        print(f"{done} requests: {megabytes:.1f} MB", flush=True)
        resident |= {mark: megabytes for mark in marks if mark <= done and mark not in resident}
    first, last = resident[marks[1]], resident[marks[-1]]
    return {
        "requests": done,
        "swaps_and_deletions": changes,
        "loads_from_disk": _loads(server),
        "resident_mb": {str(mark): round(found, 1) for mark, found in resident.items()},
        "growth_after_the_first": round(last / first - 1, 4),
        "bytes_a_request": round(1e6 * (last - first) / (marks[-1] - marks[1]), 1),
        "curve": curve,
    }


def _bodies() -> list[dict[str, Any]]:
    choose, all_kinds = random.Random(0), [*KINDS, *LIVE]
    # Each bundle with positions of its own takes a pass of its own: few of them, or a hundred thousand take an hour.
    weights = [1 if method["name"] in ("prompt", "norms") else 40 for _, _, method in all_kinds]
    drawn = choose.choices([name for name, _, _ in all_kinds], weights, k=BODIES)
    return [{"bundle": name, "inputs": texts(number, choose.randint(1, 2))} for number, name in enumerate(drawn)]


def _change(server: Server, number: int) -> int:
    """Every live bundle to its next version; one more is put and deleted, others are read from disk and make room."""
    with server.client() as client:
        for name in versions():
            server.predict(client, name, texts(number, 1))
        for name, _, _ in LIVE:
            folder = f"versions/{name}-{1 + number % VERSIONS}"
            client.put(f"/v1/bundles/{name}", json={"folder": folder}).raise_for_status()
        client.put(f"/v1/bundles/more-{number}", json={"folder": "reviews"}).raise_for_status()
        client.delete(f"/v1/bundles/more-{number}").raise_for_status()
    return len(LIVE) + 2


def _loads(server: Server) -> int:
    """Bundles that were read from their folders since the start, as the server counts them."""
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("adaptune_bundle_loads "))))
