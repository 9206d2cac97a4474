"""Two servers that start at once on one empty database: what one answered is corrected at the other."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from adaptune.serve.store import Store
from faults.model import texts
from faults.process import Server

PATIENCE = 30.0
"""Seconds until an answer that was written behind can be corrected elsewhere."""


def correct_across(root: Path, folder: Path, database: str, *, corrections: int) -> dict[str, Any]:
    """So many from each to the other; what was acknowledged, and what stands in the database."""
    with ExitStack() as stack, ThreadPoolExecutor(2) as threads:
        options = ("--store", database)
        starting = [threads.submit(Server, root, *options, log=folder / f"{number}.log") for number in range(2)]
        servers = [stack.enter_context(one.result()) for one in starting]
        pairs = (servers, servers[::-1])
        acknowledged = [threads.submit(_correct, *pair, corrections) for pair in pairs]
        ids = [one for some in acknowledged for one in some.result()]
        for server in servers:
            server.stop()
            server.check_log()
    with closing(Store(database, create=False)) as store:
        return {"acknowledged": ids, "corrections": list(store.corrections("reviews", None))}


def _correct(here: Server, there: Server, corrections: int) -> list[str]:
    ids = []
    with here.client() as asking, there.client() as correcting:
        for number in range(corrections):
            [text] = texts(number, 1)
            said = asking.post("/v1/predict", json={"bundle": "reviews", "inputs": [text]})
            body = {"request_id": said.headers["X-Request-ID"], "answer": "good", "input": text}
            end = time.monotonic() + PATIENCE
            while (taken := correcting.post("/v1/feedback", json=body)).status_code == 404 and time.monotonic() < end:
                time.sleep(0.02)
            assert taken.status_code == 200, taken.text
            ids.append(body["request_id"])
    return ids
