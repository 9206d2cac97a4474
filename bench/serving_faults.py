"""What `adaptune serve` is put through, at full size: kills, a full disk, damaged bundles, bad clients, drawn requests.

    python bench/serving_faults.py [NAME ...]

Real processes on loopback with a tiny model: what is looked at is not its speed. Every part checks what it does
(bench/faults/) and ends with an error where an answer is wrong, lost or late. Needs wrk (apt-get install wrk), and for
the full disk a user who may mount one. Writes results/serving/faults.json, of the parts named or of all, and prints
the section of docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adaptune.core.backbone import Backbone
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from faults import clients, damage, disk, drain, fuzz, killed, memory, model, swaps
from faults.process import Server
from serving_table import faults_section

OUT = Path(__file__).resolve().parent.parent / "results" / "serving" / "faults.json"
SECONDS = 2.0
"""That a client has, where clients are slow."""
OPTIONS = ("--most-hot", "14", "--body-bytes", "200000", "--rows", "100", "--client-seconds", f"{SECONDS:g}")
OPTIONS += ("--seconds", "300")  # many wait at a time, perhaps on a busy machine
MARKS = (10_000, 20_000, 50_000, 100_000)
GROWTH = 0.02
"""Of memory between the second mark and the last, at most."""
Part = Callable[[Path, Path, Backbone], dict[str, Any]]


def main() -> None:
    """The parts, one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts (default: all)")
    names = parser.parse_args().names or list(PARTS)
    if unknown := set(names) - set(PARTS):
        parser.error(f"there is no part {unknown.pop()!r}; there are: {', '.join(PARTS)}")
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            base = load_backbone(ModelConfig(name=str(model.tiny_bert(folder / "tiny"))))
            root = model.fill(folder / "bundles", base)
            began = time.monotonic()
            found = PARTS[name](root, folder, base)
        print(f"{name}: {found} in {time.monotonic() - began:.0f} s", flush=True)
        keep(name, found)
    print(faults_section(json.loads(OUT.read_text(encoding="utf-8"))))


def keep(name: str, found: dict[str, Any]) -> None:
    """Beside what other parts found."""
    OUT.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    known[name] = found
    OUT.write_text(json.dumps(known) + "\n", encoding="utf-8")


def swap(root: Path, folder: Path, base: Backbone) -> dict[str, Any]:
    """2,000 requests, 900 at a time."""
    with Server(root, *OPTIONS, log=folder / "log") as server:
        return swaps.swap_under_load(server, root, base, requests=2000, clients=900)


def kill(root: Path, folder: Path, base: Backbone) -> dict[str, Any]:
    """Twelve kills."""
    return killed.kill_and_restart(root, folder, base, rounds=12, seconds=2.0)


def full_disk(root: Path, folder: Path, base: Backbone) -> dict[str, Any]:
    """1,200 requests while nothing can be written."""
    with disk.small_disk(folder / "disk") as mounted:
        if not mounted:
            raise SystemExit("the full disk needs a user who may mount one")
        return disk.fill_the_disk(root, folder / "disk", base, asks=300)


def damaged(root: Path, folder: Path, base: Backbone) -> dict[str, Any]:
    """700 damaged bundles, and one that goes bad on the disk."""
    with Server(root, *OPTIONS, log=folder / "log") as server:
        found = damage.load_damaged(server, root, base, trials=700)
        damage.damage_the_cold(server, root)
        server.check_log()
    return found


def bad_clients(root: Path, folder: Path, _: Backbone) -> dict[str, Any]:
    """300 slow ones, a deaf one, heads and bodies."""
    with Server(root, *OPTIONS, log=folder / "log") as server:
        found = clients.drip(server, clients=300, seconds=SECONDS)
        clients.read_nothing(server, seconds=SECONDS)
        clients.ask_too_much(server, body_bytes=200_000, rows=100)
        found |= clients.abuse_heads(server)
        server.check_log()
    return found


def drawn(root: Path, folder: Path, _: Backbone) -> dict[str, Any]:
    """10,000 requests from the schema."""
    store = ("--store", f"sqlite:///{folder}/feedback.db", "--keep-texts")
    with Server(root, *OPTIONS, *store, log=folder / "log") as server:
        return fuzz.fuzz(server, total=10_000)


def stopped(root: Path, folder: Path, _: Backbone) -> dict[str, Any]:
    """SIGTERM under 64 clients."""
    with Server(root, log=folder / "log") as server:
        return drain.drain(server, clients=64, seconds=6.0)


def growth(root: Path, folder: Path, _: Backbone) -> dict[str, Any]:
    """100,000 requests."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    with Server(root, *OPTIONS, "--most-hot", "20", log=folder / "log") as server:
        found = memory.grow(server, folder, requests=MARKS[-1], marks=MARKS)
    if found["growth_after_the_first"] > GROWTH:
        raise SystemExit(f"memory grows: {found}")
    return found


PARTS: dict[str, Part] = {
    "swap": swap,
    "kill": kill,
    "full_disk": full_disk,
    "damaged": damaged,
    "bad_clients": bad_clients,
    "drawn": drawn,
    "stopped": stopped,
    "growth": growth,
}


if __name__ == "__main__":
    main()
