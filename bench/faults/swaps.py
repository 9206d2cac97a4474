"""Requests of many kinds at once, while bundles are swapped: every answer is that of one version of its bundle."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import httpx

from adaptune.core.backbone import Backbone
from faults.model import KINDS, LIVE, VERSIONS, offline, same, texts
from faults.process import Server

Asked = tuple[str, list[str]]
"""A bundle and its inputs."""


def swap_under_load(server: Server, root: Path, base: Backbone, *, requests: int, clients: int) -> dict[str, Any]:
    """So many requests at a time by as many connections; figures, or an AssertionError."""
    choose = random.Random(requests)
    names = [name for name, _, _ in (*KINDS, *LIVE, *LIVE)]
    asked = [(choose.choice(names), texts(number, choose.randint(1, 4))) for number in range(requests)]
    began = time.perf_counter()
    responses, folders, swaps = asyncio.run(_ask_all(server.url, asked, clients))
    seconds = time.perf_counter() - began
    statuses = Counter(response.status_code for response in responses)
    assert statuses == {200: requests}, (statuses, [one.text for one in responses if one.status_code != 200][:3])
    _compare(asked, [response.json() for response in responses], folders, root, base)
    versions = {(told["bundle"], told["version"]) for told in (response.json() for response in responses)}
    return {
        "requests": requests,
        "at_a_time": clients,
        "bundles": len(KINDS) + len(LIVE),
        "failed": 0,
        "swaps": swaps,
        "versions_that_answered": len(versions),
        "seconds": round(seconds, 1),
    }


async def _ask_all(url: str, asked: list[Asked], clients: int) -> tuple[list[httpx.Response], dict[str, str], int]:
    """The responses in order, the folder of every live version, and how many swaps there were."""
    async with httpx.AsyncClient(base_url=url, timeout=300) as admin:
        folders: dict[str, str] = {}
        for name, _, _ in LIVE:
            await _swap(admin, name, 1, folders)
        done = asyncio.Event()
        swapping = asyncio.create_task(_swap_all(admin, done, folders))
        each = await asyncio.gather(*(_ask(url, asked[client::clients]) for client in range(clients)))
        done.set()
        responses = [each[place % clients][place // clients] for place in range(len(asked))]
        return responses, folders, await swapping


async def _ask(url: str, asked: list[Asked]) -> list[httpx.Response]:
    """One after another over a connection of its own: a pool of hundreds is searched whole for every request."""
    async with httpx.AsyncClient(base_url=url, timeout=300, verify=False) as client:
        bodies = ({"bundle": name, "inputs": inputs} for name, inputs in asked)
        return [await client.post("/v1/predict", json=body) for body in bodies]


async def _swap_all(admin: httpx.AsyncClient, done: asyncio.Event, folders: dict[str, str]) -> int:
    """Every live bundle to its next version, without a pause."""
    swaps = 0
    while not done.is_set():
        name, number = LIVE[swaps % len(LIVE)][0], 2 + swaps // len(LIVE)
        await _swap(admin, name, 1 + (number - 1) % VERSIONS, folders)
        swaps += 1
    return swaps


async def _swap(admin: httpx.AsyncClient, name: str, number: int, folders: dict[str, str]) -> None:
    folder = f"versions/{name}-{number}"
    response = await admin.put(f"/v1/bundles/{name}", json={"folder": folder})
    assert response.status_code == 200, response.text
    folders[response.json()["version"]] = folder


def _compare(asked: list[Asked], told: list[Any], folders: dict[str, str], root: Path, base: Backbone) -> None:
    """With what each version says offline, all its inputs at once; labels tell a mixture of versions, too."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, ((name, _), answer) in enumerate(zip(asked, told, strict=True)):
        assert answer["bundle"] == name
        places[folders.get(answer["version"], name)].append(place)
    for folder, some in places.items():
        expected = iter(offline(root / folder, base, [text for place in some for text in asked[place][1]]))
        for place in some:
            for answer, text in zip(told[place]["answers"], asked[place][1], strict=True):
                right = next(expected)
                assert same(answer, right), (folder, text, answer, right)
                if folder in folders.values():
                    assert {label[-2:] for label in _labels(answer)} <= {folder[-2:]}, (folder, answer)


def _labels(answer: dict[str, Any]) -> list[str]:
    return [answer["label"]] if "label" in answer else [entity["type"] for entity in answer["entities"]]
