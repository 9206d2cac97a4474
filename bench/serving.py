"""Sixty-four LoRA bundles of one base under mixed traffic: `adaptune serve` beside two ways of doing it with peft.

    ADAPTUNE_DATA=FOLDER python bench/serving.py --model FOLDER

Every system is a process with one thread for the model and the same HTTP, queue, tokenizer and heads; only the pass of
the trunk differs (bench/serving_peers.py). wrk (apt-get install wrk) sends one text a request, to a bundle drawn
uniformly. Rounds go over all systems by turns, those that wait stand still; the figures are medians over rounds. Before
that, every system's answers are compared with those of the bundles alone. Writes results/serving/ and prints a table.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import psutil
import torch

from adaptune.bundle.load import load_bundle
from adaptune.bundle.save import save_bundle
from adaptune.core.backbone import Backbone
from adaptune.core.types import Labels
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.tasks import TASKS
from serving_table import section

ROOT = Path(__file__).resolve().parent.parent
BUNDLES = 64
LABELS = {
    "classify": Labels(tuple(f"intent {number}" for number in range(77))),
    "tag": Labels(("O", *(f"{part}-{name}" for name in "abcdef" for part in "BI"))),
}
SYSTEMS = ("adaptune", "adapter_names", "set_adapter")
REQUESTS = 4000
"""Different ones, which wrk draws from."""
SAME = 128
"""Of these, how many are compared before anything is measured."""
CLOSE = 1e-4
"""Between two probabilities."""


def main() -> None:
    """Bundles, servers, comparison, rounds, table."""
    options = parse()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    with tempfile.TemporaryDirectory() as scratch:
        root, one = Path(scratch) / "bundles", Path(scratch) / "one"
        make_bundles(root, options.model)
        shutil.copytree(root / "bundle-00", one / "bundle-00")
        requests = draw_requests(sorted(folder.name for folder in root.iterdir()))
        bodies = Path(scratch) / "bodies.jsonl"
        bodies.write_text("".join(f"{json.dumps(request)}\n" for request in requests), encoding="utf-8")
        os.environ["BODIES"] = str(bodies)
        result = measure(options, root, one, requests)
    out = ROOT / "results" / "serving" / "bundles.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result) + "\n", encoding="utf-8")
    print(section(result))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10, help="of one window (default: 10)")
    parser.add_argument("--clients", type=int, default=32, help="that wait for an answer at a time (default: 32)")
    return parser.parse_args()


def make_bundles(root: Path, model: str) -> None:
    """Half of them classify, half tag; LoRA of rank 8, away from its start as after training."""
    backbone = load_backbone(ModelConfig(name=model))
    root.mkdir()
    for number in range(BUNDLES):
        task = ("classify", "tag")[number % 2]
        save(root / f"bundle-{number:02}", backbone, task, number)


def save(folder: Path, backbone: Backbone, task: str, seed: int) -> None:
    """One bundle with random weights, which take as long as trained ones."""
    head = HEADS.make({"name": task})
    assembly = Assembly(backbone, METHODS.make({"name": "lora", "rank": 8}), head, LABELS[task], seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in assembly.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    save_bundle(folder, assembly.eval(), TASKS.make({"name": task}), columns={}, max_length=128, scores={})


def draw_requests(names: Sequence[str]) -> list[dict[str, Any]]:
    """Real texts: questions of bank customers to classify, posts to tag."""
    data = Path(os.environ["ADAPTUNE_DATA"])
    with (data / "banking77" / "test.csv").open(encoding="utf-8", newline="") as file:
        questions = [row["text"] for row in csv.DictReader(file)]
    posts = (data / "wnut17" / "emerging.test.annotated").read_text(encoding="utf-8").split("\n\n")
    sentences = [" ".join(line.split("\t")[0] for line in post.splitlines()) for post in posts if post.strip()]
    random_ = random.Random(0)
    drawn = [random_.choice(names) for _ in range(REQUESTS)]
    texts = (questions, sentences)
    return [{"bundle": name, "inputs": [random_.choice(texts[int(name[-2:]) % 2])]} for name in drawn]


def measure(options: argparse.Namespace, root: Path, one: Path, requests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All figures of all systems."""
    windows: dict[str, list[dict[str, float]]] = {system: [] for system in SYSTEMS}
    with contextlib.ExitStack() as stack:
        servers = {system: stack.enter_context(server(system, root, options.model)) for system in SYSTEMS}
        _, lonely = stack.enter_context(server("adaptune", one, options.model))
        compare([url for url, _ in servers.values()], root, options.model, requests[:SAME])
        for _ in range(options.rounds):
            for system, (url, _) in servers.items():
                windows[system].append(fire(url, options))
        memory = {system: resident_mb(process) for system, (_, process) in servers.items()}
        memory["a process each"] = BUNDLES * resident_mb(lonely)
        tensors = held(servers["adaptune"][0])
    own = sum((folder / "weights.safetensors").stat().st_size for folder in root.iterdir())
    return {
        "bundles": BUNDLES,
        "clients": options.clients,
        "seconds": options.seconds,
        "windows": windows,
        "resident_mb": memory,
        "tensor_bytes": tensors,
        "weights_bytes": own,
    }


@contextlib.contextmanager
def server(system: str, root: Path, model: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A process that serves the bundles below a folder, and its address."""
    if system == "adaptune":
        command = [sys.executable, "-m", "adaptune", "serve", str(root), "--backbone", model, "--port", "0"]
        command += ["--most-hot", str(BUNDLES)]
    else:
        command = [sys.executable, str(ROOT / "bench" / "serving_peers.py"), system, str(root), model]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=environment, stderr=log, text=True)
        try:
            yield address(process, log), process
        finally:
            process.terminate()
            process.wait(60)


def address(process: subprocess.Popen[str], log: IO[str]) -> str:
    """Where the server says that it listens; its log is a file, which no reader holds up."""
    for _ in range(3000):
        log.seek(0)
        if found := re.search(r"http://\S+:\d+", text := log.read()):
            return found[0]
        if process.poll() is not None:
            raise SystemExit(f"a server did not start:\n{text}")
        time.sleep(0.1)
    raise SystemExit("a server did not start within 5 minutes")


def ask(url: str, request: dict[str, Any]) -> dict[str, Any]:
    """One answer."""
    body = json.dumps(request).encode()
    call = urllib.request.Request(f"{url}/v1/predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(call) as response:
        found: dict[str, Any] = json.load(response)["answers"][0]
    return found


def compare(urls: Sequence[str], root: Path, model: str, requests: Sequence[dict[str, Any]]) -> None:
    """Refuse to measure systems that do not give the bundles' own answers."""
    backbone = load_backbone(ModelConfig(name=model))
    bundles = {folder.name: load_bundle(folder, backbone=backbone) for folder in root.iterdir()}
    for request in requests:
        wanted = bundles[request["bundle"]].predict(request["inputs"])[0]
        for url in urls:
            found = ask(url, request)
            if gist(found) != gist(wanted) or abs(found["probability"] - wanted["probability"]) > CLOSE:
                raise SystemExit(f"{url} answers {request} with {found}; the bundle alone says {wanted}")
    print(f"{len(requests)} answers of each system are those of the bundles alone", flush=True)


def gist(answer: dict[str, Any]) -> Any:
    """The label, or the entities by their words."""
    if "label" in answer:
        return answer["label"]
    return [(entity["type"], entity["words"]) for entity in answer["entities"]]


def fire(url: str, options: argparse.Namespace) -> dict[str, float]:
    """One window of requests from as many clients."""
    command = ["wrk", "-t1", f"-c{options.clients}", f"-d{options.seconds}s", "--timeout", "30s"]
    command += ["-s", str(ROOT / "bench" / "mixed.lua"), url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(said.partition("FIGURES ")[2])
    if found["errors"]:
        raise SystemExit(f"{found['errors']} requests to {url} failed:\n{said}")
    return found


def resident_mb(process: subprocess.Popen[str]) -> float:
    """Memory of the process alone: what it shares with others, as files of libraries, is left out."""
    return float(psutil.Process(process.pid).memory_full_info().uss / 1e6)


def held(url: str) -> dict[str, float]:
    """Bytes of tensors, as the server's own metrics say."""
    with urllib.request.urlopen(f"{url}/metrics") as response:
        lines = response.read().decode().splitlines()
    names = {"base": "adaptune_base_bytes", "bundles": "adaptune_bundle_bytes"}
    return {
        short: float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))
        for short, name in names.items()
    }


if __name__ == "__main__":
    main()
