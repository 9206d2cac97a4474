"""Bundles whose files are damaged, by accident or on purpose: refused, or as good as they were."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from adaptune.bundle.check import sha256_of
from adaptune.bundle.manifest import MANIFEST, WEIGHTS
from adaptune.core.backbone import Backbone
from adaptune.core.errors import AdaptuneError
from faults.model import KINDS, offline, same, texts, versions
from faults.process import Server, refused

KINDS_OF_DAMAGE = (
    "header",
    "body",
    "manifest",
    "truncated weights",
    "truncated manifest",
    "sealed header",
    "sealed body",
)
"""`sealed`: with the digest of the damaged weights in the manifest, as only somebody could do it who wants harm."""


def load_damaged(server: Server, root: Path, base: Backbone, *, trials: int) -> dict[str, Any]:
    """So many damaged bundles, which a server is told to load one after the other while it answers with others."""
    choose, outcomes = random.Random(trials), Counter[str]()
    inputs = texts(5, 2)
    expected = offline(root / "reviews", base, inputs)
    with server.client() as client:
        for number in range(trials):
            name, how = choose.choice(KINDS)[0], KINDS_OF_DAMAGE[number % len(KINDS_OF_DAMAGE)]
            folder = root / "damaged" / f"bundle-{number}"
            shutil.copytree(root / name, folder)
            _damage(folder, how, choose)
            response = client.put("/v1/bundles/damaged", json={"folder": f"damaged/{folder.name}"})
            if response.status_code == 200:
                _compare(server, folder, base, inputs)
                outcomes[f"{how}: answers as it does offline"] += 1
            else:
                assert refused(response, 422), (how, response.status_code, response.text)
                assert "Traceback" not in response.text
                outcomes[f"{how}: refused"] += 1
            shutil.rmtree(folder)
            assert same(server.predict(client, "reviews", inputs), expected)
        client.delete("/v1/bundles/damaged")
    shutil.rmtree(root / "damaged")
    for how in ("header", "body", "truncated weights", "truncated manifest"):
        assert outcomes[f"{how}: answers as it does offline"] == 0, outcomes
    return {"damaged_bundles": trials, "outcomes": dict(sorted(outcomes.items()))}


def damage_the_cold(server: Server, root: Path) -> None:
    """A bundle that goes bad on the disk while it is out of memory gives 503, and no other does."""
    folder, others = root / "cold", [name for name, _, _ in KINDS] + versions()
    shutil.copytree(root / "reviews", folder)
    inputs = texts(6, 2)
    with server.client() as client:
        assert client.put("/v1/bundles/cold", json={"folder": "cold"}).status_code == 200
        for name in others:  # more than stand in memory
            server.predict(client, name, inputs)
        assert not client.get("/v1/bundles/cold").json()["hot"]
        whole = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        response = client.post("/v1/predict", json={"bundle": "cold", "inputs": inputs})
        assert refused(response, 503), (response.status_code, response.text)
        for name in others:
            server.predict(client, name, inputs)
        (folder / WEIGHTS).write_bytes(whole)
        server.predict(client, "cold", inputs)
        client.delete("/v1/bundles/cold")
    shutil.rmtree(folder)


def _damage(folder: Path, how: str, choose: random.Random) -> None:
    weights, manifest = folder / WEIGHTS, folder / MANIFEST
    content, said = bytearray(weights.read_bytes()), bytearray(manifest.read_bytes())
    body = 8 + int.from_bytes(content[:8], "little")
    if how.endswith("header"):
        _flip(content, 0, body, choose)
    elif how.endswith("body"):
        _flip(content, body, len(content), choose)
    elif how == "manifest":
        _flip(said, 0, len(said), choose)
    elif how == "truncated weights":
        content = content[: choose.randrange(len(content))]
    else:
        said = said[: choose.randrange(len(said) - 2)]
    weights.write_bytes(content)
    manifest.write_bytes(said)
    if how.startswith("sealed"):
        sealed = json.loads(said)
        sealed["weights"] = sha256_of(weights)
        manifest.write_text(json.dumps(sealed))


def _flip(content: bytearray, start: int, end: int, choose: random.Random) -> None:
    """One bit, sometimes several."""
    for _ in range(choose.choice((1, 1, 1, 3, 20))):
        content[choose.randrange(start, end)] ^= 1 << choose.randrange(8)


def _compare(server: Server, folder: Path, base: Backbone, inputs: list[str]) -> None:
    try:
        expected = offline(folder, base, inputs)
    except AdaptuneError as error:
        raise AssertionError(f"the server took a bundle that is refused offline: {error}") from error
    with server.client() as client:
        assert same(server.predict(client, "damaged", inputs), expected)
